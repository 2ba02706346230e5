from pathlib import Path

import onnx.backend.test
import pytest
from onnx import helper

from tests.conftest import SHARED
from tests.networks.nets import Net
from tfinvert.networks import topologies, zoo
from tfinvert.networks.conversion.process import Conversion
from tfinvert.networks.conversion.request import request
from tfinvert.networks.names import describe, last_features, layer_names, resolve_layers, scores
from tfinvert.networks.onnx import Graph, read, resized, tidy
from tfinvert.system.errors import InputError

LIGHT = Path(onnx.backend.test.__file__).parent / "data" / "light"
VGG16 = [
    *("conv1_1", "conv1_2", "pool1", "conv2_1", "conv2_2", "pool2", "conv3_1", "conv3_2", "conv3_3", "pool3"),
    *("conv4_1", "conv4_2", "conv4_3", "pool4", "conv5_1", "conv5_2", "conv5_3", "pool5", "fc6", "fc7", "fc8"),
]
ALEXNET = ["conv1", "norm1", "pool1", "conv2", "norm2", "pool2", "conv3", "conv4", "conv5", "pool5", "fc6", "fc7", "fc8"]
RESNET18 = ["conv1", "pool1", *(n for k in range(8) for n in (f"middle{k}", f"res{k + 1}")), "avgpool", "fc"]
SQUEEZENET = ["conv1", "pool1", "fire2", "fire3", "pool3", "fire4", "fire5", "pool5", "fire6", "fire7", "fire8", "fire9"]


def names(graph):
    return layer_names(tidy(graph))


def test_vgg16_bn_names_the_value_after_the_relu():
    actual = names(topologies.vgg16_bn())
    assert list(actual) == VGG16
    assert actual["conv1_1"] == "vgg0_relu0_fwd"
    assert actual["conv3_1"] == "vgg0_relu4_fwd"
    assert actual["pool5"] == "vgg0_pool4_fwd"
    assert actual["fc6"] == "vgg0_dense0_fwd"  # linear, before its ReLU


def test_resnet18_blocks_and_their_first_relu():
    actual = names(topologies.resnet18())
    assert list(actual) == RESNET18
    assert actual["conv1"] == "resnetv15_relu0_fwd"
    assert actual["middle0"] == "resnetv15_stage1_relu0_fwd"
    assert actual["middle1"] == "resnetv15_stage1_relu1_fwd"  # inside the block whose output is res2
    assert actual["res2"] == "resnetv15_stage1_activation1"
    assert actual["res3"] == "resnetv15_stage2_activation0"
    assert actual["fc"] == "resnetv15_dense0_fwd"


def test_squeezenet_fires_and_torchvision_indices():
    actual = names(topologies.squeezenet1_1())
    assert [n for n in actual if "/" not in n and not n.startswith("features")] == [*SQUEEZENET, "conv10", "pool10"]
    same = {
        0: None,
        1: "conv1",
        2: "pool1",
        3: "fire2",
        4: "fire3",
        5: "pool3",
        6: "fire4",
        7: "fire5",
        8: "pool5",
        12: "fire9",
    }
    for index, name in same.items():
        assert actual[f"features.{index}"] == (actual[name] if name else "squeezenet0_conv0_fwd")
    assert actual["fire2/expand3x3"] == "squeezenet0_relu3_fwd"


def test_alexnet():
    actual = names(topologies.alexnet())
    assert list(actual) == ALEXNET
    assert (actual["conv1"], actual["norm1"], actual["pool5"], actual["fc6"]) == ("r1", "r2", "r14", "r16")


@pytest.mark.parametrize(
    ("file", "some"),
    [
        ("bvlc_alexnet", ALEXNET),
        ("zfnet512", ALEXNET),
        ("vgg19", ["conv3_4", "conv5_4", "pool5", "fc8"]),
        ("squeezenet", [*SQUEEZENET, "conv10"]),
        ("resnet50", ["conv1", "pool1", "res1", "res16", "middle15", "fc"]),
    ],
)
def test_graphs_that_others_wrote(file, some):
    actual = names(read(LIGHT / f"light_{file}.onnx"))
    assert set(some) <= set(actual)


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared/data, which is not there")
@pytest.mark.parametrize(
    ("file", "some"),
    [
        ("alexnet-torchvision-trunk", {"conv1": "/features.1/Relu_output_0", "pool5": "/features.12/MaxPool_output_0"}),
        ("resnet18-torchvision-trunk", {"middle1": "/layer1.1/relu/Relu_output_0", "res6": "/layer3.1/relu_1/Relu_output_0"}),
        ("squeezenet1.1-gluon", {"fire9": "squeezenet0_concat7", "conv10": "squeezenet0_relu25_fwd"}),
        ("squeezenet1_1-torchvision", {"features.3": "/features.3/Concat_output_0", "features.0": "/features.0/Conv_output_0"}),
        ("vgg16-torchvision-stem", {"conv1_1": "/features.1/Relu_output_0", "pool2": "/features.9/MaxPool_output_0"}),
    ],
)
def test_other_spellings(file, some):
    actual = names(read(SHARED / "models" / f"{file}.onnx"))
    assert {name: actual[name] for name in some} == some


def test_thousands_of_residual_additions_take_no_time_and_no_memory():
    nodes = [helper.make_node("Relu", ["x"], ["a"]), helper.make_node("Relu", ["a"], ["v0"])]
    nodes += [helper.make_node("Add", [f"v{n}", "a" if n < 1 else f"v{n - 1}"], [f"v{n + 1}"]) for n in range(4000)]
    graph = Graph(tuple(nodes), {}, "x", (16, 16), ("v4000",), 13)
    assert layer_names(graph)["res4000"] == "v4000"


