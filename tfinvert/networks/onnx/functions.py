"""The functions that an .onnx file defines for itself: their nodes take the place of the nodes that call them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import onnx
import onnx.inliner

from tfinvert.networks.onnx.checks import MOST_NODES
from tfinvert.system.errors import InputError

Key = tuple[str, str]  # domain and name


def inlined(model: onnx.ModelProto, name: str) -> onnx.ModelProto:
    """The model without functions of its own.

    Args:
      model: as it is in its file.
      name: of the file, for the error.

    Raises:
      InputError: a function calls itself, there are too many nodes in all, or they cannot be put in.
    """
    if not model.functions:
        return model
    bodies = {(function.domain, function.name): function.node for function in model.functions}
    try:
        count = _count(model.graph.node, bodies, {}, ())
        if count > MOST_NODES:
            raise InputError(f"{name} has {count} nodes, those of its functions counted too; expected at most {MOST_NODES}")
        return onnx.inliner.inline_local_functions(model)
    except InputError:
        raise
    except Exception as error:  # of a function that calls itself, or that is not whole
        reason = " ".join(str(error).split())[:100] or type(error).__name__
        raise InputError(f"{name}: the functions in it cannot be used ({reason})") from None


def _count(
    nodes: Iterable[onnx.NodeProto], bodies: dict[Key, Iterable[onnx.NodeProto]], known: dict[Key, int], calls: tuple[Key, ...]
) -> int:
    """The number of nodes when each call is replaced, without replacing any."""
    total = 0
    for node in _with_subgraphs(nodes):
        key = (node.domain, node.op_type)
        if key in calls:
            raise ValueError(f"{node.op_type} calls itself")
        if key in bodies and key not in known:
            known[key] = _count(bodies[key], bodies, known, (*calls, key))
        total += known.get(key, 1)
    return total


def _with_subgraphs(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    for node in nodes:
        yield node
        for attribute in node.attribute:
            for graph in (attribute.g, *attribute.graphs):
                yield from _with_subgraphs(graph.node)
