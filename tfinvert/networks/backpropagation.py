"""A network taken apart: gradients that are not its own, and the part of a network above a layer."""

from __future__ import annotations

import dataclasses
import logging
import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Mapping

import keras
import tensorflow as tf

from tfinvert.networks.activations import Activations, find_activations
from tfinvert.system import standard_error
from tfinvert.system.errors import InputError

POSITIVE = "TfinvertPositive"
REDIRECTED = {name: f"TfinvertRedirected{name}" for name in ("Relu", "Relu6", "Maximum", "Minimum")}
REACH = 1.1  # times the distance of what is nearest to its limit, that a redirected gradient reaches
LARGE = 2**12  # bytes of a constant that is kept outside of a graph
Features = Callable[[tf.Tensor], dict[str, tf.Tensor]]
log = logging.getLogger("tfinvert")


@dataclasses.dataclass(frozen=True)
class Frozen:
    """A network as one flat graph without functions.

    Attributes:
      graph: the graph, in which placeholders stand for large constants.
      constants: tensor of a placeholder -> its value, which all that is made of the graph shares.
      image: the tensor of the image.
      outputs: layer name -> its tensor.
    """

    graph: tf.compat.v1.GraphDef
    constants: Mapping[str, tf.Tensor]
    image: str
    outputs: Mapping[str, str]

    def called(self, inputs: Mapping[str, tf.Tensor], tensors: Iterable[str]) -> list[tf.Tensor]:
        """The values of tensors, from those of others; in a graph that is being made."""
        constants = {name: tf.identity(value) for name, value in self.constants.items()}
        return tf.graph_util.import_graph_def(self.graph, {**constants, **inputs}, list(tensors), name="network")


_kept: weakref.WeakKeyDictionary[keras.Model, Frozen] = weakref.WeakKeyDictionary()


def guided(model: keras.Model) -> Features:
    """The network with guided backpropagation (Springenberg et al. 2015, arXiv 1412.6806).

    The values are those of the network. On the way back, every activation that is piecewise linear (ReLU, ReLU6, LeakyReLU,
    PReLU, hard tanh, ...) also stops gradients that are negative. For smooth activations there is no such rule: they pass their
    own gradient on, and a warning names them.

    Args:
      model: from an image [batch, height, width, 3] to {layer name: features}, as `Network.cut` gives it.

    Returns:
      A function of the same image, with the same features.

    Raises:
      InputError: no activation is piecewise linear, so that these would be the plain gradients.
    """
    frozen = _frozen(model)
    found = find_activations(frozen.graph, frozen.image.partition(":")[0], frozen.outputs.values())
    if not found.piecewise:
        raise InputError(
            f"guided backpropagation needs activations such as ReLU; those of the network are {_smooth(found) or 'none at all'}"
        )
    if found.smooth:
        log.warning("guided backpropagation passes the plain gradient through %s", _smooth(found))
    graph = _copy(frozen.graph)
    renamed = _guard(graph, found.piecewise)
    outputs = {layer: renamed.get(tensor.removesuffix(":0"), tensor) for layer, tensor in frozen.outputs.items()}
    return _imported(dataclasses.replace(frozen, graph=graph, outputs=outputs), model)


def redirected(model: keras.Model) -> Features:
    """The network, whose ReLUs do not keep a loss from being lowered that no gradient reaches otherwise.

    A ReLU passes no gradient where its input is negative. Where this holds everywhere in an image, nothing would change any
    more. There, the gradients that make its inputs larger pass all the same, as in Lucid's `redirected_relu_grad`. For an
    image in which any gradient gets through, all is as in the network. Limits such as that of ReLU6 are treated alike.

    The arguments and the result are those of `guided`. The gradients are those of a loss, which is to be lowered.
    """
    frozen = _frozen(model)
    graph = _copy(frozen.graph)
    constants = {node.name for node in graph.node if node.op == "Const"}
    for node in graph.node:
        limits = [name for name in node.input if name.partition(":")[0] in constants]
        if node.op in REDIRECTED and len(node.input) - len(limits) == 1:
            node.attr["_gradient_op_type"].s = REDIRECTED[node.op].encode()
    return _imported(dataclasses.replace(frozen, graph=graph), model)


