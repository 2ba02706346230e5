import dataclasses
import os

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from tests.conftest import write_onnx
from tests.networks.onnx.conftest import external, save
from tfinvert.networks import onnx as graphs
from tfinvert.system.errors import InputError

CONV = helper.make_node("Conv", ["x", "k"], ["y"], name="first")


def use(graph, *tensors):
    """A graph as far as these tensors, or its outputs, need it."""
    return graphs.settle(graphs.cut(graph, tensors or graph.outputs))


@pytest.mark.parametrize("location", ["../weights.bin", "/etc/passwd", "a/../../b"])
def test_external_weights_outside_the_folder_are_refused(tmp_path, location):
    with pytest.raises(InputError, match="outside the model's folder"):
        use(graphs.read(save(tmp_path / "net.onnx", [CONV], [external(location)])))


@pytest.mark.parametrize("location", ["a\0b", "x" * 9000, "loop"])
def test_external_weights_at_no_place_are_refused(location, tiny, tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    model = tiny().proto(batch=1)
    tensor = model.graph.initializer[0]
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    with pytest.raises(InputError, match="is kept in"):
        use(graphs.from_proto(model, "net.onnx", tmp_path))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 9\n", "Git LFS pointer"),
        (b"", "holds no network"),
        (b"hello, this is no network at all", "not a whole ONNX file"),
        (None, "cannot read the network"),
    ],
)
def test_files_that_are_no_network(tmp_path, content, message):
    path = tmp_path / "net.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        graphs.read(path)


def test_a_pipe_in_the_place_of_a_network_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "net.onnx")
    with pytest.raises(InputError, match="it is no regular file"):
        graphs.read(tmp_path / "net.onnx")


def test_a_truncated_network_is_named(tiny, tmp_path):
    path = write_onnx(tiny(), tmp_path / "net.onnx")
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(InputError, match="not a whole ONNX file"):
        graphs.read(path)


def test_an_unsupported_operator_is_named_with_its_node(tmp_path):
    node = helper.make_node("Hardmax", ["x"], ["y"], name="strange")
    with pytest.raises(InputError, match="node 'strange' uses the operator Hardmax, which tfinvert does not convert"):
        use(graphs.read(save(tmp_path / "net.onnx", [node])))


@pytest.mark.parametrize(
    "above", [("Hardmax", "", {}), ("NoSuch", "", {}), ("Gelu", "com.microsoft", {}), ("Relu", "", {"a": 1})]
)
def test_what_lies_above_a_layer_is_not_looked_at(above, tmp_path):
    kind, domain, wrong = above
    nodes = [CONV, helper.make_node(kind, ["y"], ["z"], domain=domain, **wrong)]
    weights = [external("../secret.bin")]
    weights[0].name = "unused"
    kernel = numpy_helper.from_array(np.zeros((4, 3, 3, 3), np.float32), "k")
    read = graphs.read(save(tmp_path / "net.onnx", nodes, [kernel, *weights]))
    assert use(read, "y").outputs == ("y",)
    with pytest.raises(InputError):
        use(read, "z")


def test_a_weight_of_the_wrong_length_is_named(tmp_path):
    kernel = numpy_helper.from_array(np.zeros((4, 3, 3, 3), np.float32), "k")
    kernel.raw_data = kernel.raw_data[:-8]
    with pytest.raises(InputError, match="the weight 'k' is damaged"):
        use(graphs.read(save(tmp_path / "net.onnx", [CONV], [kernel])))


def test_nodes_out_of_order_are_refused(tmp_path):
    nodes = [helper.make_node("Relu", ["z"], ["y"], name="late"), helper.make_node("Relu", ["y"], ["z"])]
    with pytest.raises(InputError, match="node 'late' reads 'z' before it is made"):
        graphs.read(save(tmp_path / "net.onnx", nodes))


def test_names_that_are_no_text_are_refused(tiny, tmp_path):
    (tmp_path / "net.onnx").write_bytes(tiny().proto(batch=1).SerializeToString().replace(b"relu1", b"\xff\xfe\xff\xfe\xff"))
    with pytest.raises(InputError, match="whose name is"):
        graphs.read(tmp_path / "net.onnx")


def node(model, kind):
    return next(node for node in model.graph.node if node.op_type == kind)


def attribute(model, kind, name, value):
    kept = [a for a in node(model, kind).attribute if a.name != name]
    copies = [onnx.AttributeProto.FromString(a.SerializeToString()) for a in kept]
    del node(model, kind).attribute[:]
    node(model, kind).attribute.extend([*copies, helper.make_attribute(name, value)])


def weight(model, name, array):
    next(t for t in model.graph.initializer if t.name == name).CopyFrom(numpy_helper.from_array(array, name))


def constant(model, shape, dtype, name="made"):
    model.graph.initializer.append(numpy_helper.from_array(np.array(shape, np.int64), f"{name}/shape"))
    made = helper.make_node("ConstantOfShape", [f"{name}/shape"], [name])
    made.attribute.append(helper.make_attribute("value", numpy_helper.from_array(np.ones(1, dtype))))
    model.graph.node.append(made)


