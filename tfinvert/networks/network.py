"""A converted network as a Keras model with named features."""

from __future__ import annotations

import dataclasses

import keras

from tfinvert.networks.convert import Converted, Layer


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
