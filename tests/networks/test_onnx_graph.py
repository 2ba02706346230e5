import dataclasses
import os

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from tests.conftest import write_onnx
from tfinvert.errors import InputError
from tfinvert.networks import random_weights, zoo
from tfinvert.networks.onnx import graph as graphs


def run(graph, image):
    session = onnxruntime.InferenceSession(graph.proto(batch=1).SerializeToString(), providers=["CPUExecutionProvider"])
    return dict(zip(graph.outputs, session.run(list(graph.outputs), {graph.image: image}), strict=True))


@pytest.fixture
def picture():
    return np.random.default_rng(1).standard_normal((1, 3, 16, 16)).astype(np.float32)


def test_reading_leaves_the_file_as_it_is_and_gives_the_same_network(tiny, tmp_path, picture):
    path = write_onnx(tiny(), tmp_path / "net.onnx")
    before = path.read_bytes(), path.stat().st_mtime_ns
    read = graphs.read(path)
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before
    assert read.size == (16, 16)
    np.testing.assert_array_equal(run(read, picture)["fc"], run(tiny(), picture)["fc"])


def test_tidying_changes_no_value_and_keeps_dropped_names_as_aliases(tiny, picture):
    tidy = graphs.tidy(tiny())
    assert "Dropout" not in {n.op_type for n in tidy.nodes}
    assert tidy.resolve("drop2") == "relu2"
    assert next(graphs.attributes(n)["axis"] for n in tidy.nodes if n.op_type == "Flatten") == 1
    np.testing.assert_array_equal(run(tidy, picture)["fc"], run(tiny(), picture)["fc"])


def test_a_reshape_to_batch_and_rest_becomes_a_flatten(tiny, picture):
    graph = tiny()
    nodes = [n if n.op_type != "Flatten" else helper.make_node("Reshape", ["drop2", "to"], ["flat"]) for n in graph.nodes]
    with_reshape = dataclasses.replace(
        graph, nodes=tuple(nodes), weights={**graph.weights, "to": np.array([1, 320], np.int64)}, opset=9
    )
    tidy = graphs.tidy(with_reshape)
    assert [n.op_type for n in tidy.nodes if n.output[0] == "flat"] == ["Flatten"]
    np.testing.assert_array_equal(run(tidy, picture)["fc"], run(graph, picture)["fc"])


def test_folding_gives_the_same_values_without_a_batch_norm(tiny, picture):
    tidy = graphs.tidy(tiny())
    layers = ["norm1", "relu1", "pool1", "relu2", "fc"]
    folded = graphs.fold(graphs.cut(tidy, layers))
    assert "BatchNormalization" not in {n.op_type for n in folded.nodes}
    expected, found = run(graphs.cut(tidy, layers), picture), run(folded, picture)
    for layer in layers:
        np.testing.assert_allclose(found[layer], expected[layer], rtol=1e-4, atol=1e-5)


def test_a_value_that_is_asked_for_is_not_folded_away(tiny, picture):
    tidy = graphs.tidy(tiny())
    folded = graphs.fold(graphs.cut(tidy, ["conv1", "relu1"]))
    assert "BatchNormalization" in {n.op_type for n in folded.nodes}
    expected = run(graphs.cut(tidy, ["conv1"]), picture)["conv1"]
    np.testing.assert_allclose(run(folded, picture)["conv1"], expected, rtol=1e-5, atol=1e-6)


def test_cutting_keeps_only_what_is_needed(tiny):
    part = graphs.cut(graphs.tidy(tiny()), ["pool1"])
    assert [n.op_type for n in part.nodes] == ["Conv", "BatchNormalization", "Relu", "MaxPool"]
    assert set(part.weights) == {"k1", "gamma", "beta", "mean", "variance"}
    assert part.outputs == ("pool1",)


def test_average_pooling_replaces_max_pooling(tiny, picture):
    part = graphs.cut(graphs.tidy(tiny()), ["relu1", "pool1"])
    values = run(graphs.with_pooling(part, "avg"), picture)
    expected = values["relu1"].reshape(1, 4, 8, 2, 8, 2).mean(axis=(3, 5))
    np.testing.assert_allclose(values["pool1"], expected, rtol=1e-5)
    assert graphs.with_pooling(part, "max") is part


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
    np.testing.assert_allclose(run(graphs.fold(graph), image)["y"], run(graph, image)["y"], rtol=1e-5, atol=1e-6)


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