def head(model: keras.Model, layer: str, output: str) -> Callable[[tf.Tensor], tf.Tensor]:
    """The part of the network above a layer.

    Args:
      model: as for `guided`; `layer` and `output` are among its layers.

    Returns:
      A function from the features of `layer` to the features of `output`.
    """
    frozen = _frozen(model)
    height, width = model.input_shape[1:3]

    def above(value: tf.Tensor) -> tf.Tensor:
        inputs = {frozen.image: tf.zeros((1, height, width, 3)), frozen.outputs[layer]: value}
        return frozen.called(inputs, [frozen.outputs[output]])[0]

    return _compiled(above, model.output[layer].shape)


def _guard(graph: tf.compat.v1.GraphDef, names: Iterable[str]) -> dict[str, str]:
    """Puts a node behind each of these that stops negative gradients; gives the new names of their values."""
    guards = {name: f"{name}/positive" for name in names}
    types = {node.name: node.attr["T"] for node in graph.node if node.name in guards}
    for node in graph.node:
        for number, name in enumerate(node.input):
            node.input[number] = guards.get(name.removesuffix(":0"), name)
    for name, guard in guards.items():
        node = graph.node.add(name=guard, op="Identity", input=[name])
        node.attr["T"].CopyFrom(types[name])
        node.attr["_gradient_op_type"].s = POSITIVE.encode()
    return {name: f"{guard}:0" for name, guard in guards.items()}


def _smooth(found: Activations) -> str:
    return ", ".join(f"{name} ({count})" for name, count in Counter(found.smooth.values()).items())


def _copy(graph: tf.compat.v1.GraphDef) -> tf.compat.v1.GraphDef:
    copy = tf.compat.v1.GraphDef()
    copy.CopyFrom(graph)
    return copy


def _imported(frozen: Frozen, model: keras.Model) -> Features:
    """A graph as a function from images to {layer name: features}."""

    def features(value: tf.Tensor) -> dict[str, tf.Tensor]:
        return dict(zip(frozen.outputs, frozen.called({frozen.image: value}, frozen.outputs.values()), strict=True))

    return _compiled(features, model.input_shape)


def _compiled(function: Callable, shape: tuple[int | None, ...]) -> Callable:
    """The function as one graph for any batch; a plain tf.function is none where the caller runs functions eagerly."""
    graph = tf.function(function, autograph=False).get_concrete_function(tf.TensorSpec((None, *shape[1:]), tf.float32))
    return lambda value: graph(tf.convert_to_tensor(value, tf.float32))


def _frozen(model: keras.Model) -> Frozen:
    """The network as a flat graph, which is made once for all that is made of it."""
    if model not in _kept:
        _kept[model] = _freeze(model)
    return _kept[model]


def _freeze(model: keras.Model) -> Frozen:
    # Functions inside a SavedModel cannot be taken apart; this inlines them, and no public function does.
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    spec = tf.TensorSpec(model.input_shape, tf.float32, name="image")
    function = tf.function(lambda image: model(image, training=False), autograph=False).get_concrete_function(spec)
    with standard_error.hold_back():
        flat = convert_variables_to_constants_v2(function)
    outputs = {}
    for name, tensor in zip(sorted(model.output), flat.outputs, strict=True):
        while tensor.op.type == "Identity":  # behind it is the tensor that the layers above read
            tensor = tensor.op.inputs[0]
        outputs[name] = tensor.name
    graph = _with_plain_swish(flat.graph.as_graph_def())
    return Frozen(graph, _without_large_constants(graph), flat.inputs[0].name, outputs)


