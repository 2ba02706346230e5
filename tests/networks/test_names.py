from pathlib import Path

import onnx.backend.test
import pytest
from onnx import helper

from tests.conftest import SHARED
from tfinvert.errors import InputError
from tfinvert.networks import topologies
from tfinvert.networks.names import layer_names, scores
from tfinvert.networks.onnx.graph import Graph, read, tidy

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
    found = names(topologies.vgg16_bn())
    assert list(found) == VGG16
    assert found["conv1_1"] == "vgg0_relu0_fwd"
    assert found["conv3_1"] == "vgg0_relu4_fwd"
    assert found["pool5"] == "vgg0_pool4_fwd"
    assert found["fc6"] == "vgg0_dense0_fwd"  # linear, before its ReLU


def test_resnet18_blocks_and_their_first_relu():
    found = names(topologies.resnet18())
    assert list(found) == RESNET18
    assert found["conv1"] == "resnetv15_relu0_fwd"
    assert found["middle0"] == "resnetv15_stage1_relu0_fwd"
    assert found["middle1"] == "resnetv15_stage1_relu1_fwd"  # inside the block whose output is res2
    assert found["res2"] == "resnetv15_stage1_activation1"
    assert found["res3"] == "resnetv15_stage2_activation0"
    assert found["fc"] == "resnetv15_dense0_fwd"


def test_squeezenet_fires_and_torchvision_indices():
    found = names(topologies.squeezenet1_1())
    assert [n for n in found if "/" not in n and not n.startswith("features")] == [*SQUEEZENET, "conv10", "pool10"]
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
        assert found[f"features.{index}"] == (found[name] if name else "squeezenet0_conv0_fwd")
    assert found["fire2/expand3x3"] == "squeezenet0_relu3_fwd"


def test_alexnet():
    found = names(topologies.alexnet())
    assert list(found) == ALEXNET
    assert (found["conv1"], found["norm1"], found["pool5"], found["fc6"]) == ("r1", "r2", "r14", "r16")


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
    found = names(read(LIGHT / f"light_{file}.onnx"))
    assert set(some) <= set(found)


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
    found = names(read(SHARED / "models" / f"{file}.onnx"))
    assert {name: found[name] for name in some} == some


def test_thousands_of_residual_additions_take_no_time_and_no_memory():
    nodes = [helper.make_node("Relu", ["x"], ["a"]), helper.make_node("Relu", ["a"], ["v0"])]
    nodes += [helper.make_node("Add", [f"v{n}", "a" if n < 1 else f"v{n - 1}"], [f"v{n + 1}"]) for n in range(4000)]
    graph = Graph(tuple(nodes), {}, "x", (16, 16), ("v4000",), 13)
    assert layer_names(graph)["res4000"] == "v4000"


def test_a_network_that_is_only_its_picture_has_no_scores():
    nodes = (helper.make_node("Flatten", ["x"], ["flat"], axis=1),)
    with pytest.raises(InputError, match="only its picture"):
        scores(Graph(nodes, {}, "x", (16, 16), ("flat",), 13))
