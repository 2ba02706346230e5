"""Graphs made from graphs: tidied, cut to some tensors, at another size, with other pools, under other names."""

import dataclasses
from collections.abc import Iterable

import onnx
from onnx import helper

from tfinvert.networks.onnx.graph import Graph, attributes, remake
from tfinvert.networks.onnx.operators import REMOVED
from tfinvert.system.errors import choice_error


def tidy(graph: Graph) -> Graph:
    """Returns a graph with the same values under the same names, in fewer and plainer nodes.

    Dropout, Identity, pools of one value and transposes back disappear, and their names become aliases. A `Flatten` states
    its axis. A `Reshape` to [batch, all the rest] becomes a `Flatten`, which holds for every batch size. A `Sum` of two
    values becomes an `Add`.
    """
    aliases: dict[str, str] = {}
    ranks = {graph.image: 4}
    turned: dict[str, tuple[str, list[int]]] = {}
    nodes = []
    for node in graph.nodes:
        inputs = [aliases.get(i, i) for i in node.input]
        if node.op_type == "Transpose" and (order := attributes(node).get("perm")):
            source, first = turned.get(inputs[0], ("", []))
            if len(first) == len(order) and [first[axis] for axis in order] == sorted(order):
                aliases[node.output[0]] = source
                continue
            turned[node.output[0]] = inputs[0], list(order)
        if node.op_type in REMOVED or _pools_nothing(node) or (node.op_type in ("Concat", "Sum") and len(inputs) == 1):
            aliases[node.output[0]] = inputs[0]
            continue
        node = remake(node, inputs=inputs)
        if node.op_type == "Sum" and len(inputs) == 2:
            node = helper.make_node("Add", inputs, list(node.output), name=node.name)
        if node.op_type == "Reshape" and ranks.get(inputs[0]) == 4 and inputs[-1] in graph.weights:
            shape = graph.weights[inputs[-1]].ravel().tolist()
            if len(shape) == 2 and shape[0] in (0, 1):
                node = helper.make_node("Flatten", inputs[:1], list(node.output), name=node.name)
        if node.op_type == "Flatten":
            node = remake(node, axis=attributes(node).get("axis", 1))
        # The rank matters only to a Reshape, which has to see a value of rank 4: everything before the first flattening.
        rank = next((ranks[name] for name in inputs if name in ranks), 0)  # 0 for what is made of constants alone
        ranks[node.output[0]] = 2 if node.op_type in ("Flatten", "Reshape", "Gemm", "MatMul") else rank
        nodes.append(node)
    outputs = tuple(dict.fromkeys(aliases.get(o, o) for o in graph.outputs))
    return dataclasses.replace(graph, nodes=tuple(nodes), outputs=outputs, aliases=aliases)


def _pools_nothing(node: onnx.NodeProto) -> bool:
    """Whether a node is a pool of one value each, as exporters write an adaptive pool to the size that is there."""
    options = attributes(node)
    if node.op_type not in ("AveragePool", "MaxPool") or len(node.output) > 1 or any(options.get("pads", ())):
        return False
    return set(options.get("kernel_shape", ())) == {1} and set(options.get("strides", [1])) == {1}


def cut(graph: Graph, tensors: Iterable[str]) -> Graph:
    """Returns the part of the graph that the tensors need; they become its outputs, in their order.

    Raises:
      InputError: the graph does not compute one of the tensors.
    """
    outputs = tuple(dict.fromkeys(graph.resolve(t) for t in tensors))
    producers = graph.producers()
    for tensor in outputs:
        if tensor not in producers:
            raise choice_error("tensor", tensor, producers)
    needed = set(outputs)
    nodes = []
    for node in reversed(graph.nodes):
        if needed.intersection(node.output):
            needed.update(node.input)
            nodes.append(node)
    weights = {name: graph.weights[name] for name in graph.weights if name in needed}
    return dataclasses.replace(graph, nodes=tuple(reversed(nodes)), weights=weights, outputs=outputs)


def with_output(graph: Graph, output: str | None) -> Graph:
    """Returns the graph with one of its outputs alone, or as it is where that is None.

    Raises:
      InputError: the graph has no such output.
    """
    if output is None:
        return graph
    if output not in graph.outputs:
        raise choice_error("--output", output, graph.outputs)
    return dataclasses.replace(graph, outputs=(output,))


def resized(graph: Graph, size: tuple[int, int]) -> Graph:
    """Returns the graph for images of another size (height, width), in pixels."""
    return dataclasses.replace(graph, size=size)


def with_pooling(graph: Graph, pool: str) -> Graph:
    """Returns the graph with average pools in place of its max pools (`pool="avg"`), or as it is (`pool="max"`).

    The average pools count only values inside the image, not the padding, so that borders keep their brightness.
    """
    kinds = {node.op_type for node in graph.nodes}
    if pool == "max" or "MaxPool" not in kinds:
        return graph
    nodes = []
    for node in graph.nodes:
        if node.op_type == "MaxPool":
            options = {k: v for k, v in attributes(node).items() if k not in ("storage_order", "dilations")}
            node = helper.make_node("AveragePool", list(node.input), [node.output[0]], name=node.name, **options)
        nodes.append(node)
    # AveragePool has a ceil_mode from opset 10 on.
    return dataclasses.replace(graph, nodes=tuple(nodes), opset=max(graph.opset, 10))


def numbered(graph: Graph) -> Graph:
    """Returns the graph with its tensors renamed t0, t1, ...; the outputs keep their order."""
    names = {name: f"t{i}" for i, name in enumerate((graph.image, *graph.weights, *graph.tensors()))}
    nodes = []
    for node in graph.nodes:
        renamed = remake(node, inputs=[names.get(i, i) for i in node.input])
        renamed.output[:] = [names.get(o, o) for o in node.output]
        renamed.name = renamed.output[0]
        nodes.append(renamed)
    return dataclasses.replace(
        graph,
        nodes=tuple(nodes),
        weights={names[name]: array for name, array in graph.weights.items()},
        image=names[graph.image],
        outputs=tuple(names[name] for name in graph.outputs),
        aliases={},
    )
