import numpy as np
import onnx
import pytest
from onnx import helper

from tests.conftest import tiny_graph, write_onnx
from tests.networks.onnx.conftest import external, run, save
from tfinvert.networks import onnx as graphs
from tfinvert.system.errors import InputError


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


def with_functions(path, bodies):
    """The tiny graph as a file whose ReLUs call the first of some functions: name -> operators, or functions, in a row."""
    model = tiny_graph().proto(batch=1)
    model.opset_import.append(helper.make_opsetid("mine", 1))
    for name, operators in bodies.items():
        tensors = ["a", *(f"t{number}" for number in range(len(operators) - 1)), "b"]
        nodes = [
            helper.make_node(operator, [tensors[number]], [tensors[number + 1]], domain="mine" if operator in bodies else "")
            for number, operator in enumerate(operators)
        ]
        model.functions.append(helper.make_function("mine", name, ["a"], ["b"], nodes, model.opset_import))
    for node in model.graph.node:
        if node.op_type == "Relu":
            node.op_type, node.domain = next(iter(bodies)), "mine"
    onnx.save(model, path)
    return path


def test_the_functions_of_a_file_are_read(tmp_path):
    nodes = graphs.read(with_functions(tmp_path / "own.onnx", {"Act": ["Inner"], "Inner": ["Relu"]})).nodes
    assert [node.op_type for node in nodes] == [node.op_type for node in tiny_graph().nodes]


def test_functions_without_an_end_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"own.onnx: the functions in it cannot be used \(Act calls itself\)"):
        graphs.read(with_functions(tmp_path / "own.onnx", {"Act": ["Inner"], "Inner": ["Act"]}))
    many = {f"F{number}": [f"F{number + 1}"] * 10 for number in range(9)} | {"F9": ["Relu"]}
    with pytest.raises(
        InputError, match=r"has 2000000[0-9]+ nodes, those of its functions counted too; expected at most 10000"
    ):
        graphs.read(with_functions(tmp_path / "own.onnx", many))
