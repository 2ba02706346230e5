"""Operators that move values and compute none: other sides, other orders of axes, several values as one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import onnx

from tfinvert.networks.keras_builder.layers import Repeated
from tfinvert.networks.keras_builder.values import Building, Order, Value, channels_last, option, plain, refuse


def transpose(build: Building, node: onnx.NodeProto) -> Value:
    """Transpose: the axes get other names, and nothing moves."""
    value = build.value(node.input[0])
    axes = option(node, "perm") or list(reversed(range(len(value.order))))
    return Value(value.tensor, tuple(axes.index(axis) for axis in value.order))


def reshape(build: Building, node: onnx.NodeProto) -> Value:
    """Reshape, Flatten, Squeeze and Unsqueeze: in ONNX' order of axes, or in that of the value where it comes to the same."""
    name, output = node.input[0], node.output[0]
    value, before, after = build.value(name), build.shapes[name], build.shapes[output]
    orders = _orders(value.order, before, after)
    if orders is not None:
        long = [[axis for axis in order if axis == 0 or before[axis] != 1] for order in (value.order, orders[0])]
        tensor = value.tensor if long[0] == long[1] else build.reordered(value, orders[0], name)
        return Value(build.reshaped(tensor, [-1, *(after[axis] for axis in orders[1][1:])], output), orders[1])
    target = _target(build, node, value)
    return Value(build.reshaped(build.reordered(value, plain(len(before)), name), target, output), plain(len(after)))


def _target(build: Building, node: onnx.NodeProto, value: Value) -> list[int]:
    """The sides after reshaping in ONNX' order, -1 for the one with the batch."""
    sides = list(build.shapes[node.output[0]])
    if node.op_type == "Reshape":
        given = option(node, "shape")
        shape = [int(side) for side in (build.constant(node, 1).ravel() if given is None else given)]
        return [-1 if wanted == -1 else side for wanted, side in zip(shape, sides, strict=True)]
    tensor = build.reordered(value, plain(len(value.order)), node.input[0])
    batch = next((axis for axis, side in enumerate(tensor.shape) if side is None), None)
    if batch is None:
        return sides
    axes = _changed_axes(build, node)
    if node.op_type == "Squeeze":
        batch -= sum(axis < batch for axis in axes)
    elif node.op_type == "Unsqueeze":
        batch = [axis for axis in range(len(sides)) if axis not in axes][batch]
    sides[batch] = -1
    return sides


def _changed_axes(build: Building, node: onnx.NodeProto) -> list[int]:
    """The axes that a Squeeze or Unsqueeze names."""
    rank = max(len(build.shapes[node.input[0]]), len(build.shapes[node.output[0]]))
    given = option(node, "axes") or build.constant(node, 1)
    if given is None:
        return [axis for axis, side in enumerate(build.shapes[node.input[0]]) if side == 1] if node.op_type == "Squeeze" else []
    return [int(axis) % rank for axis in np.ravel(given)]


def _orders(order: Order, before: Sequence[int], after: Sequence[int]) -> tuple[Order, Order] | None:
    """The orders of axes in which a value can be reshaped that move the least: that before, and that after.

    Sides are split and merged in groups: [2, 12, 5] -> [2, 3, 4, 5] splits the 12. That works in any order in which the axes of
    each group are neighbors. None for values whose first axis is not the batch, and nothing else.
    """
    if order[0] != 0 or before[0] != 1 or not after or after[0] != 1:
        return None
    groups = _groups(before, after)
    first: list[int] = [0]
    then: list[int] = [0]
    for axis in order[1:]:
        if axis not in first and before[axis] != 1:
            ins, outs = next(group for group in groups if axis in group[0])
            first.extend(ins)
            then.extend(outs)
    for ins, outs in groups:  # of sides of 1 alone, which may be anywhere
        first.extend(axis for axis in ins if axis not in first)
        then.extend(axis for axis in outs if axis not in then)
    return tuple(first), tuple(then)


