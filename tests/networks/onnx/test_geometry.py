"""Stride and receptive field, by hand for each kind of node, and beside the pixels that a value really depends on."""

import numpy as np
import onnxruntime
import pytest

from tests.networks.nets import Net
from tfinvert.networks import onnx as graphs


def place(net, tensor, *outputs):
    return graphs.geometry(graphs.tidy(net.graph(*(outputs or (tensor,)))))[tensor]


def measured(net, tensor):
    """The height of the part of the image that a value in the middle of the first axis of places depends on."""
    graph = graphs.cut(graphs.tidy(net.graph(tensor)), [tensor])
    axes = graphs.geometry(graph)[tensor].axes
    session = onnxruntime.InferenceSession(graph.proto(batch=1).SerializeToString(), providers=["CPUExecutionProvider"])
    image = net.random.uniform(0.4, 0.6, (1, net.channels["x"], net.size, net.size)).astype(np.float32)
    before = session.run([tensor], {"x": image})[0]
    middle = [slice(None)] * before.ndim
    for axis in axes:
        middle[axis] = before.shape[axis] // 2
    rows = []
    for row in range(net.size):
        changed = image.copy()
        changed[:, :, row] += 0.3
        if not np.array_equal(session.run([tensor], {"x": changed})[0][tuple(middle)], before[tuple(middle)]):
            rows.append(row)
    return rows[-1] - rows[0] + 1


def test_a_gate_does_not_change_the_place_of_what_it_multiplies():
    net = Net(size=64)
    trunk = net.conv("x", 8, 3, stride=2)
    gate = net("Sigmoid", net.conv(net("GlobalAveragePool", trunk), 8))
    for inputs in ((gate, trunk), (trunk, gate)):
        gated = net("Mul", *inputs)
        net.channels[gated] = 8
        after = net.conv(gated, 4, 3, stride=2)
        assert place(net, gated) == graphs.Geometry((1, 8, 32, 32), (2, 2), (3, 3))
        assert place(net, after) == graphs.Geometry((1, 4, 16, 16), (4, 4), (7, 7))
    assert place(net, gate) == graphs.Geometry((1, 8, 1, 1), None, None)


@pytest.mark.parametrize(
    "mean",
    [
        lambda net, x: net("ReduceMean", x, axes=[2, 3]),
        lambda net, x: net("Reshape", net("ReduceMean", x, axes=[2, 3], keepdims=0), [0, 8, 1, 1]),
        lambda net, x: net("Unsqueeze", net("Flatten", net("GlobalMaxPool", x)), [2, 3]),
    ],
)
def test_a_gate_can_be_made_in_other_ways(mean):
    net = Net(size=32)
    trunk = net.conv("x", 8, 3, stride=2)
    total = net("Add", mean(net, trunk), trunk)
    assert place(net, total) == graphs.Geometry((1, 8, 16, 16), (2, 2), (3, 3))


def test_a_mean_of_channels_keeps_the_places_and_a_mean_of_rows_does_not():
    net = Net()
    trunk = net.conv("x", 8, 3, stride=2)
    assert place(net, net("ReduceMean", trunk, axes=[1])).stride == (2, 2)
    assert place(net, net("ReduceMax", trunk, axes=[1], keepdims=0)) == graphs.Geometry((1, 16, 16), (2, 2), (3, 3))
    assert place(net, net("ReduceMean", trunk, axes=[2])).stride is None


def test_a_trunk_without_places_has_none():
    net = Net()
    mean = net("GlobalAveragePool", net.conv("x", 8, 3))
    assert place(net, net("Add", mean, net("Relu", mean))) == graphs.Geometry((1, 8, 1, 1), None, None)


def test_branches_see_together_what_they_see():
    """A window of 3 and one of 5, and one of 3 that is not in the middle."""
    net = Net()
    total = net("Add", net.conv("x", 4, 3), net.conv("x", 4, 5))
    assert place(net, total).receptive_field == (5, 5)
    aside = net("Conv", "x", net.normal(4, 3, 3, 3), pads=[0, 1, 2, 1])
    assert place(net, net("Concat", total, aside, axis=1)).receptive_field == (5, 5)
    both = net("Concat", net.conv("x", 4, 3), aside, axis=1)
    assert place(net, both).receptive_field == (4, 3)
    assert measured(net, both) == 4


