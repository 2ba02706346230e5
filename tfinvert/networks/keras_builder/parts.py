"""Operators that take parts of a value, or put a border around it."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import onnx

from tfinvert.networks.keras_builder.layers import Slice
from tfinvert.networks.keras_builder.reductions import without
from tfinvert.networks.keras_builder.values import Building, Value, channels_last, option, plain, refuse


def slice_part(build: Building, node: onnx.NodeProto) -> Value:
    """Slice with constant ends."""
    value = build.value(node.input[0])
    rank, sides = len(value.order), build.shapes[node.input[0]]
    starts, ends = (np.ravel(option(node, name) or build.constant(node, place)) for name, place in (("starts", 1), ("ends", 2)))
    axes = option(node, "axes") or build.constant(node, 3, default=np.arange(len(starts)))
    steps = build.constant(node, 4, default=np.ones(len(starts), np.int64))
    parts = {}
    for axis, *limits in zip(np.ravel(axes), starts, ends, np.ravel(steps), strict=True):
        axis = int(axis) % rank
        parts[axis] = range(*slice(*map(int, limits)).indices(sides[axis]))
        if value.tensor.shape[value.axis(axis)] is None and len(parts.pop(axis)) != sides[axis]:
            raise refuse(node, "along the batch")
    return Value(_part(build, value, parts, node.output[0]), value.order)


def _part(build: Building, value: Value, parts: dict[int, range], name: str) -> Any:
    """The places of a value that ranges along axes of ONNX name."""
    tensor = value.tensor
    for axis, along in parts.items():
        if along.step < 0:
            where = value.axis(axis)
            tensor = build.function("take", [tensor], f"{name}_turned", indices=list(along), axis=where)
    rank = len(value.order)
    limits: list[list[int | None]] = [[None] * rank for _ in range(3)]
    for axis, along in parts.items():
        if along.step > 0:
            for limit, number in zip(limits, (along.start, along.stop, along.step), strict=True):
                limit[value.axis(axis)] = number
    return build.layer(Slice, tensor, name, starts=limits[0], stops=limits[1], steps=limits[2])


def gather(build: Building, node: onnx.NodeProto) -> Value:
    """Gather with constant indices."""
    value, indices = build.value(node.input[0]), build.constant(node, 1)
    rank = len(value.order)
    axis = option(node, "axis", 0) % rank
    indices = indices % build.shapes[node.input[0]][axis]
    output = node.output[0]
    if value.tensor.shape[value.axis(axis)] is None:
        if rank > 1 or indices.shape[:1] != (1,):
            raise refuse(node, "along the batch")
        each = build.reshaped(value.tensor, [-1, build.shapes[node.input[0]][0]], f"{output}_each")
        return Value(build.function("take", [each], output, indices=indices[0].tolist(), axis=1), plain(indices.ndim))
    if indices.ndim == 0:
        index = int(indices)
        part = _part(build, value, {axis: range(index, index + 1)}, f"{output}_part")
        made = build.function("squeeze", [part], output, axis=value.axis(axis))
        return Value(made, without(value.order, [axis]))
    if indices.ndim == 1:
        made = build.function("take", [value.tensor], output, indices=indices.tolist(), axis=value.axis(axis))
        return Value(made, value.order)
    tensor = build.reordered(value, plain(rank), node.input[0])
    made = build.function("take", [tensor], output, indices=indices.tolist(), axis=axis)
    return Value(made, plain(rank + indices.ndim - 1))


def split(build: Building, node: onnx.NodeProto) -> list[Value]:
    """Split."""
    value = build.value(node.input[0])
    axis = option(node, "axis", 0) % len(value.order)
    if value.tensor.shape[value.axis(axis)] is None:
        raise refuse(node, "along the batch")
    stops = np.cumsum([build.shapes[name][axis] if name else 0 for name in node.output])
    parts = [range(int(stop) - build.shapes[name][axis], int(stop)) for name, stop in zip(node.output, stops, strict=True)]
    return [Value(_part(build, value, {axis: p}, n), value.order) for p, n in zip(parts, node.output, strict=True)]


def pad(build: Building, node: onnx.NodeProto) -> Value:
    """Pad, with a constant or with what is there already; negative numbers cut off."""
    value, mode = build.value(node.input[0]), option(node, "mode", "constant")
    rank = len(value.order)
    numbers = [int(n) for n in np.ravel(option(node, "pads") or build.constant(node, 1))]
    axes = [int(axis) % rank for axis in np.ravel(build.constant(node, 3, default=np.arange(rank)))]
    pairs = {axis: (numbers[place], numbers[place + len(axes)]) for place, axis in enumerate(axes)}
    sides = build.shapes[node.input[0]]
    output = node.output[0]
    cut = {axis: range(max(-a, 0), sides[axis] - max(-b, 0)) for axis, (a, b) in pairs.items() if min(a, b) < 0}
    more = {axis: (max(a, 0), max(b, 0)) for axis, (a, b) in pairs.items() if max(a, b) > 0}
    if value.tensor.shape[value.axis(0)] is None and 0 in {**cut, **more}:
        raise refuse(node, "along the batch")
    if cut:
        value = Value(_part(build, value, cut, f"{output}_cut" if more else output), value.order)
    if not more:
        return value
    if mode != "constant":
        return _mirrored(build, node, value, more, mode)
    given = build.constant(node, 2)
    border = option(node, "value", 0.0) if given is None else float(np.ravel(given)[0])
    if value.order == channels_last(4) and not border and set(more) <= {2, 3}:
        around = (more.get(2, (0, 0)), more.get(3, (0, 0)))
        return Value(build.layer(keras.layers.ZeroPadding2D, value.tensor, output, padding=around), value.order)
    width = [list(more.get(axis, (0, 0))) for axis in value.order]
    return Value(build.function("pad", [value.tensor], output, pad_width=width, constant_values=border), value.order)


def _mirrored(build: Building, node: onnx.NodeProto, value: Value, more: dict[int, tuple[int, int]], mode: str) -> Value:
    """A value with rows and columns of its own around it."""
    modes = {"reflect": "reflect", "edge": "edge", "wrap": "wrap"}
    if mode not in modes:
        raise refuse(node, f"in the mode {mode!r}")
    tensor = value.tensor
    for axis, around in more.items():
        place = value.axis(axis)
        indices = np.pad(np.arange(tensor.shape[place]), around, mode=mode)  # type: ignore[call-overload]
        last = axis == list(more)[-1]
        name = node.output[0] if last else f"{node.output[0]}_{axis}"
        tensor = build.function("take", [tensor], name, indices=indices.tolist(), axis=place)
    return Value(tensor, value.order)


def blocks_to_channels(build: Building, node: onnx.NodeProto) -> Value:
    """SpaceToDepth: the pixels of a block become channels, those of the block's first pixel first."""
    side, output = option(node, "blocksize"), node.output[0]
    tensor = build.ordered(node.input[0], channels_last(4))
    height, width, channels = tensor.shape[1:]
    rows, columns = height // side, width // side
    blocks = build.reshaped(tensor, [-1, rows, side, columns, side, channels], f"{output}_blocks")
    turned = build.layer(keras.layers.Permute, blocks, f"{output}_turned", dims=(1, 3, 2, 4, 5))
    return Value(build.reshaped(turned, [-1, rows, columns, side**2 * channels], output), channels_last(4))


OPERATORS: dict[str, Any] = {
    "Slice": slice_part,
    "Gather": gather,
    "Split": split,
    "Pad": pad,
    "SpaceToDepth": blocks_to_channels,
}
