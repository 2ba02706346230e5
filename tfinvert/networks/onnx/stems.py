"""Rewriting of the convolutions that read the image, whose three channels libraries compute badly.

Each becomes convolutions over more channels: the same products and sums, but for ones and zeros.
"""

import dataclasses
import math
from collections.abc import Iterable

import numpy as np
import onnx
from onnx import helper

from tfinvert.networks.onnx.graph import Graph, Rewritten, attributes, remake
from tfinvert.networks.onnx.measures import Shapes, shapes


@dataclasses.dataclass(frozen=True)
class Stem:
    """A convolution that reads the image, with the same stride along both axes.

    Attributes:
      node: the convolution.
      kernel: [out, in, height, width].
      stride: in pixels.
      lengths: (height, width) of the image.
      outs: (height, width) of the output.
      begin: rows and columns of padding before the image.
    """

    node: onnx.NodeProto
    kernel: np.ndarray
    stride: int
    lengths: tuple[int, ...]
    outs: tuple[int, ...]
    begin: tuple[int, ...]

    def end(self, sides: Iterable[int]) -> list[int]:
        """Computes the padding behind the image for windows with other sides that begin where those of the node do.

        It is negative where the windows leave out pixels at the end.
        """
        axes = zip(self.lengths, self.outs, self.begin, sides, strict=True)
        return [(out - 1) * self.stride + side - length - before for length, out, before, side in axes]


def rewrite_stems(graph: Graph) -> Graph:
    """Returns the graph with the convolutions that read the image rewritten, where one of the two ways applies.

    Raises:
      InputError: the network does not fit images of the graph's size.
    """
    sizes = shapes(graph)
    weights = dict(graph.weights)
    nodes = []
    for node in graph.nodes:
        stem = _stem(graph, node, sizes)
        made = (_space_to_depth(graph, stem) or _by_columns(graph, stem)) if stem else None
        nodes.extend(made[0] if made else [node])
        weights.update(made[1] if made else {})
    return dataclasses.replace(graph, nodes=tuple(nodes), weights=weights)


def _stem(graph: Graph, node: onnx.NodeProto, sizes: Shapes) -> Stem | None:
    """Describes a node as a stem; None for a node that is none, and for unequal strides, groups and dilations."""
    options = attributes(node)
    strides = options.get("strides", [1, 1])
    known = node.op_type == "Conv" and node.input[0] == graph.image and node.input[1] in graph.weights
    if not known or strides[0] != strides[1] or options.get("group", 1) != 1 or max(options.get("dilations", [1])) > 1:
        return None
    kernel, lengths, outs = graph.weights[node.input[1]], sizes[graph.image][2:], sizes[node.output[0]][2:]
    totals = [max((o - 1) * strides[0] + k - n, 0) for o, k, n in zip(outs, kernel.shape[2:], lengths, strict=True)]
    begin = {
        b"SAME_UPPER": [total // 2 for total in totals],
        b"SAME_LOWER": [total - total // 2 for total in totals],
        b"VALID": [0, 0],
    }.get(options.get("auto_pad", b"NOTSET"), options.get("pads", [0] * 4)[:2])
    return Stem(node, kernel, strides[0], lengths, outs, tuple(begin))


def _space_to_depth(graph: Graph, stem: Stem) -> Rewritten | None:
    """Writes a stem of stride s as a convolution of stride 1 over blocks of s x s pixels, with its weights.

    A kernel of k x k over 3 channels becomes one of ceil(k / s) x ceil(k / s) over 3 s^2, filled up with zeros. Its
    gradient to the image costs less than half, because libraries do badly at 3 channels and at strides. The padding is
    done on the image, where it costs least.

    Returns:
      The nodes and the new weights, or None for a stride of 1, for kernels smaller than the stride, and for sizes that
      leave pixels at the end which no window reaches and no block has room for.
    """
    kernel, step = stem.kernel, stem.stride
    if step < 2 or min(kernel.shape[2:]) < step:
        return None
    taps = [math.ceil(side / step) for side in kernel.shape[2:]]
    end = stem.end([n * step for n in taps])
    if min(end) < 0:
        return None
    name = stem.node.output[0]
    filled = np.pad(kernel, ((0, 0), (0, 0), *((0, n * step - k) for n, k in zip(taps, kernel.shape[2:], strict=True))))
    blocks = filled.reshape(*kernel.shape[:2], taps[0], step, taps[1], step).transpose(0, 3, 5, 1, 2, 4)
    weights = {f"{name}/blocks": np.ascontiguousarray(blocks.reshape(kernel.shape[0], -1, *taps))}
    nodes, value = [], graph.image
    if any((*stem.begin, *end)):
        pads = [0, 0, *stem.begin, 0, 0, *end]
        padded = f"{name}/padded"
        if graph.opset >= 11:
            weights[f"{name}/pads"] = np.array(pads, np.int64)
            nodes.append(helper.make_node("Pad", [value, f"{name}/pads"], [padded], name=padded))
        else:
            nodes.append(helper.make_node("Pad", [value], [padded], name=padded, pads=pads))
        value = padded
    depth = f"{name}/depth"
    nodes.append(helper.make_node("SpaceToDepth", [value], [depth], name=depth, blocksize=step))
    inputs = [depth, f"{name}/blocks", *stem.node.input[2:]]
    nodes.append(remake(stem.node, inputs=inputs, kernel_shape=taps, strides=[1, 1], pads=None, auto_pad="VALID"))
    return nodes, weights


def _by_columns(graph: Graph, stem: Stem) -> Rewritten | None:
    """Writes a stem of stride 1 as two convolutions, with their weights.

    The first puts the w pixels of a row of the window beside each other, as 3 w channels of one pixel; the second has
    windows of one column. Libraries fill 3 channels up to 16, so the gradient to the image takes a w-th of the
    arithmetic.

    Returns:
      The nodes and the new weights, or None for other strides and for windows that are one pixel wide.
    """
    outputs, channels, height, width = stem.kernel.shape
    if stem.stride > 1 or width == 1:
        return None
    name = stem.node.output[0]
    beside = f"{name}/beside"
    one_hot = np.eye(width * channels, dtype=np.float32).reshape(width * channels, 1, width, channels)
    weights = {
        f"{name}/row": np.ascontiguousarray(one_hot.transpose(0, 3, 1, 2)),
        f"{name}/columns": stem.kernel.transpose(0, 3, 1, 2).reshape(outputs, width * channels, height, 1),
    }
    (top, left), (bottom, right) = stem.begin, stem.end((height, width))
    row = helper.make_node(
        "Conv", [graph.image, f"{name}/row"], [beside], name=beside, kernel_shape=[1, width], pads=[0, left, 0, right]
    )
    inputs = [beside, f"{name}/columns", *stem.node.input[2:]]
    columns = remake(stem.node, inputs=inputs, kernel_shape=[height, 1], pads=[top, 0, bottom, 0], auto_pad=None)
    return [row, columns], weights
