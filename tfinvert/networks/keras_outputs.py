"""What a name means in a Keras model: a layer's output, the class scores, or the last features with a place in the image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from tfinvert.networks.heads import NONE, PROBABLY, SIGMOID, SOFTMAX, SURELY, Candidate, Head, choose_head
from tfinvert.networks.keras_graph import LayerGraph, Shape, Step
from tfinvert.networks.names import LAST, SCORES
from tfinvert.system.errors import InputError, choice_error

POOLS = (
    keras.layers.MaxPooling2D,
    keras.layers.AveragePooling2D,
    keras.layers.GlobalMaxPooling2D,
    keras.layers.GlobalAveragePooling2D,
)
RESHAPING = (keras.layers.Flatten, keras.layers.Reshape, keras.layers.Dropout, keras.layers.Identity)
# The names of functions and operations, of TensorFlow's, too.
NORMALIZING = {
    **dict.fromkeys(("softmax", "softmax_v2", "log_softmax", "log_softmax_v2", "logsoftmax"), SOFTMAX),
    **dict.fromkeys(("sigmoid", "log_sigmoid", "logsigmoid"), SIGMOID),
}
AFFINE = ("Add", "Subtract", "Multiply", "Divide", "TrueDivide", "BatchNormalization", "Rescaling")


class Output(NamedTuple):
    """A named value of a model.

    Attributes:
      key: of a value of the model that has its shape.
      source: key of the value that it is made from.
      linear: the layer that makes it from that, without its activation function; None where it is the source itself.
    """

    key: int
    source: int
    linear: Any = None

    def finish(self, value: tf.Tensor) -> tf.Tensor:
        """The value, from that of its source."""
        return value if self.linear is None else _before_activation(self.linear, value)


def find_output(graph: LayerGraph, name: str, output: str | None = None) -> Output:
    """The value that a name means: a layer of the graph, `scores` or `last`.

    Args:
      graph: of the model.
      name: of the value.
      output: name of the model's output that holds the class scores; None for the one that ends with a classifier.

    Raises:
      InputError: there is no such layer, no such output, or no classifier.
    """
    if name in graph.layers:
        return Output(graph.layers[name], graph.layers[name])
    if name == SCORES:
        return _class_scores(graph, output)[0]
    if name == LAST:
        return _last_features(graph, output)
    raise choice_error("layer", name, graph.layers)


def find_head(graph: LayerGraph, output: str | None) -> Head:
    """The class scores of a model; arguments and errors are those of `find_output`."""
    return _class_scores(graph, output)[1]


def _class_scores(graph: LayerGraph, output: str | None) -> tuple[Output, Head]:
    """The unnormalized class scores: an output before its softmax or sigmoid, which can be a part of the last layer."""
    if output is not None and output not in graph.outputs:
        raise choice_error("--output", output, graph.outputs)
    producers = graph.producers()
    height, width = graph.size
    shapes = graph.shapes_at((height or 224, width or 224))
    names = graph.outputs if output is None else (output,)
    candidates = {name: _candidate(graph, producers, shapes, name) for name in names}
    head = choose_head([candidate for candidate, _ in candidates.values()])
    return candidates[head.output][1], head


def _candidate(
    graph: LayerGraph, producers: Mapping[int, Step], shapes: Mapping[int, Shape], name: str
) -> tuple[Candidate, Output]:
    """An output that may hold class scores, and where they are."""
    key = scores = graph.outputs[name]
    activation, step = "", producers.get(key)
    while step is not None and (_passes(step) or (not activation and _activation(step))):
        key = step.reads[0]
        if not _passes(step):
            activation, scores = _activation(step), key
        step = producers.get(key)
    if step is None:
        return Candidate(name, name, activation, (), NONE, "before its first layer"), Output(key, key)
    source = Output(scores, scores)
    fused = "" if activation else NORMALIZING.get(_function_name(getattr(step.operation, "activation", None)), "")
    if fused and isinstance(step.operation, keras.layers.Dense | keras.layers.Conv2D):
        activation, source = fused, Output(step.writes[0], step.reads[0], step.operation)
    if not activation and graph.has_binary_loss:
        activation = SIGMOID
    shape = shapes.get(source.key, (None,))[1:]
    shape = (*shape[-1:], *shape[:-1])
    certainty = NONE
    if all(side == 1 for side in shape[1:]):
        is_scores = activation and (scores != graph.outputs[name] or fused)
        certainty = SURELY if is_scores and activation == SOFTMAX else PROBABLY
        certainty = certainty if is_scores or _is_dense(step, producers) else NONE
    end = f"with {step.operation.name!r} ({type(step.operation).__name__})"
    return Candidate(name, str(source.key), activation, shape, certainty, end), source


def _activation(step: Step) -> str:
    """What a softmax or a sigmoid that is an operation of its own makes of scores; empty for other operations."""
    operation = step.operation
    name = type(operation).__name__
    if isinstance(operation, keras.layers.Activation):
        name = _function_name(operation.activation)
    return NORMALIZING.get(name.lower(), "")


def _passes(step: Step) -> bool:
    """Whether an operation passes its input's values on, perhaps in another shape or type."""
    is_linear = isinstance(step.operation, keras.layers.Activation) and _function_name(step.operation.activation) == "linear"
    return is_linear or isinstance(step.operation, RESHAPING) or type(step.operation).__name__ in ("Cast", "Squeeze", "ArgMax")


def _is_dense(step: Step, producers: Mapping[int, Step], depth: int = 3) -> bool:
    """Whether an operation is a dense layer, or a convolution at one place, or shifts and scales the values of one."""
    operation = step.operation
    if isinstance(operation, keras.layers.Dense | keras.layers.EinsumDense | keras.layers.Conv2D):
        return _function_name(operation.activation) == "linear"
    if type(operation).__name__ not in AFFINE or not depth:
        return False
    return any(_is_dense(producers[key], producers, depth - 1) for key in step.reads if key in producers)


def _function_name(function: Any) -> str:
    return getattr(function, "__name__", "linear" if function is None else "")


def _before_activation(layer: Any, value: tf.Tensor) -> tf.Tensor:
    """What a dense layer or a convolution computes before its activation."""
    value = tf.cast(value, tf.float32)
    if isinstance(layer, keras.layers.Dense):
        result = tf.matmul(value, tf.cast(layer.kernel, tf.float32))
    else:
        result = layer.convolution_op(value, tf.cast(layer.kernel, tf.float32))
    return result if layer.bias is None else result + tf.cast(layer.bias, tf.float32)


def _last_features(graph: LayerGraph, output: str | None) -> Output:
    """The last features with a place in the image: what the last pooling before the class scores reads."""
    steps = list(reversed(graph.needed([_class_scores(graph, output)[0].source])))
    for step in steps:
        if isinstance(step.operation, POOLS):
            return Output(step.reads[0], step.reads[0])
    height, width = graph.size
    shapes = graph.shapes_at((height or 224, width or 224))
    for key in (key for step in steps for key in step.writes):
        if len(shapes.get(key, ())) == 4 and max(shapes[key][1:3]) > 1:
            return Output(key, key)
    raise InputError("nothing before the class scores of the network has a place in the image; name a layer instead")
