import dataclasses

import numpy as np
import pytest
from onnx import helper

from tests.networks.onnx.conftest import run
from tfinvert.networks import onnx as graphs
from tfinvert.networks import random_weights, zoo

STEMS = [  # those of ResNet, AlexNet (torchvision, BVLC), SqueezeNet (torchvision, Gluon), VGG, and less usual ones
    {"kernel_shape": [7, 7], "strides": [2, 2], "pads": [3, 3, 3, 3]},
    {"kernel_shape": [11, 11], "strides": [4, 4], "pads": [2, 2, 2, 2]},
    {"kernel_shape": [11, 11], "strides": [4, 4]},
    {"kernel_shape": [3, 3], "strides": [2, 2]},
    {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]},
    {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]},
    {"kernel_shape": [4, 6], "strides": [4, 4], "pads": [0, 2, 1, 3]},
    {"kernel_shape": [4, 6], "pads": [0, 2, 1, 3]},
    {"kernel_shape": [5, 2]},
    {"kernel_shape": [4, 3], "auto_pad": "SAME_LOWER"},
    {"kernel_shape": [5, 5], "strides": [2, 2], "auto_pad": "SAME_UPPER"},
    {"kernel_shape": [5, 5], "strides": [2, 2], "auto_pad": "SAME_LOWER"},
    {"kernel_shape": [1, 1], "strides": [2, 2], "auto_pad": "VALID"},
]


@pytest.mark.parametrize("opset", [9, 13])
@pytest.mark.parametrize("size", [(32, 32), (33, 34), (35, 31), (64, 37)], ids=str)
@pytest.mark.parametrize("options", STEMS, ids=str)
def test_stems_are_rewritten_to_the_same_values(options, size, opset):
    rng = np.random.default_rng(0)
    weights = {
        "k": rng.standard_normal((5, 3, *options["kernel_shape"])).astype(np.float32),
        "b": rng.standard_normal(5).astype(np.float32),
    }
    node = helper.make_node("Conv", ["x", "k", "b"], ["y"], **options)
    graph = graphs.Graph(nodes=(node,), weights=weights, image="x", size=size, outputs=("y",), opset=opset)
    image = rng.standard_normal((1, 3, *size)).astype(np.float32)
    np.testing.assert_allclose(run(graphs.fold(graph), image)["y"], run(graph, image)["y"], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("model", "taps"), [("resnet18", 4), ("alexnet", 3), ("squeezenet1.1", 2)])
def test_the_stems_of_known_networks_have_stride_1(model, taps):
    topology = zoo.MODELS[model].topology()
    whole = graphs.tidy(topology)
    part = random_weights.filled(graphs.cut(whole, [whole.nodes[0].output[0]]), np.zeros((2, 3, *whole.size), np.float32))
    depth, stem = graphs.fold(part).nodes[-2:]
    assert (depth.op_type, stem.op_type) == ("SpaceToDepth", "Conv")
    assert graphs.attributes(stem)["kernel_shape"] == [taps, taps]
    assert graphs.attributes(stem)["strides"] == [1, 1]


def test_a_stem_of_stride_1_has_windows_of_one_column():
    whole = graphs.tidy(zoo.MODELS["vgg16-bn"].topology())
    part = random_weights.filled(graphs.cut(whole, [whole.nodes[2].output[0]]), np.zeros((2, 3, *whole.size), np.float32))
    row, columns, relu = graphs.fold(part).nodes
    assert [graphs.attributes(node)["kernel_shape"] for node in (row, columns)] == [[1, 3], [3, 1]]
    assert [node.op_type for node in graphs.fold(part, stems=False).nodes] == ["Conv", relu.op_type]


def test_only_convolutions_of_the_image_are_rewritten(tiny):
    later = helper.make_node("Conv", ["relu1", "k2", "b2"], ["y"], strides=[2, 2])
    tidy = graphs.tidy(tiny())
    graph = graphs.cut(dataclasses.replace(tidy, nodes=(*tidy.nodes, later)), ["y", "pool1"])
    assert len(graphs.fold(graph).nodes) == len(graphs.fold(graph, stems=False).nodes) + 1  # the first convolution becomes two
    assert "SpaceToDepth" not in {node.op_type for node in graphs.fold(graph).nodes}
