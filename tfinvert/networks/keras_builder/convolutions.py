"""Convolutions and pools, whose windows run over the places of an image; channels come last."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import onnx

from tfinvert.networks.keras_builder.layers import Slice
from tfinvert.networks.keras_builder.values import Building, Value, channels_last, option, refuse

LARGEST_DENSE_GROUPS = 2**22  # values of a kernel of groups that is written as one without


def convolution(build: Building, node: onnx.NodeProto) -> Value:
    """Conv."""
    kernel = build.constant(node, 1)
    bias = build.constant(node, 2)
    groups, output = option(node, "group", 1), node.output[0]
    tensor = build.ordered(node.input[0], channels_last(4))
    tensor, padding = _padded(build, node, tensor, kernel.shape[2:])
    strides, dilations = tuple(option(node, "strides", [1, 1])), tuple(option(node, "dilations", [1, 1]))
    if max(strides) > 1 and max(dilations) > 1:  # not both in Keras
        kernel, dilations = _dilated(kernel.transpose(2, 3, 0, 1), dilations).transpose(2, 3, 0, 1), (1, 1)
    options: dict[str, Any] = {
        "kernel_size": kernel.shape[2:],
        "strides": strides,
        "dilation_rate": dilations,
        "padding": padding,
        "use_bias": bias is not None,
    }
    options["kernel_initializer"] = "zeros"
    weights = [kernel.transpose(2, 3, 1, 0), *([] if bias is None else [bias])]
    channels = kernel.shape[1] * groups
    if 1 < groups == channels and strides[0] == strides[1]:  # unequal ones are not computed by TensorFlow
        del options["kernel_initializer"]
        options |= {"depth_multiplier": kernel.shape[0] // groups, "depthwise_initializer": "zeros"}
        weights[0] = kernel[:, 0].reshape(groups, -1, *kernel.shape[2:]).transpose(2, 3, 0, 1)
        made = build.layer(keras.layers.DepthwiseConv2D, tensor, output, weights, **options)
    else:
        if groups > 1 and channels * kernel[:, 0].size <= LARGEST_DENSE_GROUPS:
            weights[0], groups = _without_groups(weights[0], groups), 1
        made = build.layer(keras.layers.Conv2D, tensor, output, weights, filters=kernel.shape[0], groups=groups, **options)
    return Value(made, channels_last(4))


def _without_groups(kernel: np.ndarray, groups: int) -> np.ndarray:
    """A kernel [height, width, in / groups, out] as one [height, width, in, out], with zeros between the groups.

    Keras compiles convolutions of groups with XLA on a processor, which takes longer than to multiply these zeros.
    """
    height, width, inputs, outputs = kernel.shape
    whole = np.zeros((height, width, inputs * groups, outputs), kernel.dtype)
    share = outputs // groups
    for group in range(groups):
        own = slice(group * share, (group + 1) * share)
        whole[:, :, group * inputs : (group + 1) * inputs, own] = kernel[:, :, :, own]
    return whole


def transposed_convolution(build: Building, node: onnx.NodeProto) -> Value:
    """ConvTranspose: without padding at first; what the padding leaves out is cut off afterwards."""
    kernel = build.constant(node, 1)
    bias = build.constant(node, 2)
    output, groups = node.output[0], option(node, "group", 1)
    strides, dilations = option(node, "strides", [1, 1]), option(node, "dilations", [1, 1])
    if kernel.ndim != 4:
        raise refuse(node, "over other than two axes")
    kernel = _dilated(kernel.transpose(2, 3, 0, 1), dilations)  # [height, width, in, out / groups]
    if groups > 1:
        parts = np.split(kernel, groups, axis=2)
        wide = np.zeros((*kernel.shape[:3], kernel.shape[3] * groups), kernel.dtype)
        for group, part in enumerate(parts):
            rows, columns = part.shape[2], part.shape[3]
            wide[:, :, group * rows : (group + 1) * rows, group * columns : (group + 1) * columns] = part
        kernel = wide
    lengths, outs = build.shapes[node.input[0]][2:], build.shapes[output][2:]
    full = [(length - 1) * step + side for length, step, side in zip(lengths, strides, kernel.shape[:2], strict=True)]
    added = option(node, "output_padding", [0, 0])
    begins = option(node, "pads", [0, 0, 0, 0])[:2]
    automatic = option(node, "auto_pad", "NOTSET")
    if automatic.startswith("SAME") or "output_shape" in {a.name for a in node.attribute}:
        total = [max(f + extra - out, 0) for f, extra, out in zip(full, added, outs, strict=True)]
        begins = [t // 2 if automatic == "SAME_UPPER" else t - t // 2 for t in total]
    tensor = build.ordered(node.input[0], channels_last(4))
    weights = [kernel.transpose(0, 1, 3, 2)]
    exact = full == list(outs) and not any(begins)
    made = build.layer(
        keras.layers.Conv2DTranspose,
        tensor,
        output if exact else f"{output}_whole",
        [*weights, bias] if exact and bias is not None else weights,
        filters=kernel.shape[3],
        kernel_size=kernel.shape[:2],
        strides=tuple(strides),
        padding="valid",
        use_bias=exact and bias is not None,
        kernel_initializer="zeros",
    )
    if exact:
        return Value(made, channels_last(4))
    more = [max(begin + out - f, 0) for begin, out, f in zip(begins, outs, full, strict=True)]
    if any(more):
        made = build.layer(keras.layers.ZeroPadding2D, made, f"{output}_pad", padding=((0, more[0]), (0, more[1])))
    ends = [begin + out for begin, out in zip(begins, outs, strict=True)]
    cut: dict[str, Any] = {"starts": [None, *begins, None], "stops": [None, *ends, None], "steps": [None] * 4}
    made = build.layer(Slice, made, output if bias is None else f"{output}_cut", **cut)
    return Value(made if bias is None else build.function("add", [made, bias], output), channels_last(4))


def _dilated(kernel: np.ndarray, dilations: Sequence[int]) -> np.ndarray:
    """A kernel [height, width, ...] with zeros between its values."""
    sides = [(side - 1) * step + 1 for side, step in zip(kernel.shape[:2], dilations, strict=True)]
    wide = np.zeros((*sides, *kernel.shape[2:]), kernel.dtype)
    wide[:: dilations[0], :: dilations[1]] = kernel
    return wide


def max_pool(build: Building, node: onnx.NodeProto) -> Value:
    """MaxPool."""
    if max(option(node, "dilations", [1, 1])) > 1:
        raise refuse(node, "with dilations")
    if len(node.output) > 1 and node.output[1]:
        raise refuse(node, "with the indices of its values")
    return _pool(build, node, keras.layers.MaxPooling2D, float(np.finfo(np.float32).min))


def average_pool(build: Building, node: onnx.NodeProto) -> Value:
    """AveragePool; where windows reach over the border, a map of corrections makes up for what is not counted."""
    sides = option(node, "kernel_shape")
    pads = _pads(build, node, sides)
    if not any(pads):
        return _pool(build, node, keras.layers.AveragePooling2D, 0.0)
    counts = []
    given = option(node, "pads", [0, 0, 0, 0])
    for axis, side in enumerate(sides):
        length, out = build.shapes[node.input[0]][2 + axis], build.shapes[node.output[0]][2 + axis]
        first, last = 0, length
        if option(node, "count_include_pad", 0):
            first, last = -given[axis], length + given[axis + 2]
        starts = np.arange(out) * option(node, "strides", [1, 1])[axis] - pads[axis]
        counts.append(np.minimum(starts + side, last) - np.maximum(starts, first))
    corrections = (sides[0] * sides[1] / np.outer(*counts))[None, :, :, None].astype(np.float32)
    even = bool((corrections == 1).all())
    pooled = _pool(build, node, keras.layers.AveragePooling2D, 0.0, node.output[0] if even else f"{node.output[0]}_sums")
    if even:
        return pooled
    return Value(build.function("multiply", [pooled.tensor, corrections], node.output[0]), channels_last(4))


def _pool(build: Building, node: onnx.NodeProto, kind: Any, border: float, name: str = "") -> Value:
    sides = option(node, "kernel_shape")
    tensor = build.ordered(node.input[0], channels_last(4))
    pads = _pads(build, node, sides)
    same = kind is keras.layers.MaxPooling2D and option(node, "auto_pad", "NOTSET") == "SAME_UPPER"
    if any(pads) and not same:
        around = [[0, 0], [pads[0], pads[2]], [pads[1], pads[3]], [0, 0]]
        tensor = build.function("pad", [tensor], f"{node.output[0]}_pad", pad_width=around, constant_values=border)
    strides = tuple(option(node, "strides", [1, 1]))
    padding = "same" if same else "valid"
    return Value(
        build.layer(kind, tensor, name or node.output[0], pool_size=tuple(sides), strides=strides, padding=padding),
        channels_last(4),
    )


def _padded(build: Building, node: onnx.NodeProto, tensor: Any, sides: tuple[int, ...]) -> tuple[Any, str]:
    """What a convolution reads, and its padding in Keras' words."""
    if option(node, "auto_pad", "NOTSET") == "SAME_UPPER":
        return tensor, "same"
    top, left, bottom, right = _pads(build, node, list(sides))
    if not any((top, left, bottom, right)):
        return tensor, "valid"
    around = ((top, bottom), (left, right))
    return build.layer(keras.layers.ZeroPadding2D, tensor, f"{node.output[0]}_pad", padding=around), "valid"


