"""The form of a graph that converts to the fastest Keras model: batch norms folded, paddings and pools rewritten.

Every rewriting gives the same values, to rounding.
"""

import dataclasses
import math

import numpy as np
import onnx
from onnx import helper

from tfinvert.networks.onnx.graph import Graph, Rewritten, attributes, remake
from tfinvert.networks.onnx.measures import Shapes, shapes
from tfinvert.networks.onnx.stems import rewrite_stems

LARGEST_POOL = 3  # side of the windows up to which an average pool gains from being a convolution


def fold(graph: Graph, *, stems: bool = True, pools: bool = False) -> Graph:
    """Returns a graph of the same outputs, to rounding, in the form that converts to the fastest Keras model.

    - A batch norm moves into the convolution before it, where nothing else reads the value between them.
    - A convolution that reads the image becomes one over more channels than three (`stems.rewrite_stems`).
    - A padding becomes SAME or VALID where that means the same, which saves a copy of the activations each.
    - A matrix is stored in the order in which it is multiplied.
    - GELU is spelled out.

    Args:
      graph: a tidied graph, cut to what is needed.
      stems: whether convolutions that read the image are rewritten.
      pools: whether small average pools become convolutions, whose gradient costs TensorFlow less in float32 and much
        more in bfloat16.

    Raises:
      InputError: the network does not fit images of the graph's size.
    """
    graph = _fold_batch_norms(graph)
    if stems:
        graph = rewrite_stems(graph)
    sizes = shapes(graph)
    weights = dict(graph.weights)
    nodes = []
    for node in graph.nodes:
        made: list[onnx.NodeProto] = [node]
        new_weights: dict[str, np.ndarray] = {}
        if node.op_type in ("Conv", "MaxPool", "AveragePool"):
            node = _simplify_padding(node, sizes)
            made = [node]
            if pools and _is_small_average(node):
                made, new_weights = _convolve_average(node, sizes)
            elif node.op_type == "AveragePool" and any(attributes(node).get("pads", ())) and not _counts_padding(node):
                made, new_weights = _count_padding(node, sizes)
        elif node.op_type == "Gemm" and attributes(node).get("transB", 0) and node.input[1] in weights:
            made, new_weights = _transpose_matrix(node, weights[node.input[1]])
        elif node.op_type == "Gelu" and attributes(node).get("approximate", b"none") == b"none":
            made, new_weights = _spell_out_gelu(node)
        nodes.extend(made)
        weights.update(new_weights)
    used = {name for node in nodes for name in node.input}
    weights = {name: array for name, array in weights.items() if name in used}
    return dataclasses.replace(graph, nodes=tuple(nodes), weights=weights)


def _fold_batch_norms(graph: Graph) -> Graph:
    """Moves batch norms into the convolutions before them: w' = w g / sqrt(v + e), b' = (b - m) g / sqrt(v + e) + beta.

    Here w and b are the convolution's kernel and bias; g, beta, m, v and e are the norm's scale, offset, mean, variance
    and epsilon (Ioffe & Szegedy 2015, arXiv 1502.03167, algorithm 2).
    """
    readers = graph.consumers()
    producers = graph.producers()
    weights = dict(graph.weights)
    replaced: dict[int, onnx.NodeProto | None] = {}
    for node in graph.nodes:
        if node.op_type != "BatchNormalization":
            continue
        before = producers.get(node.input[0])
        alone = len(readers[node.input[0]]) == 1 and node.input[0] not in graph.outputs
        if before is None or before.op_type != "Conv" or not alone or before.input[1] not in weights:
            continue
        scale, offset, mean, variance = (weights[name].astype(np.float64) for name in node.input[1:5])
        factor = scale / np.sqrt(variance + attributes(node).get("epsilon", 1e-5))
        kernel = weights[before.input[1]]
        bias = weights[before.input[2]].astype(np.float64) if len(before.input) > 2 else 0.0
        name = node.output[0]
        weights[f"{name}/kernel"] = (kernel * factor[:, None, None, None]).astype(np.float32)
        weights[f"{name}/bias"] = ((bias - mean) * factor + offset).astype(np.float32)
        inputs = [before.input[0], f"{name}/kernel", f"{name}/bias"]
        replaced[id(before)] = None
        replaced[id(node)] = helper.make_node("Conv", inputs, [name], name=node.name, **attributes(before))
    nodes = [replaced.get(id(node), node) for node in graph.nodes]
    return dataclasses.replace(graph, nodes=tuple(n for n in nodes if n is not None), weights=weights)


