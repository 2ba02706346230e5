"""Which layers a layer is computed from, as the layer browser draws them."""

import numpy as np
import pytest
from onnx import helper

from tests.conftest import tiny_graph, write_onnx
from tfinvert.networks.load import load
from tfinvert.networks.onnx import Graph
from tfinvert.system.errors import InputError


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
    first, second, third = list(residual.layers)[:1] + [name for name in residual.layers if name.startswith("conv")][1:]
    found = residual.connections([first, second, third])
    assert found[first] == ()
    assert found[second] == (first,)
    assert set(found[third]) == {first, second}


def test_a_layer_that_is_not_there_is_named(residual):
    with pytest.raises(InputError, match="conv9_9"):
        residual.connections(["conv9_9"])