def upsampled(net, x, **options):
    return net("Resize", x, "", "", [1, 4, 32, 32], **options)


def halved(net):
    return net.conv("x", 4, 3, stride=2)


CASES = {
    "focus": lambda net: net(
        "Concat", *(net("Slice", "x", [a, b], [99, 99], [2, 3], [2, 2]) for a in (0, 1) for b in (0, 1)), axis=1
    ),
    "same_padding": lambda net: net("Conv", "x", net.normal(4, 3, 3, 3), strides=[2, 2], auto_pad="SAME_UPPER"),
    "pad_node": lambda net: net("Conv", net("Pad", "x", [0, 0, 0, 0, 0, 0, 1, 1]), net.normal(4, 3, 3, 3), strides=[2, 2]),
    "nearest": lambda net: upsampled(net, net.conv("x", 4, 3, stride=2), mode="nearest"),
    "linear": lambda net: upsampled(net, net.conv("x", 4, 3, stride=2), mode="linear"),
    "transposed": lambda net: net("ConvTranspose", halved(net), net.normal(4, 4, 4, 4), strides=[2, 2], pads=[1] * 4),
    "depth_to_space": lambda net: net("DepthToSpace", net.conv("x", 8, 3, stride=2), blocksize=2),
    "channels_last": lambda net: net("MatMul", net("Transpose", halved(net), perm=[0, 2, 3, 1]), net.normal(4, 6)),
    "windows_and_back": lambda net: back(net, net("Transpose", net.conv("x", 4, 3, stride=2), perm=[0, 2, 3, 1])),
    "shuffle": lambda net: shuffled(net, net.conv("x", 4, 3, stride=2)),
    "two_steps": lambda net: net.conv(net("MaxPool", net.conv("x", 4, 3), kernel_shape=[3, 3], strides=[2, 2]), 4, 3),
}  # fmt: skip


def back(net, x):
    """Cuts 16 x 16 places into windows of 4 x 4, and puts them together again, as Swin does."""
    windows = net("Transpose", net("Reshape", x, [1, 4, 4, 4, 4, 4]), perm=[0, 1, 3, 2, 4, 5])
    mixed = net("MatMul", net("Reshape", windows, [16, 16, 4]), net.normal(4, 4))
    again = net("Transpose", net("Reshape", mixed, [1, 4, 4, 4, 4, 4]), perm=[0, 1, 3, 2, 4, 5])
    return net("Reshape", again, [1, 16, 16, 4])


def shuffled(net, x):
    groups = net("Transpose", net("Reshape", x, [0, 2, 2, 16, 16]), perm=[0, 2, 1, 3, 4])
    return net("Reshape", groups, [0, 4, 16, 16])


@pytest.mark.parametrize(
    ("case", "stride", "field"),
    [
        ("focus", 2, 2),
        ("same_padding", 2, 3),
        ("pad_node", 2, 3),
        ("nearest", 1, 3),
        ("linear", 1, 5),
        ("transposed", 1, 5),
        ("depth_to_space", 1, 3),
        ("channels_last", 2, 3),
        ("windows_and_back", 2, 3),
        ("shuffle", 2, 3),
        ("two_steps", 2, 9),
    ],
)
def test_the_receptive_field_is_what_a_value_depends_on(case, stride, field):
    net = Net(size=32)
    tensor = CASES[case](net)
    actual = place(net, tensor)
    assert (actual.stride, actual.receptive_field) == ((stride, stride), (field, field))
    assert measured(net, tensor) == field


def test_pixel_shuffles_by_reshapes_are_steps_too():
    net = Net(size=32)
    value = net.conv("x", 8, 3, stride=2)
    pieces = net("Transpose", net("Reshape", value, [0, 2, 2, 2, 16, 16]), perm=[0, 1, 4, 2, 5, 3])
    assert place(net, net("Reshape", pieces, [0, 2, 32, 32])) == graphs.Geometry((1, 2, 32, 32), (1, 1), (3, 3))


