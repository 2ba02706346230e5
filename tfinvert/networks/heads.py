"""The class scores of a graph: which of its outputs ends with a classifier, and what the graph makes of the scores."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import onnx

from tfinvert.networks.onnx import Graph, cut, settle, shapes
from tfinvert.networks.onnx.operators import DENSE, POOLS, RESHAPING
from tfinvert.system.errors import InputError

SOFTMAX, SIGMOID = "softmax", "sigmoid"
NORMALIZING = {"Softmax": SOFTMAX, "LogSoftmax": SOFTMAX, "Sigmoid": SIGMOID}
AFFINE = frozenset("Add Sub Mul Div BatchNormalization".split())
# How surely an output is that of a classifier. Only one with the highest certainty is taken without being named.
NONE, PERHAPS, PROBABLY, SURELY = range(4)


@dataclasses.dataclass(frozen=True)
class Head:
    """The output of a network that holds its class scores.

    Attributes:
      output: its name.
      tensor: the name of the unnormalized scores, [batch, count] or [batch, count, height, width].
      activation: "softmax" where the classes exclude each other, "sigmoid" where each has a probability of its own.
      count: number of scores.
      others: names of the other outputs.
    """

    output: str
    tensor: str
    activation: str
    count: int
    others: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Candidate:
    """An output that may hold class scores.

    Attributes:
      output, tensor, activation: as in `Head`.
      shape: of the scores of one image, channels first; empty where it is not known.
      certainty: NONE to SURELY.
      end: what the output ends with, in words.
    """

    output: str
    tensor: str
    activation: str
    shape: tuple[int, ...]
    certainty: int
    end: str


def find_head(graph: Graph, outputs: Sequence[str] = ()) -> Head:
    """The class scores of a graph, before any softmax or sigmoid.

    Args:
      graph: a tidied, uncut graph.
      outputs: the names of its outputs as the file spells them; by default as the graph does.

    Raises:
      InputError: no output ends with a classifier, or several do.
    """
    producers = graph.producers()
    names = outputs or graph.outputs
    return choose_head([_candidate(graph, producers, name) for name in names])


def choose_head(candidates: Sequence[Candidate]) -> Head:
    """The head of the one candidate that is most surely a classifier; raises InputError where there is none, or several are."""
    most = max(candidate.certainty for candidate in candidates)
    # Scores and their probabilities are one candidate, and the latter say what the scores are.
    ordered = sorted(candidates, key=lambda one: bool(one.activation))
    best = {one.tensor: one for one in ordered if one.certainty == most}
    if most == NONE:
        (first, *more) = candidates
        ends = f"it ends {first.end}, not with a classifier"
        if more:
            ends = f"none of its outputs {', '.join(map(_described, candidates))} ends with a classifier"
        raise InputError(f"the network has no class scores: {ends}")
    if len(best) > 1:
        several = ", ".join(_described(one) for one in candidates if one in best.values())
        raise InputError(f"the network has several outputs that may be class scores: {several}; choose one with --output=NAME")
    (one,) = best.values()
    count = one.shape[0] if one.shape else 0
    # A single score is that of two classes, whatever is made of it.
    activation = SIGMOID if count == 1 else one.activation or SOFTMAX
    others = tuple(each.output for each in candidates if each.output != one.output)
    return Head(one.output, one.tensor, activation, count, others)


def _described(candidate: Candidate) -> str:
    return f"{candidate.output} ({'x'.join(map(str, candidate.shape)) or 'of unknown shape'})"


def _candidate(graph: Graph, producers: Mapping[str, onnx.NodeProto], name: str) -> Candidate:
    scores = tensor = graph.resolve(name)
    activation = ""
    node = producers.get(tensor)
    while node is not None and (node.op_type in RESHAPING or (not activation and _ends_scores(node, producers))):
        tensor = node.input[0]
        if node.op_type not in RESHAPING:
            scores = tensor
            activation = NORMALIZING.get(node.op_type, "")
        node = producers.get(tensor)
    if node is None:
        return Candidate(name, scores, activation, (), NONE, f"with {name!r}, which is only its image")
    shape = _shape(graph, scores)
    certainty = _certainty(node, producers, activation, shape)
    return Candidate(name, scores, activation, shape, certainty, f"with {tensor!r} ({node.op_type})")


def _ends_scores(node: onnx.NodeProto, producers: Mapping[str, onnx.NodeProto]) -> bool:
    """Whether a node makes something of scores that are behind it: probabilities, their logarithms, or the index of a class."""
    before = producers.get(node.input[0])
    logarithm = node.op_type == "Log" and before is not None and before.op_type == "Softmax"
    return node.op_type in NORMALIZING or node.op_type == "ArgMax" or logarithm


def _shape(graph: Graph, tensor: str) -> tuple[int, ...]:
    """The shape of one image's values; empty where the graph does not fit its own size, which is answered elsewhere."""
    try:
        return shapes(settle(cut(graph, [tensor])))[tensor][1:]
    except InputError:
        return ()


def _certainty(node: onnx.NodeProto, producers: Mapping[str, onnx.NodeProto], activation: str, shape: tuple[int, ...]) -> int:
    """How surely scores that a node makes are class scores."""
    one_place = all(side == 1 for side in shape[1:])
    if one_place and activation == SOFTMAX:
        return SURELY
    if one_place and (activation or _is_dense(node, producers)):
        return PROBABLY
    is_pool = node.op_type in POOLS - {"MaxPool"}
    return PERHAPS if is_pool or (one_place and shape and node.op_type == "Conv") else NONE


def _is_dense(node: onnx.NodeProto, producers: Mapping[str, onnx.NodeProto], depth: int = 3) -> bool:
    """Whether a node is a dense layer, or shifts and scales the values of one."""
    if node.op_type not in AFFINE or not depth:
        return node.op_type in DENSE
    return any(_is_dense(producers[name], producers, depth - 1) for name in node.input if name in producers)
