import dataclasses

import numpy as np
import pytest
from onnx import helper

from tests.networks.onnx.conftest import run
from tfinvert.networks import onnx as graphs
from tfinvert.system.errors import InputError


def test_tidying_changes_no_value_and_keeps_dropped_names_as_aliases(tiny, image):
    tidy = graphs.tidy(tiny())
    assert "Dropout" not in {n.op_type for n in tidy.nodes}
    assert tidy.resolve("drop2") == "relu2"
    assert next(graphs.attributes(n)["axis"] for n in tidy.nodes if n.op_type == "Flatten") == 1
    np.testing.assert_array_equal(run(tidy, image)["fc"], run(tiny(), image)["fc"])


def test_a_reshape_to_batch_and_rest_becomes_a_flatten(tiny, image):
    graph = tiny()
    nodes = [n if n.op_type != "Flatten" else helper.make_node("Reshape", ["drop2", "to"], ["flat"]) for n in graph.nodes]
    with_reshape = dataclasses.replace(
        graph, nodes=tuple(nodes), weights={**graph.weights, "to": np.array([1, 320], np.int64)}, opset=9
    )
    tidy = graphs.tidy(with_reshape)
    assert [n.op_type for n in tidy.nodes if n.output[0] == "flat"] == ["Flatten"]
    np.testing.assert_array_equal(run(tidy, image)["fc"], run(graph, image)["fc"])


def test_cutting_keeps_only_what_is_needed(tiny):
    part = graphs.cut(graphs.tidy(tiny()), ["pool1"])
    assert [n.op_type for n in part.nodes] == ["Conv", "BatchNormalization", "Relu", "MaxPool"]
    assert set(part.weights) == {"k1", "gamma", "beta", "mean", "variance"}
    assert part.outputs == ("pool1",)


def test_an_unknown_tensor_is_answered_with_the_known_ones(tiny):
    with pytest.raises(InputError, match="unknown tensor 'relu9'; expected one of: relu"):
        graphs.cut(graphs.tidy(tiny()), ["relu9"])


def test_average_pooling_replaces_max_pooling(tiny, image):
    part = graphs.cut(graphs.tidy(tiny()), ["relu1", "pool1"])
    values = run(graphs.with_pooling(part, "avg"), image)
    expected = values["relu1"].reshape(1, 4, 8, 2, 8, 2).mean(axis=(3, 5))
    np.testing.assert_allclose(values["pool1"], expected, rtol=1e-5)
    assert graphs.with_pooling(part, "max") is part