def tokens(net, class_token=True):
    patches = net("Conv", "x", net.normal(8, 3, 8, 8), strides=[8, 8])
    rows = net("Transpose", net("Reshape", patches, [0, 8, -1]), perm=[0, 2, 1])
    return net("Concat", net.normal(1, 1, 8), rows, axis=1) if class_token else rows


def attended(net, rows):
    query, key, value = (net("MatMul", rows, net.normal(8, 8)) for _ in range(3))
    heads = [net("Transpose", net("Reshape", x, [0, -1, 2, 4]), perm=[0, 2, 1, 3]) for x in (query, key, value)]
    scores = net("Softmax", net("MatMul", heads[0], net("Transpose", heads[1], perm=[0, 1, 3, 2])), axis=-1)
    mixed = net("Transpose", net("MatMul", scores, heads[2]), perm=[0, 2, 1, 3])
    return net("Add", rows, net("MatMul", net("Reshape", mixed, [0, -1, 8]), net.normal(8, 8)))


@pytest.mark.parametrize("class_token", [True, False])
def test_tokens_have_the_stride_of_their_patches_and_see_the_whole_image(class_token):
    net = Net(size=32)
    rows = tokens(net, class_token)
    count = 16 + class_token
    assert place(net, rows) == graphs.Geometry((1, count, 8), (8, 8), (8, 8))
    alone = net("MatMul", rows, net.normal(8, 12))
    assert place(net, alone) == graphs.Geometry((1, count, 12), (8, 8), (8, 8))
    mixed = attended(net, rows)
    after = net("Relu", net("MatMul", mixed, net.normal(8, 12)))
    assert place(net, mixed) == graphs.Geometry((1, count, 8), (8, 8), None)
    assert place(net, after, after) == graphs.Geometry((1, count, 12), (8, 8), None)
    assert measured(net, mixed) == 32
    head = net("Gather", mixed, [0], axis=1)
    assert place(net, head) == graphs.Geometry((1, 1, 8), None, None)


def test_tokens_that_are_mixed_by_a_matrix_see_the_whole_image():
    net = Net(size=32)
    rows = tokens(net, class_token=False)
    turned = net("MatMul", net("Transpose", rows, perm=[0, 2, 1]), net.normal(16, 16))
    mixed = net("Add", rows, net("Transpose", turned, perm=[0, 2, 1]))
    assert place(net, mixed) == graphs.Geometry((1, 16, 8), (8, 8), None)


def test_tokens_become_an_image_again():
    net = Net(size=32)
    rows = net("Slice", attended(net, tokens(net)), [1], [17], [1])
    image = net("Reshape", net("Transpose", rows, perm=[0, 2, 1]), [0, 8, 4, 4])
    assert place(net, image) == graphs.Geometry((1, 8, 4, 4), (8, 8), None)


def test_the_axes_of_the_places_are_known():
    net = Net(size=32)
    value = net.conv("x", 4, 3, stride=2)
    last = net("Transpose", value, perm=[0, 2, 3, 1])
    assert place(net, value).axes == (2, 3)
    assert place(net, last).axes == (1, 2)
    assert place(net, net("Flatten", value)).axes == ()


def test_a_product_without_places_sees_the_whole_image():
    net = Net(size=32)
    dense = net.classifier(net.conv("x", 4, 3))
    assert place(net, dense) == graphs.Geometry((1, 10), None, None)
    flat = net("Flatten", net.conv("x", 4, 3))
    assert place(net, net("Gemm", flat, net.normal(4096, 5))) == graphs.Geometry((1, 5), None, None)


def test_einsum_is_a_product():
    net = Net(size=32)
    last = net("Transpose", net.conv("x", 4, 3, stride=2), perm=[0, 2, 3, 1])
    same = net("Einsum", last, net.normal(4, 6), equation="nhwc,cd->nhwd")
    assert place(net, same) == graphs.Geometry((1, 16, 16, 6), (2, 2), (3, 3))
    assert place(net, net("Einsum", last, net.normal(16, 6), equation="nhwc,hd->nwcd")).stride is None


def test_each_output_of_a_split_has_the_place():
    net = Net()
    left, right = net("Split", net.conv("x", 8, 3, stride=2), axis=1, outputs=2)
    assert place(net, right, left, right) == graphs.Geometry((1, 4, 16, 16), (2, 2), (3, 3))