STEMS = [  # of ResNet, AlexNet (torchvision, BVLC), SqueezeNet (torchvision, Gluon), VGG, and less usual ones
    {"kernel_shape": [7, 7], "strides": [2, 2], "pads": [3, 3, 3, 3]},
    {"kernel_shape": [11, 11], "strides": [4, 4], "pads": [2, 2, 2, 2]},
    {"kernel_shape": [11, 11], "strides": [4, 4]},
    {"kernel_shape": [3, 3], "strides": [2, 2]},
    {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]},
    {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]},
    {"kernel_shape": [4, 6], "strides": [4, 4], "pads": [0, 2, 1, 3]},
    {"kernel_shape": [4, 6], "pads": [0, 2, 1, 3]},
    {"kernel_shape": [5, 2]},
    {"kernel_shape": [4, 3], "auto_pad": "SAME_LOWER"},
    {"kernel_shape": [5, 5], "strides": [2, 2], "auto_pad": "SAME_UPPER"},
    {"kernel_shape": [5, 5], "strides": [2, 2], "auto_pad": "SAME_LOWER"},
    {"kernel_shape": [1, 1], "strides": [2, 2], "auto_pad": "VALID"},
]


@pytest.mark.parametrize("opset", [9, 13])
@pytest.mark.parametrize("size", [(32, 32), (33, 34), (35, 31), (64, 37)], ids=str)
@pytest.mark.parametrize("options", STEMS, ids=str)
def test_stems_are_rewritten_to_the_same_values(options, size, opset):
    rng = np.random.default_rng(0)
    weights = {
        "k": rng.standard_normal((5, 3, *options["kernel_shape"])).astype(np.float32),
        "b": rng.standard_normal(5).astype(np.float32),
    }
    node = helper.make_node("Conv", ["x", "k", "b"], ["y"], **options)
    graph = graphs.Graph(nodes=(node,), weights=weights, image="x", size=size, outputs=("y",), opset=opset)
    image = rng.standard_normal((1, 3, *size)).astype(np.float32)
    np.testing.assert_allclose(run(graphs.fold(graph), image)["y"], run(graph, image)["y"], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("model", "taps"), [("resnet18", 4), ("alexnet", 3), ("squeezenet1.1", 2)])
def test_the_stems_of_known_networks_have_stride_1(model, taps):
    topology = zoo.MODELS[model].topology()
    whole = graphs.tidy(topology)
    part = random_weights.filled(graphs.cut(whole, [whole.nodes[0].output[0]]), np.zeros((2, 3, *whole.size), np.float32))
    depth, stem = graphs.fold(part).nodes[-2:]
    assert (depth.op_type, stem.op_type) == ("SpaceToDepth", "Conv")
    assert graphs.attributes(stem)["kernel_shape"] == [taps, taps]
    assert graphs.attributes(stem)["strides"] == [1, 1]


def test_a_stem_of_stride_1_has_windows_of_one_column():
    whole = graphs.tidy(zoo.MODELS["vgg16-bn"].topology())
    part = random_weights.filled(graphs.cut(whole, [whole.nodes[2].output[0]]), np.zeros((2, 3, *whole.size), np.float32))
    row, columns, relu = graphs.fold(part).nodes
    assert [graphs.attributes(node)["kernel_shape"] for node in (row, columns)] == [[1, 3], [3, 1]]
    assert [node.op_type for node in graphs.fold(part, stems=False).nodes] == ["Conv", relu.op_type]


def test_only_convolutions_of_the_picture_are_rewritten(tiny):
    later = helper.make_node("Conv", ["relu1", "k2", "b2"], ["y"], strides=[2, 2])
    tidy = graphs.tidy(tiny())
    graph = graphs.cut(dataclasses.replace(tidy, nodes=(*tidy.nodes, later)), ["y", "pool1"])
    assert len(graphs.fold(graph).nodes) == len(graphs.fold(graph, stems=False).nodes) + 1  # of the first
    assert "SpaceToDepth" not in {node.op_type for node in graphs.fold(graph).nodes}


def test_operations_are_counted(tiny):
    """Two for each multiply-add: 16 x 16 places of 4 x 3 x 3 x 3, 8 x 8 of 5 x 4 x 3 x 3, and 6 x 320."""
    assert graphs.operations(graphs.tidy(tiny())) == 2 * (256 * 108 + 64 * 180 + 6 * 320)


def test_geometry_of_a_chain(tiny):
    found = graphs.geometry(graphs.tidy(tiny()))
    assert found["relu1"] == graphs.Geometry((1, 4, 16, 16), (1, 1), (3, 3))
    assert found["pool1"] == graphs.Geometry((1, 4, 8, 8), (2, 2), (4, 4))
    assert found["relu2"] == graphs.Geometry((1, 5, 8, 8), (2, 2), (8, 8))
    assert found["fc"] == graphs.Geometry((1, 6), None, None)


def test_another_size_is_refused_where_a_dense_layer_needs_the_old_one(tiny):
    tidy = graphs.tidy(tiny())
    with pytest.raises(InputError, match="takes 320 values, and pictures of 20x20 pixels give 500"):
        graphs.resized(tidy, (20, 20)).shapes()
    assert graphs.cut(graphs.resized(tidy, (20, 24)), ["relu2"]).shapes()["relu2"] == (1, 5, 10, 12)


