"""What is done to an image before the network, and how it goes into the kernels."""

import dataclasses

import numpy as np
import onnx
import pytest

from tests.conftest import tiny_graph
from tfinvert.networks import onnx as graphs
from tfinvert.networks.conversion import verify
from tfinvert.networks.preprocessing import PREPROCESSING, into_kernels, network_input


def test_the_formulas():
    image = np.array([1.0, 0.5, 0.0], np.float32).reshape(1, 1, 1, 3)
    expected = {
        "torch": [(1 - 0.485) / 0.229, (0.5 - 0.456) / 0.224, (0 - 0.406) / 0.225],
        "caffe": [0 - 104.00698793, 127.5 - 116.66876762, 255 - 122.67891434],
        "tf": [1, 0, -1],
        "-1..1": [1, 0, -1],
        "0..255": [255, 127.5, 0],
        "none": [1, 0.5, 0],
    }
    assert expected.keys() == PREPROCESSING.keys()
    for name, values in expected.items():
        prepared = network_input(image, PREPROCESSING[name])
        assert (prepared.shape, prepared.dtype) == ((1, 3, 1, 1), np.float32)
        np.testing.assert_allclose(prepared.ravel(), values, rtol=1e-5)


@pytest.mark.parametrize("name", PREPROCESSING)
def test_scale_and_order_of_the_colors_go_into_the_kernels(name):
    graph = graphs.cut(tiny_graph(), ["conv1"])
    changed, left = into_kernels(graph, PREPROCESSING[name])
    assert (left.channels, left.scale) == ((0, 1, 2), (1.0, 1.0, 1.0))
    image = np.random.default_rng(0).uniform(0, 1, (1, 16, 16, 3)).astype(np.float32)
    expected = verify.reference(graph, network_input(image, PREPROCESSING[name]))["conv1"]
    value = verify.reference(changed, network_input(image, left))["conv1"]
    np.testing.assert_allclose(value, expected, atol=1e-5 * np.abs(expected).max())


def test_nothing_changes_where_other_nodes_than_convolutions_read_the_image():
    graph = tiny_graph()
    first = onnx.helper.make_node("Relu", [graph.image], ["positive"])
    nodes = [graphs.remake(n, inputs=["positive" if i == graph.image else i for i in n.input]) for n in graph.nodes]
    part = dataclasses.replace(graph, nodes=(first, *nodes))
    assert into_kernels(part, PREPROCESSING["caffe"]) == (part, PREPROCESSING["caffe"])
