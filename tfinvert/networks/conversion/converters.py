"""The two converters, behind one interface: what they make computes features, and is saved into a folder."""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from tfinvert.networks.conversion import onnx2tf
from tfinvert.networks.conversion.request import Request
from tfinvert.networks.conversion.request_graph import folded
from tfinvert.networks.onnx import Graph
from tfinvert.system.files import reason

FILE = "model.keras"
ORDER = {"auto": ("onnx2tf", "keras"), "onnx2tf": ("onnx2tf",), "keras": ("keras",)}


class Model(Protocol):
    """A converted network."""

    def features(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Layer name -> features, channels last, of images [n, height, width, 3] in [0, 1]."""

    def save(self, folder: Path) -> None:
        """Writes the network into a folder that is not there yet; raises OSError where it cannot."""


class SavedModel:
    """A network that onnx2tf converted."""

    def __init__(self, request: Request, part: Graph, layers: dict[str, str]):
        """Converts the cut graph of a request, with weights; raises InputError where onnx2tf cannot."""
        graph, preprocessing = folded(request, part, pools=request.pools_as_convolutions)
        self._module = onnx2tf.export(graph, preprocessing, layers, fast=request.winograd)

    def features(self, images: np.ndarray) -> dict[str, np.ndarray]:
        return _arrays(self._module.features(images))

    def save(self, folder: Path) -> None:
        import tensorflow as tf  # after onnx2tf, which must set its environment first

        try:
            tf.saved_model.save(self._module, str(folder), signatures={"serving_default": self._module.features})
        except tf.errors.OpError as error:  # TensorFlow's of a full disk
            raise OSError(errno.EIO, reason(error)) from None


class KerasFile:
    """A network of Keras layers."""

    def __init__(self, request: Request, part: Graph, layers: dict[str, str]):
        """Builds the cut graph of a request, with weights; raises InputError where a node cannot be built."""
        from tfinvert.networks import keras_builder  # imports TensorFlow, which onnx2tf must do first where it is tried

        graph, preprocessing = folded(request, part, pools=request.pools_as_convolutions)
        self._model = keras_builder.build(graph, preprocessing, layers)

    def features(self, images: np.ndarray) -> dict[str, np.ndarray]:
        return _arrays(self._model(images))

    def save(self, folder: Path) -> None:
        folder.mkdir()
        self._model.save(folder / FILE)


CONVERTERS: dict[str, Callable[[Request, Graph, dict[str, str]], Model]] = {"onnx2tf": SavedModel, "keras": KerasFile}


def _arrays(features: Mapping[str, Any]) -> dict[str, np.ndarray]:
    return {name: np.asarray(value) for name, value in features.items()}
