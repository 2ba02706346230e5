"""A network that is a Keras model already: in memory, or in a .keras file. Its layers are used as they are, and not changed."""

from __future__ import annotations

import functools
import hashlib
import logging
import random
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfinvert.networks import recognition
from tfinvert.networks.heads import Head
from tfinvert.networks.keras_copies import functional
from tfinvert.networks.keras_geometry import Place, places
from tfinvert.networks.keras_graph import LayerGraph, Shape, layer_graph
from tfinvert.networks.keras_outputs import Output, find_head, find_output
from tfinvert.networks.keras_preprocessing import recognize_model
from tfinvert.networks.layer import Layer
from tfinvert.networks.preprocessing import Preprocessing, parse
from tfinvert.system.errors import InputError

log = logging.getLogger("tfinvert")


def read_model(path: Path) -> keras.Model:
    """The model of a .keras file; code in the file is not run.

    Raises:
      InputError: the file is no Keras model, or needs classes that are not registered.
    """
    if not zipfile.is_zipfile(path):  # for which Keras says that it was not found
        raise InputError(f"cannot read the Keras model {path}: it is damaged, or in another format than .keras")
    state = random.getstate()  # Keras draws seeds for the weights before it reads them
    try:
        return keras.models.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # anything from a ZipError to a TypeError, by what is wrong with the file
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        way = "; if you trust it, read it by keras.models.load_model, and load the model that it gives"
        raise InputError(f"cannot read the Keras model {path}: {reason}{way}") from None
    finally:
        random.setstate(state)


