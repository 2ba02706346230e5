"""A network taken apart: guided backpropagation, and the part of a network above a layer."""

from __future__ import annotations

from collections.abc import Callable

import keras
import tensorflow as tf

from tfinvert.system import standard_error

GUIDED_RELU = "TfinvertGuidedRelu"


def guided(model: keras.Model) -> Callable[[tf.Tensor], dict[str, tf.Tensor]]:
    """The network with guided backpropagation (Springenberg et al. 2015, arXiv 1412.6806).

    The values are those of the network; on the way back a ReLU also stops gradients that are negative.

    Args:
      model: from an image [batch, height, width, 3] to {layer name: features}, as `Network.cut` gives it.

    Returns:
      A function of the same image, with the same features.
    """
    graph, image, outputs = _frozen(model)
    for node in graph.node:
        if node.op == "Relu":
            node.attr["_gradient_op_type"].s = GUIDED_RELU.encode()

    def features(value: tf.Tensor) -> dict[str, tf.Tensor]:
        values = tf.graph_util.import_graph_def(graph, {image: value}, list(outputs.values()), name="guided")
        return dict(zip(outputs, values, strict=True))

    return _compiled(features, model.input_shape)


def head(model: keras.Model, layer: str, output: str) -> Callable[[tf.Tensor], tf.Tensor]:
    """The part of the network above a layer.

    Args:
      model: as for `guided`; `layer` and `output` are among its layers.

    Returns:
      A function from the features of `layer` to the features of `output`.
    """
    graph, image, outputs = _frozen(model)
    height, width = model.input_shape[1:3]

    def above(value: tf.Tensor) -> tf.Tensor:
        inputs = {image: tf.zeros((1, height, width, 3)), outputs[layer]: value}
        return tf.graph_util.import_graph_def(graph, inputs, [outputs[output]], name="head")[0]

    return _compiled(above, model.output[layer].shape)


def _compiled(function: Callable, shape: tuple[int | None, ...]) -> Callable:
    """The function as one graph for any batch; a plain tf.function is none where the caller runs functions eagerly."""
    graph = tf.function(function).get_concrete_function(tf.TensorSpec((None, *shape[1:]), tf.float32))
    return lambda value: graph(tf.convert_to_tensor(value, tf.float32))


def _frozen(model: keras.Model) -> tuple[tf.compat.v1.GraphDef, str, dict[str, str]]:
    """The network as one flat graph without functions, the name of its image, and layer name -> name of its tensor."""
    # Functions inside a SavedModel cannot be taken apart; this inlines them, and no public function does.
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    spec = tf.TensorSpec(model.input_shape, tf.float32, name="image")
    function = tf.function(lambda image: model(image, training=False)).get_concrete_function(spec)
    with standard_error.hold_back():
        flat = convert_variables_to_constants_v2(function)
    outputs = {}
    for name, tensor in zip(sorted(model.output), flat.outputs, strict=True):
        while tensor.op.type == "Identity":  # behind it is the tensor that the layers above read
            tensor = tensor.op.inputs[0]
        outputs[name] = tensor.name
    return flat.graph.as_graph_def(), flat.inputs[0].name, outputs


@tf.RegisterGradient(GUIDED_RELU)
def _guided_relu_gradient(operation: tf.Operation, gradient: tf.Tensor) -> tf.Tensor:
    return tf.where((operation.outputs[0] > 0) & (gradient > 0), gradient, tf.zeros_like(gradient))
