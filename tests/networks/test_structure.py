"""The value after an activation function, however many nodes it is written in."""

import numpy as np
import pytest

from tests.networks.nets import Net
from tfinvert.networks.structure import Structure


def silu(net, x):
    return net("Mul", x, net("Sigmoid", x))


def silu_with_the_gate_first(net, x):
    gate = net("Sigmoid", x)
    return net("Mul", gate, x)


def hard_swish_divided_last(net, x):
    return net("Div", net("Mul", x, net("Clip", net("Add", x, 3.0), 0.0, 6.0)), 6.0)


def hard_swish_divided_first(net, x):
    return net("Mul", x, net("Div", net("Clip", net("Add", x, 3.0), 0.0, 6.0), 6.0))


def hard_swish_with_hard_sigmoid(net, x):
    return net("Mul", x, net("HardSigmoid", x, alpha=1 / 6))


def gelu_by_torch(net, x):
    return net("Mul", net("Mul", x, net("Add", net("Erf", net("Div", x, 1.414)), 1.0)), 0.5)


def gelu_by_tensorflow(net, x):
    half = net("Mul", x, 0.5)
    return net("Mul", half, net("Add", net("Erf", net("Mul", x, 0.707)), 1.0))


def gelu_by_tanh(net, x):
    cube = net("Mul", net("Pow", x, 3.0), 0.0447)
    return net("Mul", net("Mul", x, net("Add", net("Tanh", net("Mul", net("Add", x, cube), 0.798)), 1.0)), 0.5)


def quick_gelu(net, x):
    return net("Mul", x, net("Sigmoid", net("Mul", x, 1.702)))


def mish(net, x):
    return net("Mul", x, net("Tanh", net("Softplus", x)))


def leaky(net, x):
    return net("Max", x, net("Mul", x, 0.1))


def prelu(net, x):
    return net("PRelu", x, np.full((4, 1, 1), 0.2))


def scale_offset_and_relu(net, x):
    return net("Relu", net("Add", net("Mul", x, np.ones((4, 1, 1))), np.ones((4, 1, 1))))


def operator(name):
    return lambda net, x: net(name, x)


FUNCTIONS = [
    silu,
    silu_with_the_gate_first,
    hard_swish_divided_last,
    hard_swish_divided_first,
    hard_swish_with_hard_sigmoid,
    gelu_by_torch,
    gelu_by_tensorflow,
    gelu_by_tanh,
    quick_gelu,
    mish,
    leaky,
    prelu,
    scale_offset_and_relu,
    *map(operator, ("Relu", "HardSwish", "Gelu", "Celu", "Mish")),
]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_the_activated_value_is_the_one_after_the_whole_function(function):
    net = Net()
    convolution = net.conv("x", 4, 3)
    expected = function(net, convolution)
    structure = Structure(net.graph(net.conv(expected, 4)))
    assert structure.activated(convolution) == expected
    assert structure.activations() == 1 << structure.order[expected]
    assert structure.residual_additions() == []


def test_the_batch_norm_comes_before_the_function():
    net = Net()
    convolution = net.conv("x", 4, 3)
    norm = net("BatchNormalization", convolution, *(np.ones(4),) * 4)
    expected = silu(net, norm)
    assert Structure(net.graph(expected)).activated(convolution) == expected


@pytest.mark.parametrize(
    "follow",
    [
        lambda net, x: net("Mul", x, net("Sigmoid", net.conv(x, 4))),  # a gate that convolves
        lambda net, x: net("Mul", net("Mul", x, np.ones((4, 1, 1))), 2.0),  # a scale
        lambda net, x: net("Sub", x, net("ReduceMean", x, axes=[1])),
        lambda net, x: net("Concat", net("Relu", x), net("Neg", x), axis=1),
    ],
)
def test_what_is_no_function_of_the_value_alone_is_not_taken_for_one(follow):
    net = Net()
    convolution = net.conv("x", 4, 3)
    last = follow(net, convolution)
    activated = Structure(net.graph(net.conv(last, 4))).activated(convolution)
    assert activated == convolution


def test_a_sum_that_is_read_twice_keeps_its_own_name():
    net = Net()
    start = net.relu_conv("x", 4)
    total = net("Add", start, net.conv(start, 4))
    after = net("Relu", total)
    following = net("Add", total, net.conv(after, 4))
    structure = Structure(net.graph(following))
    assert structure.activated(total) == total
    assert [node.output[0] for node in structure.residual_additions()] == [total, following]
