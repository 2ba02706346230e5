"""A converted network as a Keras model with named features."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import keras
import tensorflow as tf

from tfinvert.networks.conversion.convert import Converted, Layer
from tfinvert.system import quiet

GUIDED_RELU = "TfinvertGuidedRelu"


@dataclasses.dataclass(frozen=True)
class Network:
    """A network cut to the layers that are needed.

    Attributes:
      name: of the zoo model or file.
      model: keras.Model from an image, float32 [batch, height, width, 3], RGB in [0, 1], to {layer name: features};
        preprocessing is inside. Its weights are not trainable.
      layers: layer name -> Layer (tensor, shape, stride, receptive field, error against onnxruntime).
      size: (height, width) of the image.
      weights_origin: where the weights came from, in words.
    """

    name: str
    model: keras.Model
    layers: dict[str, Layer]
    size: tuple[int, int]
    weights_origin: str


def load(converted: Converted, name: str) -> Network:
    """The network of a finished conversion."""
    height, width = converted.size
    image = keras.Input((height, width, 3), name="image")
    layer = keras.layers.TFSMLayer(str(converted.folder), call_endpoint="serving_default", trainable=False, name="onnx")
    # One name for each layer that was asked for; SavedModel signatures return them in no particular order.
    outputs = layer(image)
    model = keras.Model(image, {one.name: outputs[one.name] for one in converted.layers}, name="features")
    return Network(name, model, {one.name: one for one in converted.layers}, converted.size, converted.weights_origin)


def guided(converted: Converted) -> Callable[[tf.Tensor], dict[str, tf.Tensor]]:
    """The network with guided backpropagation (Springenberg et al. 2015, arXiv 1412.6806): image -> {layer name: features}.

    The values are those of the network; on the way back a ReLU also stops gradients that are negative.
    """
    graph, image, outputs = _frozen(converted)
    for node in graph.node:
        if node.op == "Relu":
            node.attr["_gradient_op_type"].s = GUIDED_RELU.encode()

    @tf.function
    def features(value: tf.Tensor) -> dict[str, tf.Tensor]:
        found = tf.graph_util.import_graph_def(graph, {image: value}, list(outputs.values()), name="guided")
        return dict(zip(outputs, found, strict=True))

    return features


def head(converted: Converted, layer: str, output: str) -> Callable[[tf.Tensor], tf.Tensor]:
    """The part of the network above a layer: features of `layer` -> features of `output`, both among its layers."""
    graph, image, outputs = _frozen(converted)
    height, width = converted.size

    @tf.function
    def above(value: tf.Tensor) -> tf.Tensor:
        given = {image: tf.zeros((1, height, width, 3)), outputs[layer]: value}
        return tf.graph_util.import_graph_def(graph, given, [outputs[output]], name="head")[0]

    return above


def _frozen(converted: Converted) -> tuple[tf.compat.v1.GraphDef, str, dict[str, str]]:
    """The network as one flat graph without functions, the name of its image, and layer name -> name of its tensor."""
    # Functions inside a SavedModel cannot be taken apart; this inlines them, and no public function does.
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    loaded = tf.saved_model.load(str(converted.folder))
    with quiet.standard_error_held_back():
        flat = convert_variables_to_constants_v2(loaded.signatures["serving_default"])
    outputs = {}
    for name, tensor in zip(sorted(layer.name for layer in converted.layers), flat.outputs, strict=True):
        while tensor.op.type == "Identity":  # behind it is the tensor that the layers above read
            tensor = tensor.op.inputs[0]
        outputs[name] = tensor.name
    return flat.graph.as_graph_def(), flat.inputs[0].name, outputs


@tf.RegisterGradient(GUIDED_RELU)
def _guided_relu_gradient(operation: tf.Operation, gradient: tf.Tensor) -> tf.Tensor:
    return tf.where((operation.outputs[0] > 0) & (gradient > 0), gradient, tf.zeros_like(gradient))