def save(path, nodes, initializers=(), opset=13):
    inputs = [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 3, 16, 16])]
    output = onnx.ValueInfoProto(name="y")
    body = helper.make_graph(nodes, "g", inputs, [output], initializers)
    path.write_bytes(helper.make_model(body, opset_imports=[helper.make_opsetid("", opset)]).SerializeToString())
    return path


def external(location):
    tensor = onnx.TensorProto(name="k", data_type=onnx.TensorProto.FLOAT, dims=[4, 3, 3, 3])
    tensor.data_location = onnx.TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", location
    return tensor


CONV = helper.make_node("Conv", ["x", "k"], ["y"], name="first")


@pytest.mark.parametrize("location", ["../weights.bin", "/etc/passwd", "a/../../b"])
def test_external_weights_outside_the_folder_are_refused(tmp_path, location):
    with pytest.raises(InputError, match="outside the model's folder"):
        graphs.read(save(tmp_path / "net.onnx", [CONV], [external(location)]))


def test_external_weights_in_the_folder_are_read(tmp_path):
    kernel = np.random.default_rng(0).standard_normal((4, 3, 3, 3)).astype(np.float32)
    (tmp_path / "weights.bin").write_bytes(kernel.tobytes())
    read = graphs.read(save(tmp_path / "net.onnx", [CONV], [external("weights.bin")]))
    np.testing.assert_array_equal(read.weights["k"], kernel)


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


def test_a_truncated_network_is_named(tiny, tmp_path):
    path = write_onnx(tiny(), tmp_path / "net.onnx")
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(InputError, match="not a whole ONNX file"):
        graphs.read(path)


def test_an_unsupported_operator_is_named_with_its_node(tmp_path):
    node = helper.make_node("Erf", ["x"], ["y"], name="strange")
    with pytest.raises(InputError, match="node 'strange' uses the operator Erf"):
        graphs.read(save(tmp_path / "net.onnx", [node]))


def test_a_weight_of_the_wrong_length_is_named(tmp_path):
    kernel = numpy_helper.from_array(np.zeros((4, 3, 3, 3), np.float32), "k")
    kernel.raw_data = kernel.raw_data[:-8]
    with pytest.raises(InputError, match="the weight 'k' is damaged"):
        graphs.read(save(tmp_path / "net.onnx", [CONV], [kernel]))


def test_nodes_out_of_order_are_refused(tmp_path):
    nodes = [helper.make_node("Relu", ["z"], ["y"], name="late"), helper.make_node("Relu", ["y"], ["z"])]
    with pytest.raises(InputError, match="node 'late' reads 'z' before it is made"):
        graphs.read(save(tmp_path / "net.onnx", nodes))


def test_an_unknown_tensor_is_answered_with_the_known_ones(tiny):
    with pytest.raises(InputError, match="unknown tensor 'relu9'; expected one of: relu"):
        graphs.cut(graphs.tidy(tiny()), ["relu9"])


def node(model, kind):
    return next(one for one in model.graph.node if one.op_type == kind)


def attribute(model, kind, name, value):
    kept = [a for a in node(model, kind).attribute if a.name != name]
    copies = [onnx.AttributeProto.FromString(a.SerializeToString()) for a in kept]
    del node(model, kind).attribute[:]
    node(model, kind).attribute.extend([*copies, helper.make_attribute(name, value)])


def weight(model, name, array):
    next(t for t in model.graph.initializer if t.name == name).CopyFrom(numpy_helper.from_array(array, name))


def constant(model, shape, dtype):
    model.graph.initializer.append(numpy_helper.from_array(np.array(shape, np.int64), "shape"))
    made = helper.make_node("ConstantOfShape", ["shape"], ["made"])
    made.attribute.append(helper.make_attribute("value", numpy_helper.from_array(np.ones(1, dtype))))
    model.graph.node.append(made)


def no_number(model):
    model.opset_import[0].version = 13
    model.graph.node.insert(0, helper.make_node("Constant", [], ["c"], value_string="x"))


def side(model, value):
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_value = value


