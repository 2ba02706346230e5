"""Operators that compute each value from the values in its place: activations and arithmetic. They keep any order of axes."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import onnx

from tfinvert.networks.keras_builder.values import Building, Value, option, refuse

Builder = Callable[[Building, onnx.NodeProto], Value]
MERGED = {
    "add": keras.layers.Add,
    "multiply": keras.layers.Multiply,
    "subtract": keras.layers.Subtract,
    "maximum": keras.layers.Maximum,
    "minimum": keras.layers.Minimum,
}


def same(build: Building, node: onnx.NodeProto) -> Value:
    """Identity, Dropout, and a Cast among floats."""
    if node.op_type == "Cast" and option(node, "to") not in (onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE):
        raise refuse(node, f"to {onnx.TensorProto.DataType.Name(option(node, 'to'))}")
    value = build.value(node.input[0])
    if node.op_type == "Cast" and keras.backend.standardize_dtype(value.tensor.dtype) == "bool":
        return Value(build.function("cast", [value.tensor], node.output[0], dtype=build.dtype), value.order)
    return value


def _layer(build: Building, node: onnx.NodeProto, kind: Any, name: str = "", weights: Any = (), **options: Any) -> Value:
    value = build.value(node.input[0])
    return Value(build.layer(kind, value.tensor, name or node.output[0], weights, **options), value.order)


def function(name: str, **arguments: Any) -> Builder:
    """A function of one value."""

    def build_function(build: Building, node: onnx.NodeProto) -> Value:
        value = build.value(node.input[0])
        return Value(build.function(name, [value.tensor], node.output[0], **arguments), value.order)

    return build_function


def activation(name: str) -> Builder:
    """An activation that Keras knows by name."""
    return lambda build, node: _layer(build, node, keras.layers.Activation, activation=name)


def leaky_relu(build: Building, node: onnx.NodeProto) -> Value:
    """LeakyRelu."""
    return _layer(build, node, keras.layers.LeakyReLU, negative_slope=option(node, "alpha", 0.01))


def elu(build: Building, node: onnx.NodeProto) -> Value:
    """Elu."""
    return _layer(build, node, keras.layers.ELU, alpha=option(node, "alpha", 1.0))


def celu(build: Building, node: onnx.NodeProto) -> Value:
    """Celu."""
    value = build.value(node.input[0])
    return Value(build.function("celu", [value.tensor], node.output[0], alpha=option(node, "alpha", 1.0)), value.order)


def selu(build: Building, node: onnx.NodeProto) -> Value:
    """Selu: gamma (max(x, 0) + alpha (exp(min(x, 0)) - 1))."""
    alpha, gamma = option(node, "alpha", 1.67326319217681884765625), option(node, "gamma", 1.05070102214813232421875)
    value = _layer(build, node, keras.layers.ELU, f"{node.output[0]}_elu", alpha=alpha)
    return Value(build.function("multiply", [value.tensor, gamma], node.output[0]), value.order)


def gelu(build: Building, node: onnx.NodeProto) -> Value:
    """Gelu."""
    value = build.value(node.input[0])
    approximate = option(node, "approximate", "none") == "tanh"
    return Value(build.function("gelu", [value.tensor], node.output[0], approximate=approximate), value.order)


def clip(build: Building, node: onnx.NodeProto) -> Value:
    """Clip; one from 0 on is a ReLU, which has no gradient where it clips."""
    limits = []
    for place, name in ((1, "min"), (2, "max")):
        given = build.constant(node, place)
        limit = option(node, name) if given is None else float(given.reshape(-1)[0])
        limits.append(None if limit is None or abs(limit) >= np.finfo(np.float32).max else limit)
    low, high = limits
    if low == 0.0:
        return _layer(build, node, keras.layers.ReLU, max_value=high)
    value = build.value(node.input[0])
    if low is None and high is None:
        return value
    if low is None or high is None:
        made = build.function(
            "minimum" if low is None else "maximum", [value.tensor, high if low is None else low], node.output[0]
        )
    else:
        made = build.function("clip", [value.tensor, low, high], node.output[0])
    return Value(made, value.order)


def hard_sigmoid(build: Building, node: onnx.NodeProto) -> Value:
    """HardSigmoid, max(0, min(1, alpha x + beta)), and HardSwish, x times that with 1/6 and 1/2."""
    swish = node.op_type == "HardSwish"
    alpha, beta = (1 / 6, 0.5) if swish else (option(node, "alpha", 0.2), option(node, "beta", 0.5))
    value, output = build.value(node.input[0]), node.output[0]
    line = build.function("multiply", [value.tensor, alpha], f"{output}_slope")
    line = build.function("add", [line, beta], f"{output}_line")
    gate = build.layer(keras.layers.ReLU, line, f"{output}_gate" if swish else output, max_value=1.0)
    return Value(build.layer(keras.layers.Multiply, [value.tensor, gate], output) if swish else gate, value.order)


def thresholded_relu(build: Building, node: onnx.NodeProto) -> Value:
    """ThresholdedRelu: x where it is above alpha, else 0."""
    value, output = build.value(node.input[0]), node.output[0]
    above = build.function("greater", [value.tensor, option(node, "alpha", 1.0)], f"{output}_above")
    return Value(build.function("where", [above, value.tensor, 0.0], output), value.order)


def prelu(build: Building, node: onnx.NodeProto) -> Value:
    """PRelu: x where it is above 0, else slope x."""
    values, order = aligned(build, node)
    if not isinstance(values[0], keras.KerasTensor) or isinstance(values[1], keras.KerasTensor):
        raise refuse(node, "with a computed slope")
    rank = len(order)
    slope = np.full((1,) * rank, values[1], np.float32) if isinstance(values[1], float) else values[1]
    if slope.shape[0] != 1:
        raise refuse(node, "with a slope of its own for each image")
    shared = [axis for axis in range(1, rank) if slope.shape[axis] == 1]
    made = build.layer(keras.layers.PReLU, values[0], node.output[0], [slope[0]], shared_axes=shared)
    return Value(made, order)


def aligned(build: Building, node: onnx.NodeProto) -> tuple[list[Any], tuple[int, ...]]:
    """The inputs of a node in one order of axes: symbolic tensors, and arrays or numbers that go with them."""
    computed = [name for name in node.input if not build.is_constant(name)]
    rank = max(len(build.shapes[name]) if name in computed else build.graph.weights[name].ndim for name in node.input)
    if any(len(build.shapes[name]) < rank for name in computed):
        raise refuse(node, "for values of different ranks")
    order = build.value(max(computed, key=lambda name: np.prod(build.shapes[name]))).order
    values: list[Any] = []
    for name in node.input:
        if name in computed:
            values.append(build.ordered(name, order))
            continue
        array = build.graph.weights[name]
        if array.size == 1 and array.dtype.kind == "f":
            values.append(float(array.reshape(-1)[0]))
        else:
            values.append(array.reshape((1,) * (rank - array.ndim) + array.shape).transpose(order))
    return values, order


def arithmetic(name: str) -> Builder:
    """A function of two or more values, which are broadcast."""

    def build_arithmetic(build: Building, node: onnx.NodeProto) -> Value:
        values, order = aligned(build, node)
        count = len(values)

        def pair(left: Any, numbered: tuple[int, Any]) -> Any:
            number, right = numbered
            output = node.output[0] if number == count - 1 else f"{node.output[0]}_{number}"
            computed = [value for value in (left, right) if isinstance(value, keras.KerasTensor)]
            if len(computed) == 2 and name in MERGED and left is not right:
                return build.layer(MERGED[name], [left, right], output)
            if not computed:
                return getattr(np, name)(left, right)
            return build.function(name, [left, right], output)

        return Value(functools.reduce(pair, list(enumerate(values))[1:], values[0]), order)

    return build_arithmetic


def mean(build: Building, node: onnx.NodeProto) -> Value:
    """Mean of several values."""
    summed = arithmetic("add")(build, node)
    return Value(build.function("multiply", [summed.tensor, 1 / len(node.input)], node.output[0]), summed.order)


def power(build: Building, node: onnx.NodeProto) -> Value:
    """Pow; its usual exponents are functions of their own, whose gradient is right at 0."""
    values, order = aligned(build, node)
    base, exponent = values
    if exponent in (0.5, 2.0) if isinstance(exponent, float) else False:
        return Value(build.function("sqrt" if exponent == 0.5 else "square", [base], node.output[0]), order)
    return Value(build.function("power", [base, exponent], node.output[0]), order)


def where(build: Building, node: onnx.NodeProto) -> Value:
    """Where."""
    values, order = aligned(build, node)
    return Value(build.function("where", values, node.output[0]), order)


ACTIVATIONS = "Sigmoid Tanh Softplus Softsign Mish"
FUNCTIONS = "Abs Exp Log Sqrt Erf Sin Cos Floor Ceil Round Sign Reciprocal"
ARITHMETIC = {
    "Add": "add",
    "Sum": "add",
    "Sub": "subtract",
    "Mul": "multiply",
    "Div": "divide",
    "Max": "maximum",
    "Min": "minimum",
    "Equal": "equal",
    "Greater": "greater",
    "GreaterOrEqual": "greater_equal",
    "Less": "less",
    "LessOrEqual": "less_equal",
    "And": "logical_and",
    "Or": "logical_or",
    "Xor": "logical_xor",
}
OPERATORS: dict[str, Builder] = {
    **{name: activation(name.lower()) for name in ACTIVATIONS.split()},
    **{name: function(name.lower()) for name in FUNCTIONS.split()},
    **{name: arithmetic(of) for name, of in ARITHMETIC.items()},
    **dict.fromkeys(("Identity", "Dropout", "Cast"), same),
    **dict.fromkeys(("HardSigmoid", "HardSwish"), hard_sigmoid),
    "Relu": lambda build, node: _layer(build, node, keras.layers.ReLU),
    "LeakyRelu": leaky_relu,
    "Elu": elu,
    "Celu": celu,
    "Selu": selu,
    "Gelu": gelu,
    "Clip": clip,
    "ThresholdedRelu": thresholded_relu,
    "PRelu": prelu,
    "Neg": function("negative"),
    "Not": function("logical_not"),
    "Mean": mean,
    "Pow": power,
    "Where": where,
}
