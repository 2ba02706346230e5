import numpy as np
from onnx import helper

from tests.conftest import write_onnx
from tests.networks.onnx.conftest import external, run, save
from tfinvert.networks import onnx as graphs


def test_reading_leaves_the_file_as_it_is_and_gives_the_same_network(tiny, tmp_path, image):
    path = write_onnx(tiny(), tmp_path / "net.onnx")
    before = path.read_bytes(), path.stat().st_mtime_ns
    read = graphs.read(path)
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before
    assert read.size == (16, 16)
    np.testing.assert_array_equal(run(read, image)["fc"], run(tiny(), image)["fc"])


def test_a_graph_is_written_and_read_back(tiny, tmp_path, image):
    folded = graphs.fold(graphs.cut(graphs.tidy(tiny()), ["relu2"]))
    graphs.write(folded, tmp_path / "net.onnx")
    np.testing.assert_array_equal(run(graphs.read(tmp_path / "net.onnx"), image)["relu2"], run(folded, image)["relu2"])


def test_external_weights_in_the_folder_are_read(tmp_path):
    kernel = np.random.default_rng(0).standard_normal((4, 3, 3, 3)).astype(np.float32)
    conv = helper.make_node("Conv", ["x", "k"], ["y"])
    (tmp_path / "weights.bin").write_bytes(kernel.tobytes())
    read = graphs.read(save(tmp_path / "net.onnx", [conv], [external("weights.bin")]))
    np.testing.assert_array_equal(read.weights["k"], kernel)
