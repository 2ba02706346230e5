"""Which layers a layer is computed from, as the layer browser draws them."""

import numpy as np
import pytest
from onnx import helper

from tests.conftest import tiny_graph, write_onnx
from tfinvert.networks.load import load
from tfinvert.networks.onnx import Graph


@pytest.fixture(scope="module")
def residual(tmp_path_factory):
    """Two convolutions, and a third that reads the sum of both."""
    nodes, weights = [], {}
    for name, value, inside in (("a", "image", 3), ("b", "ar", 4), ("c", "sum", 4)):
        weights[f"{name}/k"] = np.full((4, inside, 3, 3), 0.1, np.float32)
        if name == "c":
            nodes.append(helper.make_node("Add", ["ar", "br"], ["sum"]))
        nodes.append(helper.make_node("Conv", [value, f"{name}/k"], [name], kernel_shape=[3, 3], pads=[1] * 4))
        nodes.append(helper.make_node("Relu", [name], [f"{name}r"]))
    graph = Graph(tuple(nodes), weights, "image", (16, 16), ("cr",), 13)
    return load(write_onnx(graph, tmp_path_factory.mktemp("residual") / "net.onnx"), preprocessing="none")


def test_a_chain_has_the_layer_before(tmp_path):
    network = load(write_onnx(tiny_graph(), tmp_path / "net.onnx"), preprocessing="none")
    assert network.connections(["conv1_1", "pool1", "conv2_1", "fc2"]) == {
        "conv1_1": (),
        "pool1": ("conv1_1",),
        "conv2_1": ("pool1",),
        "fc2": ("conv2_1",),
    }
    assert network.connections(["conv1_1", "fc2"]) == {"conv1_1": (), "fc2": ("conv1_1",)}  # past those between
    assert network.connections("conv2_1") == {"conv2_1": ()}


def test_a_connection_past_a_layer_is_there(residual):
    first, second, third = residual.layers
    assert residual.connections(residual.layers) == {first: (), second: (first,), third: (first, second)}


def test_what_is_no_layer_has_no_connections(residual):
    """A sweep may name tensors beside layers."""
    (first, *_) = residual.layers
    assert residual.connections([first, "ar", "scores"]) == {first: (), "ar": (), "scores": ()}