def test_a_network_that_is_only_its_image_has_no_scores():
    nodes = (helper.make_node("Flatten", ["x"], ["flat"], axis=1),)
    with pytest.raises(InputError, match="only its image"):
        scores(Graph(nodes, {}, "x", (16, 16), ("flat",), 13))


def test_layers_are_named_by_layer_tensor_and_purpose():
    graph = tidy(topologies.squeezenet1_1())
    layers = resolve_layers(graph, ["scores", "last", "fire9", "squeezenet0_pool1_fwd", "squeezenet0_dropout0_fwd"])
    assert layers == {
        "scores": scores(graph),
        "last": last_features(graph),
        "fire9": "squeezenet0_concat7",
        "squeezenet0_pool1_fwd": "squeezenet0_pool1_fwd",
        "squeezenet0_dropout0_fwd": "squeezenet0_concat7",  # which the tidied graph no longer has
    }
    assert resolve_layers(graph) == layer_names(graph)


def test_an_unknown_layer_is_answered_with_the_nearest_first():
    with pytest.raises(InputError, match="unknown layer 'res9'; expected one of: res8, "):
        resolve_layers(tidy(topologies.resnet18()), ["res9"])


def test_a_network_of_no_named_layers_needs_names_of_tensors():
    graph = Graph((helper.make_node("Relu", ["x"], ["y"]),), {}, "x", (16, 16), ("y",), 13)
    assert resolve_layers(graph, ["y"]) == {"y": "y"}
    with pytest.raises(InputError, match="no layers with names of their own"):
        resolve_layers(graph)


def test_layers_are_described_by_tensor_shape_stride_and_receptive_field():
    """Worked out by hand: 7x7 windows of stride 2, 3x3 of stride 2, and two 3x3 in each of two blocks."""
    graph = resized(tidy(topologies.resnet18()), (64, 96))
    layers = describe(graph, ["res2", "conv1", "pool1", "fc"])
    assert list(layers.items()) == [
        ("res2", ("resnetv15_stage1_activation1", (16, 24, 64), (4, 4), (43, 43))),
        ("conv1", ("resnetv15_relu0_fwd", (32, 48, 64), (2, 2), (7, 7))),
        ("pool1", ("resnetv15_pool0_fwd", (16, 24, 64), (4, 4), (11, 11))),
        ("fc", ("resnetv15_dense0_fwd", (1000,), None, None)),
    ]


@pytest.mark.parametrize(("model", "pool"), [("resnet18", "max"), pytest.param("squeezenet1.1", "avg", marks=pytest.mark.slow)])
def test_layers_are_described_as_the_converting_process_reports_them(model, pool):
    graph = resized(tidy(zoo.model(model).topology()), (64, 64))
    layers = describe(graph, pool=pool)
    assert list(layers) == list(layer_names(graph))
    asked = request(
        model=model, onnx=None, weights="random", layers=tuple(layers), size=(64, 64), pool=pool, preprocessing="torch"
    )
    with Conversion(asked) as conversion:
        reported = conversion.result().layers
    assert {layer.name: (layer.tensor, layer.shape, layer.stride, layer.receptive_field) for layer in reported} == layers


def test_named_layers_that_do_not_fit_the_size_are_refused():
    graph = resized(tidy(topologies.alexnet()), (64, 64))
    assert list(describe(graph)) == ALEXNET[:-3]
    with pytest.raises(InputError, match="64x64 pixels"):
        describe(graph, ["conv1", "fc6"])
    with pytest.raises(InputError, match="2x2 pixels"):
        describe(resized(graph, (2, 2)))


@pytest.mark.parametrize("kind", ["AveragePool", "MaxPool"])
def test_a_pool_of_one_value_is_no_pool(kind):
    """torchvision's adaptive pool before the dense layers, at the size that VGG and AlexNet are for."""
    net = Net()
    value = net.relu_conv(net.relu_conv("x", 4, 3), 4, 3)
    pool = net("MaxPool", value, kernel_shape=[2, 2], strides=[2, 2])
    same = net(kind, pool, kernel_shape=[1, 1], strides=[1, 1])
    for width in (16, 10):
        flat = net("Flatten", same) if width == 16 else same
        same = net("Gemm", flat, net.normal(width, 4 * 16 * 16 if width == 16 else 16), net.normal(width), transB=1)
    graph = net.graph(same)
    assert list(names(graph)) == ["conv1_1", "conv1_2", "pool1", "fc2", "fc3"]
    assert resolve_layers(tidy(graph), ["t5"]) == {"t5": pool}


def test_a_pool_that_only_drops_values_is_one():
    net = Net()
    value = net.relu_conv(net.relu_conv("x", 4, 3), 4, 3)
    assert "pool1" in names(net.graph(net("MaxPool", value, kernel_shape=[1, 1], strides=[2, 2])))


def test_a_second_pool_without_a_convolution_between_does_not_count():
    """VGG for images of 448 pixels, whose adaptive pool takes 14 x 14 values to 7 x 7."""
    net = Net()
    value = net.relu_conv(net.relu_conv("x", 4, 3), 4, 3)
    for kind in ("MaxPool", "AveragePool"):
        value = net(kind, value, kernel_shape=[2, 2], strides=[2, 2])
    dense = net("Gemm", net("Flatten", value), net.normal(10, 256), net.normal(10), transB=1)
    assert list(names(net.graph(dense))) == ["conv1_1", "conv1_2", "pool1", "avgpool", "fc2"]