class KerasModel:
    """A Keras model as a network; the attributes and methods are those of `source.Source`."""

    def __init__(
        self,
        model: keras.Model,
        name: str,
        *,
        file: Path | None = None,
        preprocessing: str | None = None,
        size: tuple[int, int] | None = None,
        pool: str = "max",
        output: str | None = None,
    ):
        """Reads the structure of the model.

        Args:
          model: functional, or built and sequential, from images [batch, height, width, 3] or [batch, height, width, 1].
          name: of the network.
          file: where the model was read from.
          preprocessing: as in `preprocessing.parse`; None for what the model's layers, kernels and name say.
          size: (height, width) of the images; None for the model's own, or 224x224.
          pool: "max" for the model's pools, "avg" for average pools instead of its max pools.
          output: name of the output that holds the class scores; None for the one that ends with a classifier.

        Raises:
          InputError: the layers of the model cannot be seen, or it is not a model of one image.
        """
        self.name = name
        self._model = model
        self._graph = layer_graph(model)
        self._file = file
        self._pool = pool
        self._output = output
        height, width = self._graph.size
        self.size = size or (height or 224, width or 224)
        self.recognized = recognition.given(preprocessing) if preprocessing else recognize_model(self._graph, self.size)

    @property
    def weights(self) -> str:
        digest = hashlib.sha256()
        for variable in self._model.weights:
            digest.update(np.ascontiguousarray(variable).tobytes())
        source = self._file.name if self._file else f"the keras.Model {self._model.name}"
        return f"{source} (SHA-256 of its weights {digest.hexdigest()[:12]})"

    @functools.cached_property
    def layers(self) -> Mapping[str, Layer]:
        """The layers that fit images of this size."""
        return {name: self._described(name, key) for name, key in self._graph.layers.items() if key in self._shapes}

    def layer(self, name: str) -> Layer:
        return self._described(name, find_output(self._graph, name, self._output).key)

    @functools.cached_property
    def head(self) -> Head:
        return find_head(self._graph, self._output)

    def check(self, layers: tuple[str, ...]) -> None:
        for name in layers:
            find_output(self._graph, name, self._output)

    def prepare(self, layers: tuple[str, ...]) -> None:
        self.check(layers)

    def _outputs(self, layers: tuple[str, ...]) -> dict[str, Output]:
        outputs = {name: find_output(self._graph, name, self._output) for name in layers}
        for name, output in outputs.items():
            if output.key not in self._shapes:
                size = "x".join(map(str, self.size))
                raise InputError(f"the layer {name!r} of {self.name} does not fit images of {size} pixels; leave out the size")
        return outputs

    def build(self, layers: tuple[str, ...]) -> keras.Model:
        outputs = self._outputs(layers)
        image = keras.Input((*self.size, 3), name="image", dtype="float32")
        shapes = {name: self._shapes[output.key] for name, output in outputs.items()}
        cut = _Cut(self._graph, outputs, shapes, parse(self.recognized.preprocessing), self._pool)
        return keras.Model(image, cut(image), name="features")

    def build_plain(self, layers: tuple[str, ...]) -> keras.Model:
        outputs = self._outputs(layers)
        try:
            return functional(self._graph, outputs, self.size, parse(self.recognized.preprocessing), self._pool)
        except InputError as error:
            log.warning("%s, so the model has one layer for all of the network", error)
            return self.build(layers)

    def file(self, layers: tuple[str, ...]) -> None:
        return None

    def connections(self, layers: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
        return {}

    def provenance(self) -> dict[str, Any]:
        return {
            "network": self.name,
            "weights": self.weights,
            "onnx_sha256": None,
            "converter": None,
            "preprocessing": self.recognized.preprocessing,
            "preprocessing_from": self.recognized.reason,
            "pool": self._pool,
            "size": list(self.size),
        }

    def settings(self) -> dict[str, Any]:
        same = {"size": self.size, "pool": self._pool, "output": self._output}
        source = {"model": self.name} if self._file is None else {"onnx": str(self._file)}
        return {**source, "preprocessing": self.recognized.preprocessing, **same}

    @property
    def request(self) -> Any:
        raise InputError(f"the Keras model {self.name} is not converted from an .onnx file, which is needed here")

    def at_size(self, size: tuple[int, int]) -> KerasModel:
        same = {"file": self._file, "preprocessing": "none", "pool": self._pool, "output": self._output}
        other = KerasModel(self._model, self.name, size=size, **same)  # type: ignore[arg-type]
        other.recognized = self.recognized
        return other

    def at_precision(self, precision: str) -> KerasModel:
        return self

    def _described(self, name: str, key: int) -> Layer:
        place = self._places[key]
        return Layer(name, name, self._shapes[key][1:], place.stride, place.receptive_field, None)

    @functools.cached_property
    def _shapes(self) -> dict[int, Shape]:
        return self._graph.shapes_at(self.size)

    @functools.cached_property
    def _places(self) -> dict[int, Place]:
        return places(self._graph, self._shapes)


class _Cut(keras.layers.Layer):
    """Preprocessing and the part of a model that some layers need, in inference mode.

    The model's variables are not this layer's: so no weight is trainable here, and the model keeps its own settings.
    """

    def __init__(
        self,
        graph: LayerGraph,
        outputs: Mapping[str, Output],
        shapes: Mapping[str, Shape],
        prepare: Preprocessing,
        pool: str,
    ):
        super().__init__(name="layers", dtype="float32")
        self._graph, self._outputs, self._shapes, self._prepare, self._pool = graph, outputs, shapes, prepare, pool

    def call(self, image: tf.Tensor) -> dict[str, tf.Tensor]:
        prepare = self._prepare
        if prepare.channels != (0, 1, 2):
            image = tf.gather(image, prepare.channels, axis=-1)
        image = image * tf.constant(prepare.scale) + tf.constant(prepare.shift)
        values = self._graph.values(image, [output.source for output in self._outputs.values()], self._pool)
        return {name: tf.cast(output.finish(values[output.source]), tf.float32) for name, output in self._outputs.items()}

    def compute_output_spec(self, image: keras.KerasTensor) -> dict[str, keras.KerasTensor]:
        return {name: keras.KerasTensor(shape, "float32") for name, shape in self._shapes.items()}
