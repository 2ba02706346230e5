"""A network as a Keras model of real layers, which runs on every backend of Keras: one small function for each ONNX operator.

The functions are in `convolutions`, `elementwise`, `matrices`, `parts`, `reductions`, `resizing` and `shapes`. `values` keeps
the order of axes, `layers` has what Keras has no layer for, and `rows` the dense layer of tokens.
"""

from __future__ import annotations

from collections.abc import Mapping

import keras
import numpy as np

from tfinvert.networks import onnx as graphs
from tfinvert.networks.keras_builder import convolutions, elementwise, matrices, parts, reductions, resizing, shapes
from tfinvert.networks.keras_builder.values import Building, Value, channels_last, plain, refuse
from tfinvert.networks.onnx import Graph
from tfinvert.networks.preprocessing import Preprocessing
from tfinvert.system.errors import InputError

OPERATORS = {
    **convolutions.OPERATORS,
    **elementwise.OPERATORS,
    **matrices.OPERATORS,
    **parts.OPERATORS,
    **reductions.OPERATORS,
    **resizing.OPERATORS,
    **shapes.OPERATORS,
}


def build(graph: Graph, preprocessing: Preprocessing, layers: Mapping[str, str], *, dtype: str = "float32") -> keras.Model:
    """Builds a network in Keras.

    Args:
      graph: settled and folded, with weights.
      preprocessing: what is done to an image before the graph.
      layers: layer name -> tensor.
      dtype: of the numbers: float32, or float64 to see what rounding does.

    Returns:
      A functional model from images [batch, height, width, 3], RGB in [0, 1], to {layer name: features}, channels last. A layer
      that computes a named tensor has its name, with `_` for a slash. No weight is trainable.

    Raises:
      InputError: a node cannot be built.
    """
    names: dict[str, str] = {}
    for name, tensor in layers.items():
        names.setdefault(tensor, name)
    building = Building(graph, graphs.shapes(graph), names, dtype)
    image = keras.Input((*graph.size, 3), name="image", dtype=dtype)
    building.set(graph.image, Value(_prepared(building, image, preprocessing), channels_last(4)))
    for node in graph.nodes:
        if building.has(node.output[0]):
            continue
        try:
            made = OPERATORS[node.op_type](building, node)
        except InputError:
            raise
        except Exception as error:  # of Keras and NumPy, where a node is unlike those that are known
            words = f"({type(error).__name__}: {' '.join(str(error).split())[:200]})"
            raise refuse(node, words) from None
        for tensor, value in zip(node.output, made if isinstance(made, list) else [made], strict=False):
            building.set(tensor, value)
    outputs = {name: _output(building, name, tensor) for name, tensor in layers.items()}
    return keras.Model(image, outputs, name="features")


def _prepared(building: Building, image: keras.KerasTensor, preprocessing: Preprocessing) -> keras.KerasTensor:
    """The image as the graph takes it."""
    if preprocessing.channels != (0, 1, 2):
        image = building.function("take", [image], "colors", indices=list(preprocessing.channels), axis=-1)
    if set(preprocessing.scale) != {1.0}:
        image = building.function("multiply", [image, np.array(preprocessing.scale, np.float32)], "scale")
    if any(preprocessing.shift):
        image = building.function("add", [image, np.array(preprocessing.shift, np.float32)], "shift")
    return image


def _output(building: Building, name: str, tensor: str) -> keras.KerasTensor:
    """The features of a layer, channels last for a value with places in the image."""
    value = building.value(tensor)
    rank = len(value.order)
    return building.reordered(value, channels_last(4) if rank == 4 else plain(rank), name)
