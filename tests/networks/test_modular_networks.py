"""The names of networks of modules: what joins by a concatenation, what ends without an addition, and transformers."""

import numpy as np
import pytest

from tests.networks.nets import Net
from tfinvert.networks.names import layer_names
from tfinvert.networks.onnx import tidy


def names(net, *outputs):
    return layer_names(tidy(net.graph(*outputs)))


def inception(net, value, width=4):
    pooled = net("MaxPool", value, kernel_shape=[3, 3], pads=[1] * 4)
    branches = [
        net.relu_conv(value, width),
        net.relu_conv(net.relu_conv(value, width), width, 3),
        net.relu_conv(net.relu_conv(value, width), width, 5),
        net.relu_conv(pooled, width),
    ]
    return net("Concat", *branches, axis=1)


def pool(net, value):
    return net("MaxPool", value, kernel_shape=[2, 2], strides=[2, 2])


def test_inception_modules_are_counted_from_0_and_the_pools_go_on_behind_them():
    net = Net()
    stem = net.relu_conv("x", 8, 7, stride=2)
    first = pool(net, stem)
    reduced = net.relu_conv(first, 4)
    modules = [inception(net, reduced)]
    modules.append(inception(net, modules[-1]))
    second = pool(net, modules[-1])
    modules.append(inception(net, second))
    actual = names(net, net.classifier(modules[-1]))
    assert list(actual) == ["conv1", "pool1", "conv2", "mixed0", "mixed1", "pool2", "mixed2", "avgpool", "fc"]
    assert [actual[f"mixed{k}"] for k in range(3)] == modules
    assert (actual["conv2"], actual["pool2"]) == (reduced, second)


def test_a_module_within_a_module_has_no_name_and_is_no_fire_module():
    net = Net()
    stem = net.relu_conv("x", 8, 3)
    inner = net.relu_conv(stem, 4)
    both = net("Concat", net.relu_conv(inner, 4, (1, 3)), net.relu_conv(inner, 4, (3, 1)), axis=1)
    outer = net("Concat", net.relu_conv(stem, 4), both, axis=1)
    actual = names(net, net.classifier(outer))
    assert list(actual) == ["conv1", "mixed0", "avgpool", "fc"]
    assert actual["mixed0"] == outer


@pytest.mark.parametrize(
    "make",
    [
        lambda net, x: (net.relu_conv(x, 4, 1), net.relu_conv(x, 4, 1)),  # two of the same size
        lambda net, x: (net.relu_conv(x, 4, 3), net.relu_conv(x, 4, 5)),
        lambda net, x: (net.relu_conv(x, 4, (1, 3)), net.relu_conv(x, 4, (3, 1))),
    ],
)
def test_two_convolutions_of_other_kernels_are_no_fire_module(make):
    net = Net()
    squeezed = net.relu_conv(net.relu_conv("x", 8, 3), 2)
    module = net("Concat", *make(net, squeezed), axis=1)
    assert list(names(net, module)) == ["conv1", "conv2", "mixed0"]


def test_a_fire_module_is_squeezed_by_a_kernel_of_one_pixel_that_nothing_else_reads():
    net = Net()
    wide = net.relu_conv("x", 8, 3)
    module = net("Concat", net.relu_conv(wide, 4), net.relu_conv(wide, 4, 3), axis=1)
    assert list(names(net, module)) == ["conv1", "mixed0"]
    net = Net()
    squeezed = net.relu_conv(net.relu_conv("x", 8, 3), 2)
    module = net("Concat", net.relu_conv(squeezed, 4), net.relu_conv(squeezed, 4, 3), axis=1)
    assert "fire2" in names(net, module)
    again = net("Concat", net.conv(squeezed, 2), module, axis=1)
    assert "fire2" not in names(net, again)


def dense_layer(net, value, width=4):
    return net.conv(net("Relu", net.conv(net("Relu", value), width)), width, 3)


@pytest.mark.parametrize("at_once", [True, False])
def test_dense_blocks_end_at_their_last_concatenation(at_once):
    """PyTorch concatenates all layers before each; Keras and Caffe concatenate one to what is there."""
    net = Net()
    value = pool(net, net.relu_conv("x", 8, 3))
    expected = {"pool1": value}
    for block in (1, 2):
        parts = [value]
        for _ in range(3):
            whole = net("Concat", *parts, axis=1) if at_once and len(parts) > 1 else parts[-1]
            new = dense_layer(net, whole)
            parts = [*parts, new] if at_once else [net("Concat", whole, new, axis=1)]
        value = net("Concat", *parts, axis=1) if at_once else parts[-1]
        expected[f"denseblock{block}"] = value
        if block == 1:
            value = net("AveragePool", net.conv(net("Relu", value), 8), kernel_shape=[2, 2], strides=[2, 2])
            expected["transition1"] = value
    actual = names(net, net.classifier(value))
    assert list(actual) == ["conv1", *expected, "avgpool", "fc"]
    assert {name: actual[name] for name in expected} == expected


def test_shuffle_units_have_names():
    net = Net()
    value = net.relu_conv("x", 8, 3, stride=2)
    units = []
    for _ in range(2):
        left, right = net("Split", value, axis=1, outputs=2)
        net.channels |= {left: 4, right: 4}
        right = net.relu_conv(net.conv(net.relu_conv(right, 4), 4, 3, group=4), 4)
        units.append(net("Concat", left, right, axis=1))
        split = net("Reshape", units[-1], [0, 2, 4, 16, 16])
        value = net("Reshape", net("Transpose", split, perm=[0, 2, 1, 3, 4]), [0, 8, 16, 16])
        net.channels[value] = 8
    actual = names(net, net.classifier(value))
    assert [actual["mixed0"], actual["mixed1"]] == units