def _groups(before: Sequence[int], after: Sequence[int]) -> list[tuple[list[int], list[int]]]:
    """The smallest runs of axes whose sides have the same product before and after, without the first axis."""
    groups = []
    left = right = 1
    while left < len(before) or right < len(after):
        ins: list[int] = []
        outs: list[int] = []
        one = other = 1
        while (left < len(before) or right < len(after)) and not (ins and outs and one == other):
            if right == len(after) or (left < len(before) and one <= other):
                ins.append(left)
                one *= before[left]
                left += 1
            else:
                outs.append(right)
                other *= after[right]
                right += 1
        groups.append((ins, outs))
    return groups


def concatenate(build: Building, node: onnx.NodeProto) -> Value:
    """Concat; constants are repeated for each image."""
    computed = next(name for name in node.input if not build.is_constant(name))
    value = build.value(computed)
    axis = option(node, "axis", 1) % len(value.order)
    if len(node.input) == 1:
        return value
    batch = next((place for place, side in enumerate(value.tensor.shape) if side is None), None)
    if batch is not None and value.order[batch] == axis:
        raise refuse(node, "along the batch")
    tensors = []
    for name in node.input:
        if not build.is_constant(name):
            tensors.append(build.ordered(name, value.order))
            continue
        array = build.graph.weights[name].transpose(value.order)
        place = 0 if batch is None else batch
        if array.shape[place] != 1:
            raise refuse(node, f"with the constant {name!r}, which is not one for each image")
        array = array.squeeze(place)
        tensors.append(build.layer(Repeated, value.tensor, name, [array], value_shape=array.shape, axis=place))
    return Value(build.layer(keras.layers.Concatenate, tensors, node.output[0], axis=value.axis(axis)), value.order)


def expand(build: Building, node: onnx.NodeProto) -> Value:
    """Expand: a sum with zeros of the wanted shape would do the same; sides of 1 are repeated."""
    value, wanted = build.value(node.input[0]), build.shapes[node.output[0]]
    more = len(wanted) - len(value.order)
    tensor, order = value.tensor, value.order
    if more:
        tensor = build.reordered(value, plain(len(order)), node.input[0])
        sides = [-1 if side is None else side for side in tensor.shape]
        tensor = build.function("reshape", [tensor], f"{node.output[0]}_raised", newshape=[1] * more + sides)
        order = plain(len(wanted))
    value = Value(tensor, order)
    return _repeated(
        build, node, value, [wanted[a] if value.tensor.shape[value.axis(a)] == 1 else 1 for a in range(len(wanted))]
    )


def tile(build: Building, node: onnx.NodeProto) -> Value:
    """Tile."""
    return _repeated(build, node, build.value(node.input[0]), [int(count) for count in np.ravel(build.constant(node, 1))])


def _repeated(build: Building, node: onnx.NodeProto, value: Value, counts: Sequence[int]) -> Value:
    if value.tensor.shape[value.axis(0)] is None and counts[0] != 1:
        raise refuse(node, "along the batch")
    if all(count == 1 for count in counts):
        return value
    return Value(build.function("tile", [value.tensor], node.output[0], repeats=[counts[a] for a in value.order]), value.order)


def channels_to_blocks(build: Building, node: onnx.NodeProto) -> Value:
    """DepthToSpace."""
    side, output = option(node, "blocksize"), node.output[0]
    tensor = build.ordered(node.input[0], channels_last(4))
    _, height, width, channels = tensor.shape
    deep = channels // side**2
    inner, axes = (
        ([side, side, deep], (1, 3, 2, 4, 5))
        if option(node, "mode", "DCR") == "DCR"
        else (
            [deep, side, side],
            (1, 4, 2, 5, 3),
        )
    )
    tensor = build.reshaped(tensor, [-1, height, width, *inner], f"{output}_blocks")
    tensor = build.layer(keras.layers.Permute, tensor, f"{output}_rows", dims=axes)
    return Value(build.reshaped(tensor, [-1, height * side, width * side, deep], output), channels_last(4))


OPERATORS: dict[str, Any] = {
    "Transpose": transpose,
    **dict.fromkeys(("Reshape", "Flatten", "Squeeze", "Unsqueeze"), reshape),
    "Concat": concatenate,
    "Expand": expand,
    "Tile": tile,
    "DepthToSpace": channels_to_blocks,
}
