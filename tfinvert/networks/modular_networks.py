"""The layer names of networks of modules, whose branches are added or concatenated, found in the structure of the graph."""

from __future__ import annotations

from typing import NamedTuple

import onnx

from tfinvert.networks.onnx import attributes
from tfinvert.networks.onnx.operators import DENSE
from tfinvert.networks.structure import Structure

WINDOWS = frozenset(("MaxPool", "AveragePool"))
RESIZING = frozenset("Resize Upsample ConvTranspose DepthToSpace".split())


class Module(NamedTuple):
    """Branches that are concatenated.

    Attributes:
      node: the concatenation.
      kind: "mixed", or "denseblock" where each branch is made from the one before it.
      inside: the tensors of its branches, as `Structure.above` gives them.
    """

    node: onnx.NodeProto
    kind: str
    inside: int

    @property
    def end(self) -> str:
        """The tensor that the branches are concatenated to."""
        return self.node.output[0]


def name_modular_network(structure: Structure, modules: list[Module]) -> dict[str, str]:
    """Maps layer names to tensors in a network of modules, whose branches are added or concatenated.

    The modules are residual blocks (He et al. 2015, arXiv 1512.03385), inverted ones among them (Sandler et al. 2018,
    arXiv 1801.04381), transformer blocks (Dosovitskiy et al. 2020, arXiv 2010.11929), inception modules and the like
    (Szegedy et al. 2014, arXiv 1409.4842), and dense blocks (Huang et al. 2016, arXiv 1608.06993).
    """
    names = _name_stem_and_head(structure, modules)
    if any(_is_attention(node, structure) for node in structure.graph.nodes):
        names |= _name_transformer_blocks(structure)
    else:
        names |= _name_residual_blocks(structure)
    counts = {"mixed": -1, "denseblock": 0}
    for module in modules:
        counts[module.kind] += 1
        # The ReLU behind a dense block belongs to what follows.
        names[f"{module.kind}{counts[module.kind]}"] = module.end if module.kind != "mixed" else structure.activated(module.end)
    return names


def _name_stem_and_head(structure: Structure, modules: list[Module]) -> dict[str, str]:
    """Names what is outside of modules and residual blocks: convolutions and pools, and the classifier."""
    names: dict[str, str] = {}
    order, additions = structure.order, structure.residual_additions()
    ends = sorted(order[node.output[0]] for node in (*additions, *(module.node for module in modules)))
    inside = 0
    for part in (*map(structure.inside, additions), *(module.inside for module in modules)):
        inside |= part
    last = structure.tensors[ends[-1]]
    blocks = [order[module.end] for module in modules if module.kind == "denseblock"]
    convolution = pool = transition = 0
    for node in structure.graph.nodes:
        output = node.output[0]
        is_between = not inside >> order[output] & 1 and structure.is_above(output, last)
        is_stem = is_between and order[output] < ends[0]
        if node.op_type == "Conv" and (not convolution or (is_stem and not additions)):
            convolution += 1
            names[f"conv{convolution}"] = structure.activated(output)
        elif node.op_type in WINDOWS and is_between and blocks and blocks[0] < order[output]:
            transition += 1
            names[f"transition{transition}"] = output
        elif node.op_type in WINDOWS and ((is_stem and not pool) or (is_between and not additions)):
            pool += 1
            names[f"pool{pool}"] = output
        elif structure.is_pool(node) and structure.is_above(last, output):
            names["avgpool"] = output
        elif node.op_type in DENSE and structure.is_above(last, output):
            names["fc"] = structure.with_bias(output)
    return names


def _name_residual_blocks(structure: Structure) -> dict[str, str]:
    """Names res{k}, the k-th sum after its activation function; middle{k-1}, the first activation in it; and block{k}.

    The blocks are counted apart where some end without an addition, in a linear bottleneck.
    """
    names: dict[str, str] = {}
    additions = structure.residual_additions()
    activations, tensors = structure.activations(), structure.tensors
    for block, addition in enumerate(additions, start=1):
        inside = structure.inside(addition) & activations
        if inside:
            names[f"middle{block - 1}"] = tensors[(inside & -inside).bit_length() - 1]
        names[f"res{block}"] = structure.activated(addition.output[0])
    bottlenecks = _linear_bottlenecks(structure, additions)
    if bottlenecks and additions:
        ends = {addition.output[0]: structure.activated(addition.output[0]) for addition in additions} | bottlenecks
        for block, end in enumerate(sorted(ends, key=structure.order.__getitem__), start=1):
            names[f"block{block}"] = ends[end]
    return names


