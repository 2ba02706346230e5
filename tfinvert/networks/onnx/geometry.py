"""How the tensors of a graph lie on the image: stride and receptive field, followed from node to node.

A tensor has its places along two axes (height and width), or along one (the tokens of a transformer), wherever a transpose or
reshape moves them. What is broadcast over the places, such as the gates of squeeze and excitation, does not change them, though
strictly each gate sees the whole image; nor do the statistics of a normalization.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping

import onnx

from tfinvert.networks.onnx.graph import Graph, attributes
from tfinvert.networks.onnx.measures import Shapes, shapes
from tfinvert.networks.onnx.places import Geometry, Place, reshaped, together

MOST_TOKENS = 16  # that a transformer has beside those of the image: its class, registers
NEIGHBORS = {b"linear": (0, 1), b"cubic": (1, 2)}  # values before and after, that a resized value is made from


def geometry(graph: Graph) -> dict[str, Geometry]:
    """Maps the image and every computed tensor of a tidied graph to its `Geometry`.

    A window of k values with dilation d over values of stride s and receptive field r sees r + (k - 1) d s pixels, and
    a step of t values makes the stride s t (Araujo, Norris & Sim 2019, "Computing Receptive Fields of Convolutional
    Neural Networks", doi 10.23915/distill.00021). Where branches meet, all that they see together counts.

    Raises:
      InputError: as `shapes` does.
    """
    sizes = shapes(graph)
    following = _Following(graph, sizes)
    places = {graph.image: Place((2, 3), graph.size, (1, 1), ((0, 0), (0, 0)))}
    for node in graph.nodes:
        place = following.place(node, places)
        if place is not None:
            places.update({output: place for output in node.output if output})
    return {
        name: places[name].geometry(sizes[name]) if name in places else Geometry(sizes[name], None, None)
        for name in (graph.image, *graph.tensors())
        if name in sizes
    }


class _Following:
    """The place of a node's outputs, from those of its inputs. None where they have none, as after a global pool."""

    def __init__(self, graph: Graph, sizes: Shapes):
        self.graph, self.sizes = graph, sizes

    def place(self, node: onnx.NodeProto, places: Mapping[str, Place]) -> Place | None:
        source = places.get(node.input[0]) if node.input else None
        rule = RULES.get(node.op_type)
        if rule is not None:
            return rule(self, node, source) if source is not None else None
        if node.op_type in ("MatMul", "Gemm", "Einsum"):
            return self.product(node, places)
        if node.op_type == "Concat":
            return self.concatenated(node, places)
        return self.joined(node, places)

    def joined(self, node: onnx.NodeProto, places: Mapping[str, Place]) -> Place | None:
        """The place of values that are made one by one: that of the inputs that are not broadcast over the places."""
        shape = self.sizes[node.output[0]]
        spans, chosen = [], None
        pieces = None
        for name in node.input:
            place = places.get(name)
            if place is None:
                continue
            pieces = pieces or place
            shift = len(shape) - len(self.sizes[name])
            axes = tuple(axis + shift for axis in place.axes)
            if axes and shift >= 0 and all(shape[axis] == self.sizes[name][axis - shift] for axis in axes):
                chosen = chosen or place.moved(axes)
                spans.append(place.span)
        if chosen is None:
            return pieces.moved(()) if pieces is not None and math.prod(shape) >= math.prod(pieces.grid) else None
        for name in node.input:  # what has as many values, but lost its places on the way, such as mixed tokens
            own, shift = self.sizes.get(name, ()), len(shape) - len(self.sizes.get(name, ()))
            lost = name not in places or not places[name].axes
            as_many = shift >= 0 and all(axis >= shift and own[axis - shift] == shape[axis] > 1 for axis in chosen.axes)
            if lost and own and name not in self.graph.weights and as_many:
                spans.append(None)
        return dataclasses.replace(chosen, span=together(spans))

    def concatenated(self, node: onnx.NodeProto, places: Mapping[str, Place]) -> Place | None:
        shape = self.sizes[node.output[0]]
        axis = attributes(node)["axis"] % len(shape)
        along = [places[name] for name in node.input if name in places and axis in places[name].axes]
        if not along:
            return self.joined(node, places)
        more = shape[axis] - math.prod(along[0].grid)
        return along[0] if len(along[0].axes) == 1 and more <= MOST_TOKENS else None

    def product(self, node: onnx.NodeProto, places: Mapping[str, Place]) -> Place | None:
        """The place of a matrix product: that of its rows. What is summed over places sees the whole image."""
        shape = self.sizes[node.output[0]]
        equation = _equation(node, [len(self.sizes[name]) for name in node.input[:2]])
        read, made = equation.split("->")
        terms = read.split(",")
        whole = len([name for name in node.input[:2] if name in places]) > 1
        for name, term in zip(node.input, terms, strict=False):
            if name in places:
                whole = whole or any(term[axis] not in made for axis in places[name].axes)
        for name, term in zip(node.input, terms, strict=False):
            place = places.get(name)
            if place is not None and place.axes and all(term[axis] in made for axis in place.axes):
                moved = place.moved(tuple(made.index(term[axis]) for axis in place.axes))
                return moved.whole() if whole else moved
        first = next((places[name] for name in node.input if name in places), None)
        if first is None or math.prod(shape) < math.prod(first.grid):
            return None
        return first.moved(()).whole() if whole else first.moved(())

    def window(self, node: onnx.NodeProto, place: Place) -> Place | None:
        if place.axes != (2, 3):
            return None
        options = attributes(node)
        kernel = options.get("kernel_shape") or list(self.sizes[node.input[1]][2:])
        steps, dilations = options.get("strides", [1, 1]), options.get("dilations", [1, 1])
        reach = [(k - 1) * d for k, d in zip(kernel, dilations, strict=True)]
        grid = self.sizes[node.output[0]][2:]
        pads, auto = list(options.get("pads", [0, 0])[:2]), options.get("auto_pad", b"NOTSET")
        if auto in (b"SAME_UPPER", b"SAME_LOWER"):
            total = [max((o - 1) * t + r + 1 - n, 0) for o, t, r, n in zip(grid, steps, reach, place.grid, strict=True)]
            pads = [t // 2 if auto == b"SAME_UPPER" else t - t // 2 for t in total]
        return place.stepped(grid, steps, [-pad for pad in pads], [r - pad for r, pad in zip(reach, pads, strict=True)])

    def blocks(self, node: onnx.NodeProto, place: Place) -> Place | None:
        side = attributes(node)["blocksize"]
        grid = self.sizes[node.output[0]][2:]
        return place.stepped(grid, (side, side), (0, 0), (side - 1, side - 1)) if place.axes == (2, 3) else None

    def larger(self, node: onnx.NodeProto, place: Place) -> Place | None:
        """Of a Resize, Upsample, ConvTranspose or DepthToSpace."""
        if place.axes != (2, 3):
            return None
        options = attributes(node)
        before, after = NEIGHBORS.get(options.get("mode", b""), (0, 0)) if node.op_type in ("Resize", "Upsample") else (0, 0)
        if node.op_type == "ConvTranspose":
            kernel = options.get("kernel_shape") or list(self.sizes[node.input[1]][2:])
            steps, dilations = options.get("strides", [1, 1]), options.get("dilations", [1, 1])
            after = max(math.ceil(((k - 1) * d + 1) / s) - 1 for k, d, s in zip(kernel, dilations, steps, strict=True))
        return place.stepped(place.grid, (1, 1), (-before,) * 2, (after,) * 2).resampled(self.sizes[node.output[0]][2:])

    def padded(self, node: onnx.NodeProto, place: Place) -> Place | None:
        shape = self.sizes[node.output[0]]
        pads = self._numbers(node, "pads", 1)
        if len(place.axes) != 2 or pads is None or len(pads) != 2 * len(shape):
            return None
        start = [-pads[axis] for axis in place.axes]
        return place.stepped(tuple(shape[axis] for axis in place.axes), (1, 1), start, start)

    def sliced(self, node: onnx.NodeProto, place: Place) -> Place | None:
        before, shape = self.sizes[node.input[0]], self.sizes[node.output[0]]
        starts = self._numbers(node, "starts", 1) or []
        axes = self._numbers(node, "axes", 3) or list(range(len(starts)))
        steps = self._numbers(node, "steps", 4) or [1] * len(starts)
        if len(place.axes) == 1:  # without the token of the class
            return place if 0 <= shape[place.axes[0]] - math.prod(place.grid) <= MOST_TOKENS else None
        start, step = [0, 0], [1, 1]
        for first, axis, stride in zip(starts, axes, steps, strict=False):
            axis %= len(before)
            if axis in place.axes:
                first = min(max(first + before[axis] if first < 0 else first, 0), before[axis] - 1)
                start[place.axes.index(axis)], step[place.axes.index(axis)] = first, abs(stride)
        return place.stepped(tuple(shape[axis] for axis in place.axes), step, start, start) if place.axes else place

    def split(self, node: onnx.NodeProto, place: Place) -> Place | None:
        axis = attributes(node).get("axis", 0) % len(self.sizes[node.input[0]])
        return None if axis in place.axes else place

    def gathered(self, node: onnx.NodeProto, place: Place) -> Place | None:
        axis = attributes(node).get("axis", 0) % len(self.sizes[node.input[0]])
        change = len(self.sizes[node.output[0]]) - len(self.sizes[node.input[0]])
        return None if axis in place.axes else place.moved(tuple(a + change if a > axis else a for a in place.axes))

    def transposed(self, node: onnx.NodeProto, place: Place) -> Place | None:
        order = attributes(node).get("perm") or list(reversed(range(len(self.sizes[node.input[0]]))))
        return place.moved(tuple(order.index(axis) for axis in place.axes))

    def reshaped(self, node: onnx.NodeProto, place: Place) -> Place | None:
        return reshaped(place, self.sizes[node.input[0]], self.sizes[node.output[0]])

    def reduced(self, node: onnx.NodeProto, place: Place) -> Place | None:
        rank = len(self.sizes[node.input[0]])
        axes = self._numbers(node, "axes", 1)
        gone = {axis % rank for axis in axes} if axes else set(range(rank))
        if gone & set(place.axes):
            return None
        if attributes(node).get("keepdims", 1):
            return place
        return place.moved(tuple(a - sum(axis < a for axis in gone) for a in place.axes))

    def _numbers(self, node: onnx.NodeProto, name: str, position: int) -> list[int] | None:
        """The integers that are an attribute of a node, or its constant input at a position."""
        if name in (options := attributes(node)):
            return list(options[name])
        if len(node.input) > position and node.input[position] in self.graph.weights:
            return self.graph.weights[node.input[position]].ravel().tolist()
        return None


def _equation(node: onnx.NodeProto, ranks: list[int]) -> str:
    """A matrix product in the letters of an Einsum."""
    options = attributes(node)
    if node.op_type == "Einsum":
        return options["equation"].decode().replace(" ", "")
    if node.op_type == "Gemm":
        left = "ji" if options.get("transA", 0) else "ij"
        return f"{left},{'kj' if options.get('transB', 0) else 'jk'}->ik"
    batch = "abcdefgh"[: max(*ranks, 2) - 2]
    left, right = (f"{batch}{rows}"[-rank:] for rank, rows in zip(ranks, ("ij", "jk"), strict=True))
    right = right if ranks[1] > 1 else "j"
    return f"{left},{right}->{batch}{'i' if ranks[0] > 1 else ''}{'k' if ranks[1] > 1 else ''}"


Rule = Callable[[_Following, onnx.NodeProto, Place], Place | None]
RULES: dict[str, Rule] = {
    **dict.fromkeys(("Conv", "MaxPool", "AveragePool", "LpPool"), _Following.window),
    **dict.fromkeys(("Resize", "Upsample", "ConvTranspose", "DepthToSpace"), _Following.larger),
    **dict.fromkeys(("Reshape", "Flatten", "Squeeze", "Unsqueeze"), _Following.reshaped),
    **dict.fromkeys(("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"), lambda *_: None),
    **dict.fromkeys(
        (f"Reduce{kind}" for kind in "Mean Sum Max Min Prod L1 L2 SumSquare LogSum LogSumExp".split()), _Following.reduced
    ),
    "SpaceToDepth": _Following.blocks,
    "Pad": _Following.padded,
    "Slice": _Following.sliced,
    "Split": _Following.split,
    "Gather": _Following.gathered,
    "Transpose": _Following.transposed,
}
