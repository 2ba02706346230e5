"""Layers in one order of axes, wherever a network keeps its channels."""

import dataclasses

import numpy as np
import pytest
from onnx import helper

from tests.conftest import tiny_graph
from tfinvert.networks import names
from tfinvert.networks import onnx as graphs
from tfinvert.networks.conversion import verify

IMAGE = np.random.default_rng(0).uniform(0, 1, (1, 3, 8, 12)).astype(np.float32)


def network(*nodes):
    """A graph of these nodes behind a convolution of stride 2 to 5 channels, for images of 8x12 pixels."""
    kernel = np.random.default_rng(1).normal(size=(5, 3, 2, 2)).astype(np.float32)
    weights = {"kernel": kernel, "sides": np.array([1, 5, -1], np.int64)}
    first = helper.make_node("Conv", ["image", "kernel"], ["maps"], kernel_shape=[2, 2], strides=[2, 2])
    outputs = (nodes[-1].output[0],)
    return dataclasses.replace(
        tiny_graph(), nodes=(first, *nodes), weights=weights, outputs=outputs, image="image", size=(8, 12), opset=17
    )


CASES = {
    "channels last": ([helper.make_node("Transpose", ["maps"], ["out"], perm=[0, 2, 3, 1])], (4, 6, 5)),
    "channels between": ([helper.make_node("Transpose", ["maps"], ["out"], perm=[2, 0, 1, 3])], (4, 6, 5)),
    "tokens": (
        [
            helper.make_node("Reshape", ["maps", "sides"], ["flat"]),
            helper.make_node("Transpose", ["flat"], ["out"], perm=[0, 2, 1]),
        ],
        (24, 5),
    ),
    "tokens before the batch": (
        [
            helper.make_node("Reshape", ["maps", "sides"], ["flat"]),
            helper.make_node("Transpose", ["flat"], ["out"], perm=[2, 0, 1]),
        ],
        (24, 5),
    ),
    "tokens last": ([helper.make_node("Reshape", ["maps", "sides"], ["out"])], (24, 5)),
}


@pytest.mark.parametrize("case", CASES)
def test_places_come_before_channels(case):
    nodes, shape = CASES[case]
    graph = network(*nodes)
    layer = names.describe(graph, ["out"])["out"]
    assert (layer.tensor, layer.shape, layer.stride, layer.receptive_field) == ("out", shape, (2, 2), (2, 2))
    part, layers = graphs.in_one_order(graphs.settle(graphs.cut(graph, ["out"])), {"out": "out"})
    value = verify.channels_last(verify.reference(part, IMAGE)[layers["out"]])
    maps = verify.channels_last(verify.reference(graphs.cut(graph, ["maps"]), IMAGE)["maps"])
    np.testing.assert_array_equal(value, maps.reshape(1, *shape))
    assert graphs.original(layers["out"]) == "out"


def test_what_is_in_order_stays():
    graph = graphs.settle(graphs.cut(network(helper.make_node("Relu", ["maps"], ["out"])), ["out"]))
    assert graphs.in_one_order(graph, {"conv1": "out"}) == (graph, {"conv1": "out"})
