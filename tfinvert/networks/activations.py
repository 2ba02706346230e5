"""The activations of a network as a flat graph: which are piecewise linear, where each of them ends, and what the others are.

Converters and Keras write many activations as several operations: PReLU as max(x, 0) - a max(-x, 0), hard tanh as two limits,
SiLU as x sigmoid(x). So values are followed that are computed from one value alone, place by place: where such branches join
again, the join is the end of one activation.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

# Operations of one value and constants that leave a function of a place as linear as it was.
LINEAR = frozenset("Identity IdentityN Neg Cast BiasAdd Add AddV2 AddN Sub Mul RealDiv FusedBatchNormV3 StopGradient".split())
KINKED = frozenset("Relu Relu6 LeakyRelu Maximum Minimum ClipByValue Abs".split())
SMOOTH = frozenset("Sigmoid Tanh Elu Selu Softplus Softsign Erf Erfc Sin".split())
CURVED = frozenset("Exp Expm1 Log Log1p Square Sqrt Rsqrt Pow SquaredDifference Reciprocal".split())  # by themselves none
STEPS = frozenset("Greater GreaterEqual Less LessEqual Sign Floor LogicalNot LogicalAnd LogicalOr ZerosLike".split())
CHOICES = frozenset(("Select", "SelectV2"))
SUMS = frozenset("Add AddV2 AddN Sub".split())
NAMES = {"Elu": "ELU", "Selu": "SELU"}
# What several branches that join are called, by an operation in one of them.
JOINED = {"Softplus": "Mish", "Sigmoid": "SiLU", "Erf": "GELU", "Erfc": "GELU", "Tanh": "GELU"}
JOINED |= {"Expm1": "CELU", "Relu6": "HardSwish", "Minimum": "HardSwish", "ClipByValue": "HardSwish", "Relu": "squared ReLU"}


@dataclasses.dataclass(frozen=True)
class Value:
    """What is known of a tensor that depends on the image.

    Attributes:
      root: the tensor that it is computed from, place by place.
      kinks: the nodes that end piecewise linear activations on the way from there.
      curves: the nodes of other operations that are not linear, likewise.
      is_step: whether it is piecewise constant.
    """

    root: str
    kinks: frozenset[str] = frozenset()
    curves: frozenset[str] = frozenset()
    is_step: bool = False


@dataclasses.dataclass(frozen=True)
class Activations:
    """The activations of a graph.

    Attributes:
      piecewise: names of the nodes in which those that are piecewise linear end.
      smooth: node -> name of each of the others, such as SiLU.
    """

    piecewise: tuple[str, ...]
    smooth: dict[str, str]


def find_activations(graph: Any, image: str, outputs: Iterable[str]) -> Activations:
    """The activations between the image and some tensors.

    Args:
      graph: a GraphDef without functions.
      image: name of the node that holds the image.
      outputs: names of tensors, such as `Relu:0`.
    """
    nodes = {node.name: node for node in graph.node}
    values: dict[str, Value | None] = {image: Value(image)}
    piecewise: dict[str, None] = {}
    smooth: dict[str, str] = {}
    for node in _in_order(nodes, [tensor.partition(":")[0] for tensor in outputs]):
        if node.name in values:
            continue
        reads = [_read(name, values) for name in node.input if not name.startswith("^")]
        values[node.name] = _value(node, nodes, [value for value in reads if value is not None], piecewise, smooth)
    return Activations(tuple(piecewise), smooth)


def _read(tensor: str, values: Mapping[str, Value | None]) -> Value | None:
    """What is known of a tensor; each output of a node such as Split is a root of its own."""
    value = values[_producer(tensor)]
    return dataclasses.replace(value, root=tensor) if value is not None and value.root == _producer(tensor) else value


def _value(
    node: Any, nodes: Mapping[str, Any], reads: list[Value], piecewise: dict[str, None], smooth: dict[str, str]
) -> Value | None:
    """What is known of a node's value; it is noted where an activation ends there."""
    if not reads:
        return None  # a constant
    root, operation = reads[0].root, node.op
    kinks = frozenset().union(*(value.kinks for value in reads))
    curves = frozenset().union(*(value.curves for value in reads))
    alone = Value(node.name)
    if any(value.root != root for value in reads):
        if operation in ("Maximum", "Minimum"):  # the larger of two convolutions
            piecewise[node.name] = None
        return alone
    if operation in STEPS:
        return Value(root, is_step=True)
    if operation in KINKED:
        if len(reads) > 1:
            _forget(kinks, piecewise)
            kinks = frozenset()
        piecewise[node.name] = None
        return Value(root, kinks | {node.name}, curves)
    if operation in SMOOTH | CURVED:
        if operation in SMOOTH:
            smooth[node.name] = NAMES.get(operation, operation)
        return Value(root, kinks, curves | {node.name})
    branches = [value for value in reads if not value.is_step]
    if operation not in LINEAR | CHOICES:
        return alone
    if len(reads) == 1:
        return reads[0]
    if operation in CHOICES or (operation == "Mul" and len(branches) == 1) or (operation in SUMS and kinks and not curves):
        return _end(node.name, root, kinks, curves, nodes, piecewise, smooth)
    if operation in SUMS:
        return Value(root, kinks, curves) if not curves else _end(node.name, root, kinks, curves, nodes, piecewise, smooth)
    # A product of a value and a function of it, or its square.
    return _end(node.name, root, kinks, curves | kinks | {node.name}, nodes, piecewise, smooth)


def _end(
    name: str,
    root: str,
    kinks: frozenset[str],
    curves: frozenset[str],
    nodes: Mapping[str, Any],
    piecewise: dict[str, None],
    smooth: dict[str, str],
) -> Value:
    """The value in which the branches of one activation join."""
    _forget(kinks, piecewise)
    if not curves:
        piecewise[name] = None
        return Value(root, frozenset((name,)))
    operations = {nodes[curve].op for curve in curves}
    labels = {smooth.pop(curve) for curve in curves if curve in smooth}
    known = next((label for operation, label in JOINED.items() if operation in operations), "")
    if known or labels or kinks:
        smooth[name] = known or "+".join(sorted(labels)) or "+".join(sorted(operations & CURVED)) or nodes[name].op
    return Value(root, frozenset(), frozenset((name,)))


def _forget(kinks: Iterable[str], piecewise: dict[str, None]) -> None:
    for kink in kinks:
        piecewise.pop(kink, None)


def _producer(tensor: str) -> str:
    return tensor.removeprefix("^").partition(":")[0]


def _in_order(nodes: Mapping[str, Any], names: list[str]) -> Iterator[Any]:
    """The nodes that these need, each after those that it reads."""
    done: set[str] = set()
    waiting = list(reversed(names))
    while waiting:
        name = waiting[-1]
        missing = [one for one in map(_producer, nodes[name].input) if one not in done]
        if name in done:
            waiting.pop()
        elif missing:
            waiting += missing
        else:
            done.add(name)
            yield nodes[waiting.pop()]
