"""A Keras model's layers in a new functional model, with the preparation of images in front."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from tfinvert.networks.keras_builder.layers import Function
from tfinvert.networks.keras_graph import LayerGraph
from tfinvert.networks.keras_outputs import Output
from tfinvert.networks.onnx.inputs import BRIGHTNESS
from tfinvert.networks.preprocessing import Preprocessing
from tfinvert.system.errors import InputError

layers = keras.layers
ONLY_IN_TRAINING = (
    layers.AlphaDropout,
    layers.Dropout,
    layers.GaussianDropout,
    layers.GaussianNoise,
    layers.SpatialDropout2D,
)


def functional(
    graph: LayerGraph, outputs: Mapping[str, Output], size: tuple[int, int], prepare: Preprocessing, pool: str
) -> keras.Model:
    """A new model of copies of the layers that these outputs need, with copies of their weights, none of them trainable.

    Args:
      graph: of the model, which stays as it is.
      outputs: layer name -> what it means.
      size: (height, width) of the images.
      prepare: what is done to an image before the model.
      pool: "max", or "avg" for average pools instead of max pools.

    Returns:
      A functional model from images [batch, height, width, 3], RGB in [0, 1], to {layer name: features}.

    Raises:
      InputError: a layer cannot be copied, since it does not say how it is made.
    """
    copies = _Copies(pool)
    image = keras.Input((*size, 3), name="image", dtype="float32")
    values = {graph.image: _prepared(image, prepare, graph.channels)}
    for step in graph.needed(output.source for output in outputs.values()):
        args, kwargs = step.arguments.fill_in({tensor: values[key] for tensor, key in step.keys.items()})
        made = copies.call(step.operation, args, kwargs)
        values.update(zip(step.writes, keras.tree.flatten(made), strict=True))
    results = {}
    for name, output in outputs.items():
        results[name] = values[output.source]
        if output.linear is not None:
            results[name] = copies.call(output.linear, (results[name],), {}, activation="linear")
    return keras.Model(image, results, name="features")


class _Copies:
    """Copies of layers and operations: one for each, however often it is called."""

    def __init__(self, pool: str):
        self._pool = pool
        self._made: dict[tuple[int, str], Any] = {}
        self._names = {"image", "colors", "range", "brightness"}

    def call(self, operation: Any, args: Any, kwargs: dict[str, Any], **changes: Any) -> Any:
        """Calls the copy of an operation, which differs from it in the values of `changes`."""
        key = (id(operation), repr(changes))
        if key in self._made:
            return self._made[key](*args, **kwargs)
        copy = self._made[key] = self._copy(operation, changes)
        result = copy(*args, **kwargs)
        if isinstance(copy, keras.Layer) and copy.weights:
            copy.set_weights(operation.get_weights())
            copy.trainable = False  # so that a batch norm keeps its statistics, too
        return result

    def _copy(self, operation: Any, changes: Mapping[str, Any]) -> Any:
        kind = type(operation)
        if isinstance(operation, ONLY_IN_TRAINING):
            return layers.Identity(name=self._free(operation.name))
        try:
            config = {**operation.get_config(), **changes, "name": self._free(operation.name)}
            if self._pool == "avg" and kind is layers.MaxPooling2D:
                kind = layers.AveragePooling2D
            return kind.from_config(config)
        except Exception as error:  # of a layer of the user's
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise InputError(f"the layer {operation.name!r} ({kind.__name__}) cannot be copied ({reason})") from None

    def _free(self, name: str) -> str:
        base, number = name, 1
        while name in self._names:
            number += 1
            name = f"{base}_{number}"
        self._names.add(name)
        return name


def _prepared(image: keras.KerasTensor, prepare: Preprocessing, channels: int) -> keras.KerasTensor:
    """The image as the model takes it."""
    if prepare.channels != (0, 1, 2):
        arguments = {"indices": list(prepare.channels), "axis": -1}
        image = Function("take", arguments=arguments, name="colors", trainable=False)(image)
    if set(prepare.scale) != {1.0} or any(prepare.shift):
        image = layers.Rescaling(list(prepare.scale), list(prepare.shift), name="range")(image)
    if channels == 1:
        layer = layers.Conv2D(1, 1, use_bias=False, name="brightness", trainable=False)
        image = layer(image)
        layer.set_weights([np.array(BRIGHTNESS, np.float32).reshape(1, 1, 3, 1)])
    return image