def two_constants(model):
    constant(model, [10**4, 10**4], np.float32, "first")
    constant(model, [10**4, 10**4], np.float32, "second")


def no_number(model):
    model.opset_import[0].version = 13
    model.graph.node.insert(0, helper.make_node("Constant", [], ["c"], value_string="x"))
    model.graph.node.append(helper.make_node("Add", ["fc", "c"], ["sum"]))
    model.graph.output[0].name = "sum"


HOSTILE = {
    "long name": (lambda m: setattr(node(m, "Relu"), "name", "x" * 501), "at most 500 characters"),
    "control characters": (lambda m: setattr(node(m, "Relu"), "name", "\x1b[2J"), "whose name is"),
    "many nodes": (lambda m: m.graph.node.extend([node(m, "Relu")] * 10_000), "expected at most 10000"),
    "made twice": (lambda m: m.graph.node.append(node(m, "Relu")), "'relu1' is made twice"),
    "no output": (lambda m: node(m, "Relu").output.pop(), "no input or no output"),
    "no such output": (lambda m: setattr(m.graph.output[0], "name", "x"), "its output is 'x', which no node computes"),
    "operator set": (lambda m: setattr(m.opset_import[0], "version", 2**40), "operator set 1099511627776"),
    "inputs of an operator": (lambda m: node(m, "Relu").input.append("conv1"), "has input size 2"),
    "type of an attribute": (lambda m: attribute(m, "Conv", "pads", "x"), "Mismatched attribute type"),
    "strides": (lambda m: attribute(m, "MaxPool", "strides", [0, 2]), "strides [0, 2]; expected 2 numbers of 1"),
    "pads": (lambda m: attribute(m, "Conv", "pads", [2**40] * 4), "the pads"),
    "kernel": (lambda m: attribute(m, "Conv", "kernel_shape", [5, 5]), "its kernel is [4, 3, 3, 3]"),
    "groups": (lambda m: attribute(m, "Conv", "group", 3), "3 groups for 4 channels"),
    "windows of padding": (lambda m: attribute(m, "MaxPool", "pads", [2] * 4), "see padding alone"),
    "empty kernel": (lambda m: weight(m, "k1", np.zeros((4, 3, 0, 3), np.float32)), "'k1', which is empty"),
    "flat kernel": (lambda m: weight(m, "k1", np.zeros(9, np.float32)), "no constant kernel"),
    "bias": (lambda m: weight(m, "b2", np.zeros(4, np.float32)), "one of 5 constants"),
    "norm": (lambda m: weight(m, "mean", np.zeros(3, np.float32)), "four constant vectors of one length"),
    "matrix": (lambda m: weight(m, "k3", np.zeros(9, np.float32)), "a matrix of shape [9]"),
    "large constant": (lambda m: constant(m, [2**14, 2**14], np.float32), "constant of shape [16384, 16384]"),
    "empty constant": (lambda m: constant(m, [0, 2**62], np.float32), "constant of shape [0, 4611686018427387904]"),
    "large constant of integers": (lambda m: constant(m, [2**17], np.int64), "constant of shape [131072]"),
    "large constants together": (two_constants, "makes constants of more than 160000000 values"),
    "constant of no numbers": (no_number, "constant of no numbers"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_nothing_can_be_computed_from_is_refused_when_it_is_read(name, tiny):
    change, words = HOSTILE[name]
    model = tiny().proto(batch=1)
    change(model)
    with pytest.raises(InputError) as caught:
        use(graphs.from_proto(model, "net.onnx"))
    assert words in str(caught.value)
    assert len(str(caught.value)) < 1000


def test_tensors_beyond_measure_are_refused(tiny):
    model = tiny(2048).proto(batch=1, weightless=frozenset(["k3"]))
    del model.graph.input[1:]
    nodes = [n for n in model.graph.node if n.op_type in ("Conv", "BatchNormalization", "Relu")][:3]
    attributes = {"kernel_shape": [1, 1], "pads": [2000] * 4}
    weights = {"k": np.ones((40, 3, 1, 1), np.float32)}
    nodes = (helper.make_node("Conv", ["x", "k"], ["large"], **attributes),)
    graph = graphs.Graph(nodes, weights, "x", (2048, 2048), ("large",), 9)
    with pytest.raises(InputError, match="'large' has 1x40x6048x6048 values"):
        graphs.shapes(graph)


def test_channels_that_do_not_fit_are_named(tiny):
    graph = tiny()
    wrong = dataclasses.replace(graph, weights={**graph.weights, "k2": np.zeros((5, 7, 3, 3), np.float32)})
    with pytest.raises(InputError, match=r"'conv2'|conv2"):
        graphs.shapes(wrong)


def test_values_of_unknown_rank_are_no_numbers(tmp_path):
    """As shape inference leaves them in the first operator set."""
    nodes = [helper.make_node("Relu", ["x"], ["r"]), helper.make_node("MaxPool", ["r"], ["y"], kernel_shape=[2, 2])]
    read = graphs.read(save(tmp_path / "net.onnx", nodes, opset=1))
    with pytest.raises(InputError, match="does not say what shape 'r' has"):
        graphs.shapes(dataclasses.replace(read, outputs=("r", "y")))
