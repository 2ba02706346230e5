"""Operators over whole axes: sums and means, softmax, and the normalizations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import onnx

from tfinvert.networks.keras_builder.layers import LocalResponseNormalization, Norm, Standardization
from tfinvert.networks.keras_builder.values import Building, Order, Value, channels_last, option, plain, refuse

Builder = Callable[[Building, onnx.NodeProto], Value]


def without(order: Order, axes: Sequence[int]) -> Order:
    """An order of axes after some of ONNX' axes are gone."""
    left = [axis for axis in order if axis not in axes]
    return tuple(sorted(left).index(axis) for axis in left)


def reduction(function: str, before: str = "", after: str = "") -> Builder:
    """A Reduce operator: a function of `keras.ops` over axes, with one before and one after it."""

    def build_reduction(build: Building, node: onnx.NodeProto) -> Value:
        value, output = build.value(node.input[0]), node.output[0]
        rank = len(value.order)
        given = option(node, "axes") or build.constant(node, 1)
        if given is None and option(node, "noop_with_empty_axes", 0):
            return value
        axes = sorted({int(axis) % rank for axis in (range(rank) if given is None else np.ravel(given))})
        if 0 in axes and build.shapes[node.input[0]][0] == 1 and value.tensor.shape[value.axis(0)] is None:
            raise refuse(node, "over the images of a batch")
        keep = bool(option(node, "keepdims", 1))
        places = [value.axis(axis) for axis in axes]
        order = value.order if keep else without(value.order, axes)
        tensor = value.tensor
        if function == "norm":
            return Value(build.layer(Norm, tensor, output, axes=places, keepdims=keep), order)
        if before:
            tensor = build.function(before, [tensor], f"{output}_values")
        tensor = build.function(function, [tensor], f"{output}_sum" if after else output, axis=places, keepdims=keep)
        return Value(build.function(after, [tensor], output) if after else tensor, order)

    return build_reduction


def softmax(function: str) -> Builder:
    """Softmax or LogSoftmax; before operator set 13, over all axes from the named one on."""

    def build_softmax(build: Building, node: onnx.NodeProto) -> Value:
        value, old = build.value(node.input[0]), build.graph.opset < 13
        rank = len(value.order)
        axis = option(node, "axis", 1 if old else -1) % rank
        axes = [value.axis(a) for a in range(axis, rank) if a == axis or (old and build.shapes[node.input[0]][a] != 1)]
        if len(axes) == 1 and function == "softmax":
            return Value(build.layer(keras.layers.Softmax, value.tensor, node.output[0], axis=axes[0]), value.order)
        if len(axes) == 1:
            return Value(build.function(function, [value.tensor], node.output[0], axis=axes[0]), value.order)
        tensor = build.reordered(value, plain(rank), node.input[0])
        sides = tensor.shape
        flat = [-1 if side is None else side for side in sides[:axis]]
        tensor = build.reshaped(tensor, [*flat, int(np.prod(sides[axis:]))], f"{node.output[0]}_flat")
        tensor = build.function(function, [tensor], f"{node.output[0]}_values", axis=-1)
        whole = [-1 if side is None else side for side in sides]
        return Value(build.reshaped(tensor, whole, node.output[0]), plain(rank))

    return build_softmax


def batch_normalization(build: Building, node: onnx.NodeProto) -> Value:
    """BatchNormalization with the statistics of training."""
    if option(node, "training_mode", 0):
        raise refuse(node, "in training mode")
    value = build.value(node.input[0])
    weights = [build.constant(node, place) for place in (1, 2, 3, 4)]
    epsilon = option(node, "epsilon", 1e-5)
    options = {"axis": value.axis(1), "epsilon": epsilon}
    return Value(build.layer(keras.layers.BatchNormalization, value.tensor, node.output[0], weights, **options), value.order)


