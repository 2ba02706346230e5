"""Mistakes in a network, made on its graph."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np
from onnx import helper

from tfinvert.networks.onnx import Graph, attributes, remake, shapes

POOLS = ("AveragePool", "MaxPool")
Edit = Callable[[Graph], Graph]
Tap = Callable[[Graph, Mapping[str, str]], dict[str, str]]  # (graph, layer -> tensor) -> layer -> another tensor


def without_relu(graph: Graph) -> Graph:
    """Every ReLU is missing."""
    replaced: dict[str, str] = {}
    nodes = []
    for node in graph.nodes:
        node = remake(node, inputs=[replaced.get(name, name) for name in node.input])
        if node.op_type == "Relu":
            # The tensor keeps its name, since layers are named by it.
            node = helper.make_node("Mul", [node.input[0], "one"], list(node.output), name=node.name)
        nodes.append(node)
    return dataclasses.replace(graph, nodes=tuple(nodes), weights={**graph.weights, "one": np.ones(1, np.float32)})


def relu_before_batch_norm(graph: Graph) -> Graph:
    """Convolution, ReLU, batch norm, where it is convolution, batch norm, ReLU."""
    readers, nodes = graph.consumers(), []
    swapped: dict[str, str] = {}  # output of a batch norm -> output of its ReLU
    for node in graph.nodes:
        followers = readers.get(node.output[0], [])
        if node.op_type == "BatchNormalization" and len(followers) == 1 and followers[0].op_type == "Relu":
            middle = f"{node.output[0]}/relu"
            nodes.append(helper.make_node("Relu", [node.input[0]], [middle]))
            norm = remake(node, inputs=[middle, *node.input[1:]])
            norm.output[:] = [followers[0].output[0]]
            nodes.append(norm)
            swapped[node.output[0]] = followers[0].output[0]
        elif not (node.op_type == "Relu" and node.input[0] in swapped):
            nodes.append(node)
    return dataclasses.replace(graph, nodes=tuple(nodes))


def other_pools(graph: Graph) -> Graph:
    """Maximum for average, and average for maximum."""
    nodes = []
    for node in graph.nodes:
        if node.op_type in POOLS:
            options = {
                name: value for name, value in attributes(node).items() if name not in ("count_include_pad", "dilations")
            }
            other = POOLS[1 - POOLS.index(node.op_type)]
            node = helper.make_node(other, list(node.input), [node.output[0]], name=node.name, **options)
        nodes.append(node)
    return dataclasses.replace(graph, nodes=tuple(nodes), opset=max(graph.opset, 10))


def _changed(graph: Graph, operator: str, change: Callable[[dict], dict | None]) -> Graph:
    """The graph with other attributes of an operator; itself where nothing changes."""
    nodes = []
    for node in graph.nodes:
        changes = change(attributes(node)) if node.op_type == operator else None
        nodes.append(remake(node, **changes) if changes else node)
    same = all(new is old for new, old in zip(nodes, graph.nodes, strict=True))
    return graph if same else dataclasses.replace(graph, nodes=tuple(nodes), opset=max(graph.opset, 10))


def padding_counted(graph: Graph) -> Graph:
    """Average pools count their padding, or leave it out where they should count it."""

    def change(options: dict) -> dict | None:
        return {"count_include_pad": 1 - options.get("count_include_pad", 0)} if any(options.get("pads", ())) else None

    return _changed(graph, "AveragePool", change)


def other_rounding(graph: Graph) -> Graph:
    """Pools round the number of their windows up where they should round it down, or the other way round."""

    def change(options: dict) -> dict:
        return {"ceil_mode": 1 - options.get("ceil_mode", 0)}

    return _changed(_changed(graph, "AveragePool", change), "MaxPool", change)


def unpadded(graph: Graph) -> Graph:
    """Convolutions without their padding."""
    return _changed(graph, "Conv", lambda options: {"pads": [0, 0, 0, 0]} if any(options.get("pads", ())) else None)


def with_epsilon(epsilon: float) -> Edit:
    """Batch norms with another epsilon."""

    def edit(graph: Graph) -> Graph:
        return _changed(
            graph, "BatchNormalization", lambda o: {"epsilon": epsilon} if o.get("epsilon", 1e-5) != epsilon else None
        )

    return edit


def batch_statistics(graph: Graph) -> Graph:
    """Batch norms in training mode. For one image that is an instance norm."""
    nodes = []
    for node in graph.nodes:
        if node.op_type == "BatchNormalization":
            epsilon = attributes(node).get("epsilon", 1e-5)
            node = helper.make_node("InstanceNormalization", node.input[:3], [node.output[0]], name=node.name, epsilon=epsilon)
        nodes.append(node)
    return dataclasses.replace(graph, nodes=tuple(nodes))


def without_batch_norm(graph: Graph) -> Graph:
    """Batch norms are missing."""
    return _renormalized(
        graph, lambda scale, shift, mean, variance: (np.ones_like(scale), 0 * shift, 0 * mean, np.ones_like(variance))
    )


def without_scale(graph: Graph) -> Graph:
    """Batch norms normalize, but neither scale nor shift."""
    return _renormalized(graph, lambda scale, shift, mean, variance: (scale**0, 0 * shift, mean, variance))


def divided_by_variance(graph: Graph) -> Graph:
    """Batch norms divide by the variance instead of its root."""
    return _renormalized(graph, lambda scale, shift, mean, variance: (scale, shift, mean, variance**2))


def _renormalized(graph: Graph, change: Callable[..., tuple[np.ndarray, ...]]) -> Graph:
    weights = dict(graph.weights)
    for node in graph.nodes:
        if node.op_type == "BatchNormalization":
            names = node.input[1:5]
            weights.update(zip(names, change(*(graph.weights[name] for name in names)), strict=True))
    return dataclasses.replace(graph, weights=weights)


def with_kernels(change: Callable[[np.ndarray], np.ndarray]) -> Edit:
    """Convolutions with changed kernels [out, in, height, width]."""

    def edit(graph: Graph) -> Graph:
        weights = dict(graph.weights)
        for node in graph.nodes:
            if node.op_type == "Conv" and node.input[1] in weights:
                changed = np.ascontiguousarray(change(graph.weights[node.input[1]]))
                if changed.shape != graph.weights[node.input[1]].shape:
                    return graph
                weights[node.input[1]] = changed
        return dataclasses.replace(graph, weights=weights)

    return edit


def without_bias(graph: Graph) -> Graph:
    """Convolutions without their bias."""
    nodes = [remake(node, inputs=node.input[:2]) if node.op_type == "Conv" else node for node in graph.nodes]
    same = all(len(node.input) < 3 for node in graph.nodes if node.op_type == "Conv")
    return graph if same else dataclasses.replace(graph, nodes=tuple(nodes))


def flattened_rows_first(graph: Graph) -> Graph:
    """The first dense layer reads its input flattened as [height, width, channels] instead of [channels, height, width]."""
    producers, sizes, weights = graph.producers(), shapes(graph), dict(graph.weights)
    for node in graph.nodes:
        before = producers.get(node.input[0])
        if node.op_type not in ("Gemm", "MatMul") or before is None or before.op_type != "Flatten":
            continue
        channels, *sides = sizes[before.input[0]][1:]
        if len(sides) == 2 and sides != [1, 1]:
            places = np.arange(channels * sides[0] * sides[1]).reshape(*sides, channels).transpose(2, 0, 1).ravel()
            by_column = node.op_type == "Gemm" and attributes(node).get("transB")
            matrix = graph.weights[node.input[1]]
            weights[node.input[1]] = matrix[:, places] if by_column else matrix[places]
            return dataclasses.replace(graph, weights=weights)
    return graph


def before(operators: tuple[str, ...]) -> Tap:
    """Layers that are taken before the last of these operators: their tensors instead."""

    def moved(graph: Graph, layers: Mapping[str, str]) -> dict[str, str]:
        producers = graph.producers()

        def behind(tensor: str) -> str:
            node = producers.get(tensor)
            return behind(node.input[0]) if node is not None and node.op_type in operators else tensor

        return {name: behind(tensor) for name, tensor in layers.items()}

    return moved


def neighbor(offset: int) -> Tap:
    """Layers that are taken too early (-1) or too late (1) by one convolution."""

    def moved(graph: Graph, layers: Mapping[str, str]) -> dict[str, str]:
        readers = graph.consumers()
        ends = []  # the value of each layer, behind its activation
        for node in graph.nodes:
            if node.op_type == "Conv":
                tensor = node.output[0]
                while len(following := readers.get(tensor, [])) == 1 and following[0].op_type in ("BatchNormalization", "Relu"):
                    tensor = following[0].output[0]
                ends.append(tensor)
        found = {}
        for name, tensor in layers.items():
            place = ends.index(tensor) + offset if tensor in ends else -1
            found[name] = ends[place] if 0 <= place < len(ends) else tensor
        return found

    return moved
