"""The layers of a graph in one order of axes: the batch, the channels, and the places in the image."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from onnx import helper

from tfinvert.networks.onnx.geometry import geometry
from tfinvert.networks.onnx.graph import Graph
from tfinvert.networks.onnx.places import Geometry

SUFFIX = "/in_order"  # of the name of a layer that is transposed


def places_first(place: Geometry) -> tuple[int, ...]:
    """The axes of a tensor in the order of Keras: the batch, the places, the channels; for other tensors as they are.

    Transformers such as Swin keep their channels last, and some exporters the tokens before the batch.
    """
    rank, axes = len(place.shape), place.axes
    if not axes:
        return (0, 2, 3, 1) if rank == 4 else tuple(range(rank))
    others = [axis for axis in range(rank) if axis not in axes]
    batch = next((axis for axis in others if place.shape[axis] == 1), None)
    if batch is None:
        return tuple(range(rank))
    return (batch, *axes, *(axis for axis in others if axis != batch))


def features_shape(place: Geometry) -> tuple[int, ...]:
    """The shape of one image's features: [height, width, channels], [tokens, channels] or [channels]."""
    return tuple(place.shape[axis] for axis in places_first(place)[1:])


def in_one_order(graph: Graph, layers: Mapping[str, str]) -> tuple[Graph, dict[str, str]]:
    """Transposes the layers of a cut, settled graph that have another order than [batch, channels, height, width] or so.

    Args:
      graph: the graph.
      layers: layer name -> tensor.

    Returns:
      The graph, whose outputs are the layers, and layer name -> tensor in it.
    """
    places = geometry(graph)
    nodes, turned = [], {}
    for tensor in dict.fromkeys(layers.values()):
        order = places_first(places[tensor])
        if len(order) == 4:
            order = (order[0], order[3], order[1], order[2])
        if order != tuple(range(len(order))):
            turned[tensor] = f"{tensor}{SUFFIX}"
            nodes.append(helper.make_node("Transpose", [tensor], [turned[tensor]], name=turned[tensor], perm=order))
    outputs = tuple(dict.fromkeys(turned.get(tensor, tensor) for tensor in graph.outputs))
    graph = dataclasses.replace(graph, nodes=(*graph.nodes, *nodes), outputs=outputs)
    return graph, {name: turned.get(tensor, tensor) for name, tensor in layers.items()}


def original(tensor: str) -> str:
    """The name of a layer before `in_one_order`."""
    return tensor.removesuffix(SUFFIX)
