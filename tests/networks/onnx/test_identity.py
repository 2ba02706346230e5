"""Which file a network is: weights that lie in other files belong to it."""

import hashlib

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from tests.conftest import tiny_graph, write_onnx
from tfinvert.networks import onnx as graphs
from tfinvert.networks.conversion import cache
from tfinvert.networks.conversion.request import request
from tfinvert.system.errors import InputError


def keep_outside(path, seed):
    """The tiny network with its weights in a file beside it, as exporters write large ones."""
    path.parent.mkdir(exist_ok=True)
    model = tiny_graph(seed=seed).proto(batch=1)
    onnx.save(model, path, save_as_external_data=True, location="net.onnx.data", size_threshold=0)
    return path


def test_weights_in_another_file_are_part_of_what_identifies_a_network(tmp_path):
    first, second = (keep_outside(tmp_path / str(seed) / "net.onnx", seed) for seed in (1, 2))
    assert first.read_bytes() == second.read_bytes()
    assert graphs.checksum(first) != graphs.checksum(second)
    before = graphs.checksum(second)
    (second.parent / "net.onnx.data").write_bytes((first.parent / "net.onnx.data").read_bytes())
    assert graphs.checksum(second) == graphs.checksum(first) != before
    whole = write_onnx(tiny_graph(), tmp_path / "whole.onnx")
    assert graphs.checksum(whole) == hashlib.sha256(whole.read_bytes()).hexdigest()


@pytest.mark.parametrize("known", [False, True])
def test_weights_that_are_gone_are_missed_also_where_the_network_is_known(tmp_path, known):
    path = keep_outside(tmp_path / "net.onnx", 3)
    if known:
        graphs.checksum(path)
    (tmp_path / "net.onnx.data").unlink()
    with pytest.raises(InputError, match=r"'net\.onnx\.data', which is not there"):
        graphs.checksum(path)


def test_weights_of_a_constant_in_another_file_count_too(tmp_path):
    tensor = numpy_helper.from_array(np.ones(5, np.float32), "c")
    graph = tiny_graph()
    model = graph.proto(batch=1)
    model.opset_import[0].version = 11
    model.graph.node.insert(0, helper.make_node("Constant", [], ["c"], value=tensor))
    model.graph.node.append(helper.make_node("Mul", ["relu2", "c"], ["scaled"]))
    onnx.external_data_helper.set_external_data(model.graph.node[0].attribute[0].t, "c.bin")
    path = tmp_path / "net.onnx"
    path.write_bytes(model.SerializeToString())
    sums = set()
    for value in (b"\0" * 20, b"\1" * 20):
        (tmp_path / "c.bin").write_bytes(value)
        sums.add(graphs.checksum(path))
    assert len(sums) == 2


def test_a_cached_conversion_is_not_taken_for_other_weights(tmp_path):
    settings = {"model": "vgg16-bn", "weights": "auto", "layers": ("conv1_1",), "size": None, "pool": "max"}
    paths = [keep_outside(tmp_path / str(seed) / "net.onnx", seed) for seed in (1, 2)]
    first, second = (cache.entry_folder(request(onnx=str(path), **settings)) for path in paths)
    assert first != second
    (paths[0].parent / "net.onnx.data").unlink()
    with pytest.raises(InputError, match="which is not there"):
        request(onnx=str(paths[0]), **settings)
