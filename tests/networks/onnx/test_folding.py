import numpy as np
import pytest
from onnx import helper

from tests.networks.onnx.conftest import run
from tfinvert.networks import onnx as graphs


def test_folding_gives_the_same_values_without_a_batch_norm(tiny, image):
    tidy = graphs.tidy(tiny())
    layers = ["norm1", "relu1", "pool1", "relu2", "fc"]
    folded = graphs.fold(graphs.cut(tidy, layers))
    assert "BatchNormalization" not in {n.op_type for n in folded.nodes}
    expected, actual = run(graphs.cut(tidy, layers), image), run(folded, image)
    for layer in layers:
        np.testing.assert_allclose(actual[layer], expected[layer], rtol=1e-4, atol=1e-5)


def test_an_output_is_not_folded_away(tiny, image):
    tidy = graphs.tidy(tiny())
    folded = graphs.fold(graphs.cut(tidy, ["conv1", "relu1"]))
    assert "BatchNormalization" in {n.op_type for n in folded.nodes}
    expected = run(graphs.cut(tidy, ["conv1"]), image)["conv1"]
    np.testing.assert_allclose(run(folded, image)["conv1"], expected, rtol=1e-5, atol=1e-6)


POOLS = [
    {"kernel_shape": [3, 3], "strides": [2, 2]},
    {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]},
    {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1},
    {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [0, 0, 1, 1]},
    {"kernel_shape": [3, 3], "strides": [1, 1], "pads": [1, 1, 1, 1]},
    {"kernel_shape": [2, 2], "strides": [2, 2]},
    {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1], "count_include_pad": 1},
]


@pytest.mark.parametrize("operator", ["MaxPool", "AveragePool", "Conv"])
@pytest.mark.parametrize("size", [15, 16, 17])
@pytest.mark.parametrize("options", POOLS, ids=str)
def test_paddings_are_rewritten_to_the_same_windows(options, size, operator):
    options = {k: v for k, v in options.items() if operator == "AveragePool" or k != "count_include_pad"}
    if operator == "Conv":
        options = {k: v for k, v in options.items() if k != "ceil_mode"}
    kernel = np.random.default_rng(0).standard_normal((2, 3, *options["kernel_shape"])).astype(np.float32)
    inputs = ["x", "k"] if operator == "Conv" else ["x"]
    graph = graphs.Graph(
        nodes=(helper.make_node(operator, inputs, ["y"], **options),),
        weights={"k": kernel} if operator == "Conv" else {},
        image="x",
        size=(size, size),
        outputs=("y",),
        opset=13,
    )
    image = np.random.default_rng(1).standard_normal((1, 3, size, size)).astype(np.float32)
    np.testing.assert_allclose(run(graphs.fold(graph), image)["y"], run(graph, image)["y"], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("options", [{"kernel_shape": [2, 2], "strides": [2, 2]}, {"kernel_shape": [3, 2]}], ids=str)
def test_small_average_pools_can_be_convolutions(options):
    node = helper.make_node("AveragePool", ["x"], ["y"], **options)
    graph = graphs.Graph(nodes=(node,), weights={}, image="x", size=(9, 8), outputs=("y",), opset=13)
    (made,) = graphs.fold(graph, pools=True).nodes
    assert made.op_type == "Conv"
    assert [n.op_type for n in graphs.fold(graph).nodes] == ["AveragePool"]
    image = np.random.default_rng(0).standard_normal((1, 3, 9, 8)).astype(np.float32)
    np.testing.assert_allclose(run(graphs.fold(graph, pools=True), image)["y"], run(graph, image)["y"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("changes", [{"kernel_shape": [4, 4]}, {"pads": [1, 1, 1, 1]}], ids=str)
def test_large_and_padded_average_pools_stay(changes):
    node = helper.make_node("AveragePool", ["x"], ["y"], **{"kernel_shape": [3, 3], "strides": [2, 2], **changes})
    graph = graphs.Graph(nodes=(node,), weights={}, image="x", size=(9, 9), outputs=("y",), opset=13)
    assert "Conv" not in {n.op_type for n in graphs.fold(graph, pools=True).nodes}


def test_gelu_is_spelled_out_unless_it_is_approximate():
    image = 3 * np.random.default_rng(0).standard_normal((1, 3, 9, 8)).astype(np.float32)
    for options, kinds in (({}, ["Mul", "Erf", "Mul", "Add", "Mul"]), ({"approximate": "tanh"}, ["Gelu"])):
        node = helper.make_node("Gelu", ["x"], ["y"], **options)
        graph = graphs.Graph(nodes=(node,), weights={}, image="x", size=(9, 8), outputs=("y",), opset=20)
        assert [n.op_type for n in graphs.fold(graph).nodes] == kinds
        np.testing.assert_allclose(run(graphs.fold(graph), image)["y"], run(graph, image)["y"], rtol=1e-5, atol=1e-6)