def _pads(build: Building, node: onnx.NodeProto, sides: list[int]) -> list[int]:
    """The rows and columns of padding that windows read: top, left, bottom, right."""
    strides, dilations = option(node, "strides", [1, 1]), option(node, "dilations", [1, 1])
    lengths, outs = build.shapes[node.input[0]][2:], build.shapes[node.output[0]][2:]
    axes = list(zip(sides, strides, dilations, lengths, outs, strict=True))
    totals = [max((out - 1) * step + (side - 1) * apart + 1 - length, 0) for side, step, apart, length, out in axes]
    begins = {
        "SAME_UPPER": [total // 2 for total in totals],
        "SAME_LOWER": [total - total // 2 for total in totals],
        "VALID": [0, 0],
    }.get(option(node, "auto_pad", "NOTSET"), option(node, "pads", [0, 0, 0, 0])[:2])
    reach = [(out - 1) * step + (side - 1) * apart + 1 for side, step, apart, _, out in axes]
    ends = [max(far - length - begin, 0) for far, length, begin in zip(reach, lengths, begins, strict=True)]
    return [*begins, *ends]


def global_pool(kind: Any) -> Callable[[Building, onnx.NodeProto], Value]:
    """GlobalAveragePool or GlobalMaxPool."""

    def pool(build: Building, node: onnx.NodeProto) -> Value:
        tensor = build.ordered(node.input[0], channels_last(len(build.shapes[node.input[0]])))
        rank = len(tensor.shape)
        if rank != 4:
            function = "mean" if kind is keras.layers.GlobalAveragePooling2D else "max"
            made = build.function(function, [tensor], node.output[0], axis=list(range(1, rank - 1)), keepdims=True)
        elif kind is keras.layers.GlobalMaxPooling2D:  # whose gradient, unlike that of a pool, is shared by equal values
            made = build.layer(keras.layers.MaxPooling2D, tensor, node.output[0], pool_size=tuple(tensor.shape[1:3]))
        else:
            made = build.layer(kind, tensor, node.output[0], keepdims=True)
        return Value(made, channels_last(rank))

    return pool


OPERATORS = {
    "Conv": convolution,
    "ConvTranspose": transposed_convolution,
    "MaxPool": max_pool,
    "AveragePool": average_pool,
    "GlobalAveragePool": global_pool(keras.layers.GlobalAveragePooling2D),
    "GlobalMaxPool": global_pool(keras.layers.GlobalMaxPooling2D),
}