HOSTILE = {
    "long name": (lambda m: setattr(node(m, "Relu"), "name", "x" * 501), "at most 500 characters"),
    "control characters": (lambda m: setattr(node(m, "Relu"), "name", "\x1b[2J"), "whose name is"),
    "many nodes": (lambda m: m.graph.node.extend([node(m, "Relu")] * 5000), "expected at most 5000"),
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
    "kernel of doubles": (lambda m: weight(m, "k1", np.zeros((4, 3, 3, 3))), "type float64; expected float32"),
    "empty kernel": (lambda m: weight(m, "k1", np.zeros((4, 3, 0, 3), np.float32)), "'k1', which is empty"),
    "flat kernel": (lambda m: weight(m, "k1", np.zeros(9, np.float32)), "no constant kernel"),
    "bias": (lambda m: weight(m, "b2", np.zeros(4, np.float32)), "one of 5 constants"),
    "norm": (lambda m: weight(m, "mean", np.zeros(3, np.float32)), "four constant vectors of one length"),
    "matrix": (lambda m: weight(m, "k3", np.zeros(9, np.float32)), "a matrix of shape [9]"),
    "large constant": (lambda m: constant(m, [2**14, 2**14], np.float32), "constant of shape [16384, 16384]"),
    "empty constant": (lambda m: constant(m, [0, 2**62], np.float32), "constant of shape [0, 4611686018427387904]"),
    "large constant of integers": (lambda m: constant(m, [2**17], np.int64), "constant of shape [131072]"),
    "constant of no numbers": (no_number, "constant of no numbers"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_nothing_can_be_computed_from_is_refused_when_it_is_read(name, tiny):
    change, words = HOSTILE[name]
    model = tiny().proto(batch=1)
    change(model)
    with pytest.raises(InputError) as caught:
        graphs.from_proto(model, "net.onnx")
    assert words in str(caught.value)
    assert len(str(caught.value)) < 1000


def test_names_that_are_no_text_are_refused(tiny, tmp_path):
    (tmp_path / "net.onnx").write_bytes(tiny().proto(batch=1).SerializeToString().replace(b"relu1", b"\xff\xfe\xff\xfe\xff"))
    with pytest.raises(InputError, match="whose name is"):
        graphs.read(tmp_path / "net.onnx")


def test_a_pipe_in_the_place_of_a_network_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "net.onnx")
    with pytest.raises(InputError, match="it is no regular file"):
        graphs.read(tmp_path / "net.onnx")


@pytest.mark.parametrize("location", ["a\0b", "x" * 9000, "loop"])
def test_external_weights_at_no_place_are_refused(location, tiny, tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    model = tiny().proto(batch=1)
    tensor = model.graph.initializer[0]
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    with pytest.raises(InputError, match="is kept in"):
        graphs.from_proto(model, "net.onnx", tmp_path)


def test_a_picture_beyond_measure_is_refused_unless_another_size_is_asked_for(tiny):
    model = tiny().proto(batch=1)
    side(model, 10**6)
    graph = graphs.cut(graphs.from_proto(model, "net.onnx"), ["relu1"])
    with pytest.raises(InputError, match="pictures of 1000000x16 pixels; give a --size of 2048 at most"):
        graph.shapes()
    assert graphs.resized(graph, (16, 16)).shapes()["relu1"] == (1, 4, 16, 16)


def test_tensors_beyond_measure_are_refused(tiny):
    model = tiny(2048).proto(batch=1, weightless=frozenset(["k3"]))
    del model.graph.input[1:]
    nodes = [n for n in model.graph.node if n.op_type in ("Conv", "BatchNormalization", "Relu")][:3]
    attributes = {"kernel_shape": [1, 1], "pads": [2000] * 4}
    weights = {"k": np.ones((40, 3, 1, 1), np.float32)}
    nodes = (helper.make_node("Conv", ["x", "k"], ["large"], **attributes),)
    graph = graphs.Graph(nodes, weights, "x", (2048, 2048), ("large",), 9)
    with pytest.raises(InputError, match="'large' has 1x40x6048x6048 values"):
        graph.shapes()


def test_channels_that_do_not_fit_are_named(tiny):
    graph = tiny()
    wrong = dataclasses.replace(graph, weights={**graph.weights, "k2": np.zeros((5, 7, 3, 3), np.float32)})
    with pytest.raises(InputError, match=r"'conv2'|conv2"):
        wrong.shapes()


def test_a_graph_is_written_and_read_back(tiny, tmp_path, picture):
    folded = graphs.fold(graphs.cut(graphs.tidy(tiny()), ["relu2"]))
    graphs.write(folded, tmp_path / "net.onnx")
    np.testing.assert_array_equal(run(graphs.read(tmp_path / "net.onnx"), picture)["relu2"], run(folded, picture)["relu2"])


def test_values_of_unknown_rank_are_no_numbers(tmp_path):
    """As shape inference leaves them in the first operator set."""
    nodes = [helper.make_node("Relu", ["x"], ["r"]), helper.make_node("MaxPool", ["r"], ["y"], kernel_shape=[2, 2])]
    read = graphs.read(save(tmp_path / "net.onnx", nodes, opset=1))
    with pytest.raises(InputError, match="does not say what shape 'r' has"):
        dataclasses.replace(read, outputs=("r", "y")).shapes()