def _simplify_padding(node: onnx.NodeProto, sizes: Shapes) -> onnx.NodeProto:
    """Writes a node's padding as VALID or SAME_UPPER where that gives the same windows, else as explicit numbers."""
    options = attributes(node)
    kernel = options.get("kernel_shape") or sizes[node.input[1]][2:]
    strides = options.get("strides", [1, 1])
    dilations = options.get("dilations", [1, 1])
    pads = options.get("pads", [0, 0, 0, 0])
    lengths, outs = sizes[node.input[0]][2:], sizes[node.output[0]][2:]
    if options.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"") or _counts_padding(node):
        return node
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    # Rounding up (ceil_mode) adds a padding at the end that the attributes do not show, but the output's length does.
    total = [max((o - 1) * s + r - n, 0) for o, s, r, n in zip(outs, strides, reach, lengths, strict=True)]
    same = all(
        o == math.ceil(n / s) and before == t // 2
        for o, n, s, before, t in zip(outs, lengths, strides, pads[:2], total, strict=True)
    )
    if not any(total) and not any(pads[:2]):
        # Nothing is padded; no window reaches what `pads` or ceil_mode would add at the end.
        return remake(node, kernel_shape=list(kernel), pads=None, ceil_mode=None, auto_pad="VALID")
    if same:
        return remake(node, kernel_shape=list(kernel), pads=None, ceil_mode=None, auto_pad="SAME_UPPER")
    ends = [max(t - before, 0) for t, before in zip(total, pads[:2], strict=True)]
    return remake(node, kernel_shape=list(kernel), pads=[*pads[:2], *ends], ceil_mode=None)


def _counts_padding(node: onnx.NodeProto) -> bool:
    """Whether an average pool counts the padding as values."""
    return bool(attributes(node).get("count_include_pad", 0))


def _count_padding(node: onnx.NodeProto, sizes: Shapes) -> Rewritten:
    """Writes an average over the values inside the image as one over all values times a map of corrections.

    A window of k values, n of them inside the image, is corrected by k / n. onnx2tf would correct the borders with
    slices and concatenations, which cost more than the pool.
    """
    options = attributes(node)
    kernel, strides, pads = options["kernel_shape"], options.get("strides", [1, 1]), options["pads"]
    counts = []
    for axis in (0, 1):
        length, out = sizes[node.input[0]][2 + axis], sizes[node.output[0]][2 + axis]
        starts = np.arange(out) * strides[axis] - pads[axis]
        counts.append(np.minimum(starts + kernel[axis], length) - np.maximum(starts, 0))
    corrections = (kernel[0] * kernel[1] / np.outer(*counts)).astype(np.float32)[None, None]
    name = node.output[0]
    pool = helper.make_node(
        "AveragePool", list(node.input), [f"{name}/counted"], name=f"{name}/counted", **{**options, "count_include_pad": 1}
    )
    correct = helper.make_node("Mul", [f"{name}/counted", f"{name}/scale"], list(node.output), name=node.name)
    return [pool, correct], {f"{name}/scale": corrections}


def _is_small_average(node: onnx.NodeProto) -> bool:
    """Whether a node is an average pool without padding over windows so small that a convolution is faster."""
    options = attributes(node)
    small = node.op_type == "AveragePool" and max(options["kernel_shape"]) <= LARGEST_POOL
    return small and options.get("auto_pad") == b"VALID"


def _convolve_average(node: onnx.NodeProto, sizes: Shapes) -> Rewritten:
    """Writes an average pool as a convolution of each channel by itself."""
    options, channels = attributes(node), sizes[node.input[0]][1]
    sides = options["kernel_shape"]
    name = node.output[0]
    convolution = helper.make_node(
        "Conv",
        [node.input[0], f"{name}/mean"],
        [name],
        name=node.name,
        kernel_shape=sides,
        strides=options.get("strides", [1, 1]),
        auto_pad="VALID",
        group=channels,
    )
    return [convolution], {f"{name}/mean": np.full((channels, 1, *sides), 1 / math.prod(sides), np.float32)}


def _transpose_matrix(node: onnx.NodeProto, matrix: np.ndarray) -> Rewritten:
    """Writes a `Gemm` that transposes its matrix as one that has the transposed matrix."""
    name = f"{node.input[1]}/transposed"
    made = remake(node, inputs=[node.input[0], name, *node.input[2:]], transB=None)
    return [made], {name: np.ascontiguousarray(matrix.T)}


def _spell_out_gelu(node: onnx.NodeProto) -> Rewritten:
    """Writes GELU as x (1/2 + erf(x / sqrt(2)) / 2). TensorFlow's own computes erfc, which takes 13 times as long as erf."""
    (value,), (output,) = node.input, node.output
    root, half = f"{output}/root", f"{output}/half"
    parts = [
        ("Mul", [value, root], f"{output}/scaled"),
        ("Erf", [f"{output}/scaled"], f"{output}/erf"),
        ("Mul", [f"{output}/erf", half], f"{output}/halved"),
        ("Add", [f"{output}/halved", half], f"{output}/gate"),
        ("Mul", [value, f"{output}/gate"], output),
    ]
    made = [helper.make_node(kind, inputs, [name], name=name) for kind, inputs, name in parts]
    return made, {root: np.float32(math.sqrt(0.5)).reshape(()), half: np.float32(0.5).reshape(())}