def _without_large_constants(graph: tf.compat.v1.GraphDef) -> dict[str, tf.Tensor]:
    """Makes placeholders of a graph's large constants; gives tensor -> value."""
    constants = {}
    for node in graph.node:
        if node.op == "Const" and len(node.attr["value"].tensor.tensor_content) > LARGE:
            value = tf.constant(tf.make_ndarray(node.attr["value"].tensor))
            constants[f"{node.name}:0"] = value
            node.op = "Placeholder"
            del node.attr["value"]
            node.attr["shape"].shape.CopyFrom(value.shape.as_proto())
    return constants


def _with_plain_swish(graph: tf.compat.v1.GraphDef) -> tf.compat.v1.GraphDef:
    """The graph, in which x sigmoid(x) has the gradients of its parts.

    TensorFlow gives its own swish a gradient that needs tensors of the graph that it was made in.
    """
    nodes = {node.name: node for node in graph.node}
    for node in graph.node:
        if node.op == "IdentityN" and node.attr["_gradient_op_type"].s.startswith(b"CustomGradient"):
            product = nodes[node.input[0].partition(":")[0]]
            if product.op == "Mul" and any(nodes[name.partition(":")[0]].op == "Sigmoid" for name in product.input):
                del node.attr["_gradient_op_type"]
    return graph


@tf.RegisterGradient(POSITIVE)
def _positive_gradient(operation: tf.Operation, gradient: tf.Tensor) -> tf.Tensor:
    return tf.where(gradient > 0, gradient, tf.zeros_like(gradient))


def _redirected(gradient: tf.Tensor, below: tf.Tensor, above: tf.Tensor, distance: tf.Tensor) -> tf.Tensor:
    """The gradient of a loss with respect to values that are limited where they are `below` or `above` the limits.

    A step against it makes values that are below larger, and those that are above smaller. Where only such steps are left, the
    values count that are nearest to their limit: one step for all of them would bring none of them there.

    Args:
      gradient: with respect to the limited values.
      below, above: where the values are beyond a limit.
      distance: how far they are beyond it.
    """
    none = tf.zeros_like(gradient)
    usual = tf.where(below | above, none, gradient)
    helpful = tf.where((below & (gradient > 0)) | (above & (gradient < 0)), none, gradient)
    axes = list(range(1, gradient.shape.rank))
    waiting = tf.where(helpful != 0, distance, tf.fill(tf.shape(distance), distance.dtype.max))
    nearest = tf.reduce_min(waiting, axis=axes, keepdims=True)
    helpful = tf.where(waiting <= REACH * nearest, helpful, none)
    gets_through = tf.reduce_any(usual != 0, axis=axes, keepdims=True)
    return tf.where(gets_through, usual, helpful)


@tf.RegisterGradient(REDIRECTED["Relu"])
def _redirected_relu_gradient(operation: tf.Operation, gradient: tf.Tensor) -> tf.Tensor:
    value = operation.inputs[0]
    return _redirected(gradient, value <= 0, tf.zeros_like(value, tf.bool), -value)


@tf.RegisterGradient(REDIRECTED["Relu6"])
def _redirected_relu6_gradient(operation: tf.Operation, gradient: tf.Tensor) -> tf.Tensor:
    value = operation.inputs[0]
    return _redirected(gradient, value <= 0, value >= 6, tf.maximum(-value, value - 6))


@tf.RegisterGradient(REDIRECTED["Maximum"])
@tf.RegisterGradient(REDIRECTED["Minimum"])
def _redirected_limit_gradient(operation: tf.Operation, gradient: tf.Tensor) -> list[tf.Tensor | None]:
    limited = next(number for number, tensor in enumerate(operation.inputs) if tensor.op.type != "Const")
    value, limit = operation.inputs[limited], operation.inputs[1 - limited]
    none = tf.zeros_like(value, tf.bool)
    sides = (value < limit, none) if operation.type == "Maximum" else (none, value > limit)
    passed = _redirected(gradient, *sides, tf.abs(value - limit))
    return [passed if number == limited else None for number in range(2)]
