import numpy as np
import pytest
from onnx import helper

from tfinvert.networks import onnx as graphs
from tfinvert.system.errors import InputError


def test_geometry_of_a_chain(tiny):
    actual = graphs.geometry(graphs.tidy(tiny()))
    assert actual["relu1"] == graphs.Geometry((1, 4, 16, 16), (1, 1), (3, 3))
    assert actual["pool1"] == graphs.Geometry((1, 4, 8, 8), (2, 2), (4, 4))
    assert actual["relu2"] == graphs.Geometry((1, 5, 8, 8), (2, 2), (8, 8))
    assert actual["fc"] == graphs.Geometry((1, 6), None, None)


def test_geometry_of_blocks_dilations_and_branches():
    """Blocks of 2 x 2 pixels; windows of 3 of them, every second; the sum sees what its widest branch sees."""
    nodes = (
        helper.make_node("SpaceToDepth", ["x"], ["blocks"], blocksize=2),
        helper.make_node("Conv", ["blocks", "k"], ["conv"], dilations=[2, 2], pads=[2] * 4),
        helper.make_node("Add", ["blocks", "conv"], ["sum"]),
    )
    graph = graphs.Graph(nodes, {"k": np.zeros((12, 12, 3, 3), np.float32)}, "x", (16, 24), ("sum",), 13)
    places = graphs.geometry(graph)
    assert places["x"] == graphs.Geometry((1, 3, 16, 24), (1, 1), (1, 1))
    assert places["blocks"] == graphs.Geometry((1, 12, 8, 12), (2, 2), (2, 2))
    assert places["conv"] == places["sum"] == graphs.Geometry((1, 12, 8, 12), (2, 2), (10, 10))


def test_operations_are_counted(tiny):
    """Two for each multiply-add: 16 x 16 places of 4 x 3 x 3 x 3, 8 x 8 of 5 x 4 x 3 x 3, and 6 x 320."""
    assert graphs.operations(graphs.tidy(tiny())) == 2 * (256 * 108 + 64 * 180 + 6 * 320)


def test_another_size_is_refused_where_a_dense_layer_needs_the_old_one(tiny):
    tidy = graphs.tidy(tiny())
    with pytest.raises(InputError, match="takes 320 values, and images of 20x20 pixels give 500"):
        graphs.shapes(graphs.resized(tidy, (20, 20)))
    assert graphs.shapes(graphs.cut(graphs.resized(tidy, (20, 24)), ["relu2"]))["relu2"] == (1, 5, 10, 12)


def side(model, value):
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_value = value


def test_an_image_beyond_measure_is_refused_unless_it_is_resized(tiny):
    model = tiny().proto(batch=1)
    side(model, 10**6)
    graph = graphs.cut(graphs.from_proto(model, "net.onnx"), ["relu1"])
    with pytest.raises(InputError, match="images of 1000000x16 pixels; give a --size of 2048 at most"):
        graphs.shapes(graph)
    assert graphs.shapes(graphs.resized(graph, (16, 16)))["relu1"] == (1, 4, 16, 16)