def _linear_bottlenecks(structure: Structure, additions: list[onnx.NodeProto]) -> dict[str, str]:
    """The convolutions of 1x1 without an activation function, at whose output a block ends that has no addition.

    Returns:
      Output of the convolution -> the value after its batch norm.
    """
    added = {name for addition in additions for name in addition.input}
    found = {}
    for node in structure.graph.nodes:
        if node.op_type != "Conv" or attributes(node).get("group", 1) != 1 or structure.kernel(node) != [1, 1]:
            continue
        value = structure.activated(node.output[0])
        is_linear = structure.producers[value].op_type in ("Conv", "BatchNormalization")
        readers = {reader.op_type for reader in structure.consumers.get(value, ())}
        if not is_linear or not readers or not readers <= {"Conv", "Add"} or "Conv" not in readers:
            continue
        # A shortcut is added at once; a block's end is read by the next block, which may add it to its own end.
        alone = value in added and not any(
            structure.is_above(value, name)
            for addition in additions
            for name in addition.input
            if value in addition.input and name != value
        )
        if not alone:
            found[node.output[0]] = value
    return found


def _is_attention(node: onnx.NodeProto, structure: Structure) -> bool:
    """Tells whether a node multiplies by a softmax that is computed from tokens, or is attention as a whole."""
    if node.op_type in ("Attention", "MultiHeadAttention"):
        return True
    if node.op_type not in ("MatMul", "Einsum") or len(structure.joined(node)) < 2:
        return False
    weights: onnx.NodeProto | None = structure.producers.get(node.input[0])
    while weights is not None and weights.op_type in ("Reshape", "Transpose", "Cast", "Where", "Mul"):
        weights = structure.producers.get(weights.input[1 if weights.op_type == "Where" else 0])
    return weights is not None and weights.op_type == "Softmax"


def _name_transformer_blocks(structure: Structure) -> dict[str, str]:
    """Names block{k}, the tokens after the k-th pair of attention and perceptron, counted from 0, and patch_embed."""
    names: dict[str, str] = {}
    attention = sum(1 << structure.order[n.output[0]] for n in structure.graph.nodes if _is_attention(n, structure))
    ends: list[str] = []
    is_open = False
    for addition in structure.residual_additions():
        output = addition.output[0]
        if structure.inside(addition) & attention or not is_open:
            ends.append(output)
            is_open = bool(structure.inside(addition) & attention)
        else:  # the perceptron of the block whose attention came before
            ends[-1] = output
            is_open = False
    for node in structure.graph.nodes:
        if node.op_type == "Conv":
            if structure.kernel(node) == list(attributes(node).get("strides", ())) != [1, 1]:
                names["patch_embed"] = structure.activated(node.output[0])
            break
    return names | {f"block{block}": structure.activated(output) for block, output in enumerate(ends)}


def find_modules(structure: Structure) -> list[Module]:
    """Lists the concatenations of branches with convolutions, in order.

    A module inside another one, and the layers of a dense block but for the last, are left out.
    """
    resizing, convolutions = structure.outputs_of(RESIZING), structure.outputs_of(frozenset(("Conv",)))
    modules: list[Module] = []
    for node in structure.concatenations():
        inside, values = structure.inside(node), structure.joined(node)
        if not inside & convolutions:  # such as the colors of an image, each prepared by itself
            continue
        is_dense = False
        if not inside & resizing:  # which a decoder has, whose steps are no parts of each other
            first = min(values, key=structure.order.__getitem__)
            is_chain = all(structure.is_above(first, value) for value in values)
            parts = [m for m in modules if inside >> structure.order[m.end] & 1 or (is_chain and m.end == first)]
            is_dense = is_chain and bool(parts)
            for part in parts:
                modules.remove(part)
                inside |= part.inside
        modules.append(Module(node, "denseblock" if is_dense else "mixed", inside))
    return modules