def layer_normalization(build: Building, node: onnx.NodeProto) -> Value:
    """LayerNormalization."""
    if any(node.output[1:]):
        raise refuse(node, "with its mean as an output")
    value = build.value(node.input[0])
    rank = len(value.order)
    first = option(node, "axis", -1) % rank
    if first < rank - 1:
        value = Value(build.reordered(value, plain(rank), node.input[0]), plain(rank))
    axes = [value.axis(axis) for axis in range(first, rank)]
    shape = build.shapes[node.input[0]][first:]
    scale, bias = build.constant(node, 1), build.constant(node, 2)
    weights = [np.broadcast_to(array, shape) for array in (scale, bias) if array is not None]
    made = build.layer(
        keras.layers.LayerNormalization,
        value.tensor,
        node.output[0],
        weights,
        axis=axes if len(axes) > 1 else axes[0],
        epsilon=option(node, "epsilon", 1e-5),
        center=bias is not None,
        scale=scale is not None,
    )
    return Value(made, value.order)


def instance_normalization(build: Building, node: onnx.NodeProto) -> Value:
    """InstanceNormalization: each channel of each image by itself."""
    value = build.value(node.input[0])
    return _standardized(build, node, value, range(2, len(value.order)), option(node, "epsilon", 1e-5))


def _standardized(build: Building, node: onnx.NodeProto, value: Value, axes: Sequence[int], epsilon: float) -> Value:
    output = node.output[0]
    places = [value.axis(axis) for axis in axes]
    tensor = build.layer(Standardization, value.tensor, f"{output}_standardized", axes=places, epsilon=epsilon)
    scale, bias = (_per_channel(build.constant(node, place), value) for place in (1, 2))
    tensor = build.function("multiply", [tensor, scale], f"{output}_scaled")
    return Value(build.function("add", [tensor, bias], output), value.order)


def _per_channel(array: np.ndarray, value: Value) -> np.ndarray:
    shape = [1] * len(value.order)
    shape[value.axis(1)] = array.size
    return array.reshape(shape)


def local_response_normalization(build: Building, node: onnx.NodeProto) -> Value:
    """LRN."""
    rank = len(build.shapes[node.input[0]])
    tensor = build.ordered(node.input[0], channels_last(rank))
    options: dict[str, Any] = {"size": option(node, "size"), "bias": option(node, "bias", 1.0)}
    options |= {"alpha": option(node, "alpha", 1e-4), "beta": option(node, "beta", 0.75)}
    return Value(build.layer(LocalResponseNormalization, tensor, node.output[0], **options), channels_last(rank))


def lp_normalization(build: Building, node: onnx.NodeProto) -> Value:
    """LpNormalization with the Euclidean norm: x / |x|."""
    if option(node, "p", 2) != 2:
        raise refuse(node, f"with p = {option(node, 'p')}")
    value, output = build.value(node.input[0]), node.output[0]
    axes = [value.axis(option(node, "axis", -1))]
    norm = build.layer(Norm, value.tensor, f"{output}_norm", axes=axes)
    return Value(build.function("divide", [value.tensor, norm], output), value.order)


OPERATORS: dict[str, Builder] = {
    "ReduceMean": reduction("mean"),
    "ReduceSum": reduction("sum"),
    "ReduceMax": reduction("max"),
    "ReduceMin": reduction("min"),
    "ReduceProd": reduction("prod"),
    "ReduceL1": reduction("sum", before="abs"),
    "ReduceL2": reduction("norm"),
    "ReduceSumSquare": reduction("sum", before="square"),
    "ReduceLogSum": reduction("sum", after="log"),
    "ReduceLogSumExp": reduction("logsumexp"),
    "Softmax": softmax("softmax"),
    "LogSoftmax": softmax("log_softmax"),
    "BatchNormalization": batch_normalization,
    "LayerNormalization": layer_normalization,
    "InstanceNormalization": instance_normalization,
    "LRN": local_response_normalization,
    "LpNormalization": lp_normalization,
}
