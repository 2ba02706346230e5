"""The values of a network that is being built, and the order of their axes.

ONNX has channels after the batch, Keras has them last. Nothing is guessed: each value knows which of ONNX' axes each axis of
its tensor is. A Transpose renames axes and moves nothing. An operator that names an axis looks for it; one that needs an order
asks for it, and only then a tensor is transposed.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import onnx

from tfinvert.networks.keras_builder.layers import INPUT, Function
from tfinvert.networks.onnx import Graph, attributes
from tfinvert.system.errors import InputError

Order = tuple[int, ...]


@dataclasses.dataclass
class Value:
    """A computed value.

    Attributes:
      tensor: a symbolic tensor of Keras.
      order: for each axis of the tensor, which axis it is in ONNX.
    """

    tensor: Any
    order: Order

    def axis(self, axis: int) -> int:
        """Where an axis of ONNX, which may be negative, is in the tensor."""
        return self.order.index(axis % len(self.order))


def plain(rank: int) -> Order:
    """ONNX' own order."""
    return tuple(range(rank))


def channels_last(rank: int) -> Order:
    """The order of Keras: batch, places, channels."""
    return (0, *range(2, rank), 1) if rank > 2 else plain(rank)


class Building:
    """A network that is being built: the values that are there, and the ways to make others from them.

    Attributes:
      graph: what is built.
      shapes: tensor -> its shape in ONNX for one image.
    """

    def __init__(self, graph: Graph, shapes: Mapping[str, tuple[int, ...]], names: Mapping[str, str], dtype: str):
        """Has no values yet.

        Args:
          graph: folded, with weights.
          shapes: tensor -> its shape for one image.
          names: tensor -> the name of its layer, where it has one of its own.
          dtype: of the numbers that are computed with.
        """
        self.graph, self.shapes, self.dtype = graph, shapes, dtype
        self._readers = graph.consumers()
        self._wanted = frozenset(names)
        self._taken: set[str] = set()
        self._reserved = {tensor: self._free(name) for tensor, name in names.items()}
        self._values: dict[str, Value] = {}
        self._ordered: dict[tuple[int, Order], Any] = {}

    def set(self, tensor: str, value: Value) -> None:
        """Keeps the value of a tensor of the graph."""
        self._values[tensor] = value

    def has(self, tensor: str) -> bool:
        """Whether the value of a tensor of the graph is there already."""
        return tensor in self._values

    def only_reader(self, tensor: str) -> onnx.NodeProto | None:
        """The node that alone takes a tensor, which is no output of the network; None for all other tensors."""
        readers = self._readers.get(tensor, [])
        return readers[0] if len(readers) == 1 and tensor not in self._wanted else None

    def is_constant(self, tensor: str) -> bool:
        """Whether a tensor of the graph is a constant."""
        return tensor in self.graph.weights

    def constant(self, node: onnx.NodeProto, place: int, default: Any = None) -> np.ndarray:
        """An input of a node that has to be a constant.

        Args:
          node: the node.
          place: number of the input.
          default: stands for an input that is left out.

        Raises:
          InputError: it is computed.
        """
        if place >= len(node.input) or not node.input[place]:
            return default
        if node.input[place] not in self.graph.weights:
            raise refuse(node, f"with the computed input {node.input[place]!r}")
        return self.graph.weights[node.input[place]]

    def value(self, tensor: str) -> Value:
        """The value of a tensor that is computed."""
        return self._values[tensor]

    def ordered(self, tensor: str, order: Order) -> Any:
        """The symbolic tensor of a value with its axes in this order."""
        return self.reordered(self.value(tensor), order, tensor)

    def reordered(self, value: Value, order: Order, name: str) -> Any:
        """The symbolic tensor of a value with its axes in this order; `name` is for the layer that is needed for it."""
        if value.order == order:
            return value.tensor
        axes = tuple(value.order.index(axis) for axis in order)
        key = (id(value.tensor), axes)
        if key not in self._ordered:
            self._ordered[key] = self._transposed(value.tensor, axes, f"{name}_transposed")
        return self._ordered[key]

    def _transposed(self, tensor: Any, axes: Order, name: str) -> Any:
        long = [axis for axis in axes if tensor.shape[axis] != 1]
        if long == sorted(long):  # only sides of 1 move
            return self.reshaped(tensor, [-1 if tensor.shape[a] is None else tensor.shape[a] for a in axes], name)
        if axes[0] == 0:
            return self.layer(keras.layers.Permute, tensor, name, dims=axes[1:])
        return self.function("transpose", [tensor], name, axes=list(axes))

    def reshaped(self, tensor: Any, sides: Sequence[int], name: str) -> Any:
        """A symbolic tensor of the same numbers in other sides, -1 for one that is left open."""
        if sides[0] == -1 and tensor.shape[0] is None and math.prod(sides[1:]) == math.prod(tensor.shape[1:]):
            return self.layer(keras.layers.Reshape, tensor, name, target_shape=tuple(sides[1:]))
        return self.function("reshape", [tensor], name, newshape=list(sides))

    def layer(self, kind: Any, inputs: Any, name: str, weights: Sequence[np.ndarray] = (), **options: Any) -> Any:
        """Calls a new layer.

        Args:
          kind: its class.
          inputs: a symbolic tensor, or a list of them.
          name: of the tensor of the graph that it makes, or of a step on the way there.
          weights: its weights in the order of Keras.
          options: of the class.
        """
        layer = kind(name=self._name(name), dtype=self.dtype, trainable=False, **options)
        outputs = layer(inputs)
        if weights:
            layer.set_weights(list(weights))
        return outputs

    def function(self, function: str, values: Sequence[Any], name: str, **arguments: Any) -> Any:
        """Calls a function of `keras.ops`: its values are symbolic tensors, numbers, and arrays that become weights."""
        inputs = [value for value in values if isinstance(value, keras.KerasTensor)]
        arrays = [value for value in values if isinstance(value, np.ndarray)]
        places = [_place(value) for value in values]
        called = inputs[0] if len(inputs) == 1 else inputs
        return self.layer(Function, called, name, arrays, function=function, places=places, arguments=arguments)

    def _name(self, tensor: str) -> str:
        return self._reserved.pop(tensor, "") or self._free(tensor)

    def _free(self, text: str) -> str:
        name = base = _as_name(text)
        number = 1
        while name in self._taken:
            number += 1
            name = f"{base}_{number}"
        self._taken.add(name)
        return name


def _as_name(text: str) -> str:
    """A text as the name of a Keras layer, which has no slash in it, and which TensorFlow takes for a scope."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", text).strip("_-") or "layer"


def _place(value: Any) -> Any:
    if isinstance(value, keras.KerasTensor):
        return INPUT
    if isinstance(value, np.ndarray):
        return {"shape": list(value.shape), "dtype": "float" if value.dtype.kind == "f" else str(value.dtype)}
    return value


def refuse(node: onnx.NodeProto, what: str) -> InputError:
    """The error for a node that cannot be built."""
    return InputError(f"the node {node.name or node.output[0]!r} ({node.op_type}) cannot be built in Keras {what}")


def option(node: onnx.NodeProto, name: str, default: Any = None) -> Any:
    """An attribute of a node, texts as str."""
    value = attributes(node).get(name, default)
    return value.decode() if isinstance(value, bytes) else value