def test_colors_that_are_prepared_apart_are_no_module():
    net = Net()
    colors = [net("Mul", net("Gather", "x", [channel], axis=1), 0.5) for channel in range(3)]
    image = net("Concat", *colors, axis=1)
    net.channels[image] = 3
    assert list(names(net, net.relu_conv(image, 4, 3))) == ["conv1"]


def test_a_decoder_s_skip_connections_are_names_of_their_own():
    net = Net()
    fine = net.relu_conv("x", 4, 3)
    coarse = net.relu_conv(pool(net, fine), 4, 3)
    bottom = net.relu_conv(pool(net, coarse), 4, 3)
    for skip in (coarse, fine):
        larger = net("Resize", bottom, "", np.array([1.0, 1, 2, 2]), mode="nearest")
        bottom = net.relu_conv(net("Concat", larger, skip, axis=1), 4, 3)
    actual = names(net, bottom)
    assert {"conv1", "mixed0", "mixed1"} <= set(actual)


def inverted(net, value, width, stride=1, gate=False):
    """An inverted residual block, with or without squeeze and excitation."""
    wide = net.relu_conv(net.relu_conv(value, 16), 16, 3, stride=stride, group=16)
    if gate:
        wide = net("Mul", net("Sigmoid", net.conv(net("GlobalAveragePool", wide), 16)), wide)
        net.channels[wide] = 16
    made = net.conv(wide, width)
    return net("Add", value, made) if stride == 1 and net.channels[value] == width else made


@pytest.mark.parametrize("gate", [False, True])
def test_blocks_without_an_addition_are_counted_with_the_others(gate):
    net = Net()
    blocks = [net.relu_conv("x", 8, 3, stride=2)]
    for width, stride in ((4, 1), (8, 2), (8, 1), (8, 1), (8, 2)):
        blocks.append(inverted(net, blocks[-1], width, stride, gate))
    actual = names(net, net.classifier(net.relu_conv(blocks[-1], 16)))
    assert [actual[f"block{k}"] for k in range(1, 6)] == blocks[1:]
    assert "block6" not in actual
    assert "pool1" not in actual  # the means of the gates are none
    assert (actual["res1"], actual["res2"]) == (blocks[3], blocks[4])


def test_the_middle_of_a_gated_block_is_its_first_activated_value_and_no_gate():
    net = Net()
    start = net.relu_conv("x", 8, 3)
    gate = net("Sigmoid", net.conv(start, 8))
    gated = net("Mul", gate, start)
    inner = net.conv(gated, 8, 3)
    activated = net("Mul", inner, net("Sigmoid", inner))
    block = net("Add", net.conv(activated, 8), start)
    actual = names(net, net.classifier(block))
    assert (actual["middle0"], actual["res1"]) == (gate, block)


def attention(net, tokens, width=8, count=5):
    query, key, value = (net("MatMul", tokens, net.normal(width, width)) for _ in range(3))
    scores = net("Softmax", net("MatMul", query, net("Transpose", key, perm=[0, 2, 1])), axis=-1)
    return net("MatMul", net("MatMul", scores, value), net.normal(width, width))


def norm(net, tokens, width=8):
    return net("LayerNormalization", tokens, np.ones(width), np.zeros(width), axis=-1)


def gelu(net, x):
    return net("Mul", net("Mul", x, net("Add", net("Erf", net("Div", x, 1.414)), 1.0)), 0.5)


def test_transformer_blocks_are_counted_from_0_and_end_after_their_perceptron():
    net = Net(size=16)
    patches = net("Conv", "x", net.normal(8, 3, 8, 8), kernel_shape=[8, 8], strides=[8, 8])
    tokens = net("Transpose", net("Reshape", patches, [0, 8, -1]), perm=[0, 2, 1])
    tokens = net("Add", net("Concat", net.normal(1, 1, 8), tokens, axis=1), net.normal(1, 5, 8))
    blocks = []
    for _ in range(3):
        tokens = net("Add", tokens, attention(net, norm(net, tokens)))
        hidden = gelu(net, net("Add", net("MatMul", norm(net, tokens), net.normal(8, 16)), net.normal(16)))
        tokens = net("Add", tokens, net("MatMul", hidden, net.normal(16, 8)))
        blocks.append(tokens)
    head = net("Gather", norm(net, tokens), 0, axis=1)
    actual = names(net, net("Gemm", head, net.normal(8, 10), net.normal(10)))
    assert list(actual) == ["conv1", "patch_embed", "block0", "block1", "block2", "fc"]
    assert [actual[f"block{k}"] for k in range(3)] == blocks
    assert actual["patch_embed"] == patches


def test_the_names_of_blocks_do_not_depend_on_shape_arithmetic():
    net = Net()
    start = net.relu_conv("x", 8, 3)
    sides = net("Shape", start)
    doubled = net("Add", net("Gather", sides, 2), net("Gather", sides, 3))
    block = net("Add", net.relu_conv(start, 8), start)
    net("Mul", doubled, 2)
    assert [name for name in names(net, block) if name.startswith("res")] == ["res1"]
