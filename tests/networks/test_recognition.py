"""How a network takes its images: by its training, by its own first operations, the same in every experiment."""

import dataclasses

import keras
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import tfinvert
from tests.conftest import tiny_graph, write_onnx
from tests.networks.nets import Net
from tfinvert import experiments
from tfinvert.networks import trainings
from tfinvert.networks.load import from_settings, load
from tfinvert.networks.normalization import range_in_graph
from tfinvert.networks.onnx import from_proto
from tfinvert.networks.preprocessing import network_input, parse
from tfinvert.settings.groups import NetworkSettings
from tfinvert.system.errors import InputError

LITE0 = 5  # its place among the trainings
CATS = {"tabby", "tiger cat", "Egyptian cat"}
NETWORKS = ("squeezenet1.1-gluon", "squeezenet1_1-torchvision", "alexnet-torchvision-trunk", "resnet18-torchvision-trunk")


def first_kernel(place):
    """A kernel [32, 3, 3, 3] with the fingerprint of a training."""
    parts = np.array(trainings.TRAININGS[place].fingerprint).reshape(4, 3)
    kernel = np.random.default_rng(0).standard_normal((32, 3, 3, 3)).astype(np.float32)
    kernel[:4] *= (parts / np.sqrt((kernel[:4] ** 2).sum(axis=(2, 3))))[..., None, None]
    return kernel


def with_kernel(kernel):
    graph = tiny_graph()
    return dataclasses.replace(graph, weights={**graph.weights, "k1": kernel})


def of_experiments(path, **values):
    """How every experiment takes the images of a file."""
    kinds = [experiments.find(name).settings for name in experiments.names()]
    settings = {kind: dict(values) for kind in kinds if issubclass(kind, NetworkSettings)}
    found = {}
    for kind, given in settings.items():
        made = object.__new__(kind)  # what else a run must be told does not matter here
        for field in dataclasses.fields(kind):
            default = field.default if field.default is not dataclasses.MISSING else field.default_factory()
            object.__setattr__(made, field.name, {**given, "onnx": str(path)}.get(field.name, default))
        found[kind.__module__] = from_settings(made).preprocessing
    return found


def test_every_experiment_takes_the_images_of_a_file_alike(tiny_file):
    found = of_experiments(tiny_file)
    assert len(found) > 8
    assert set(found.values()) == {"torch"}
    assert set(of_experiments(tiny_file, preprocessing="mean=127;std=128").values()) == {"mean=127;std=128"}


@pytest.mark.parametrize("name", NETWORKS)
def test_every_experiment_knows_the_real_trainings(name, shared):
    path = shared / "models" / f"{name}.onnx"
    assert set(of_experiments(path).values()) == {"torch"}
    origin = load(path).preprocessing_from
    assert ("GluonCV" if "gluon" in name else "torchvision") in origin


def test_a_cat_is_a_cat_with_the_preprocessing_that_is_recognized(shared):
    network = tfinvert.load(shared / "models" / "squeezenet1_1-torchvision.onnx")
    ((name, probability),) = network.classify("chelsea", top=1)
    assert name in CATS
    assert probability > 0.4


@pytest.mark.parametrize("place", range(len(trainings.TRAININGS)))
@pytest.mark.parametrize("kind", [np.float32, np.float16])
def test_a_kernel_is_recognized_whatever_its_precision_and_the_batch_norm_folded_into_it(place, kind):
    scale = np.random.default_rng(1).uniform(0.2, 3, (32, 1, 1, 1))
    stored = (first_kernel(place) * scale).astype(kind)
    assert trainings.recognize(stored) is trainings.TRAININGS[place]


def test_what_is_not_recognized():
    kernel = first_kernel(0)
    for other in (
        kernel[:, ::-1],
        kernel[4:],
        kernel[:3],
        kernel * np.array([1.1, 1, 0.9])[:, None, None],
        kernel[..., 0],
        None,
    ):
        assert trainings.recognize(other) is None
    assert trainings.recognize(np.zeros((4, 3, 3, 3), np.float32)) is None


def test_the_preprocessing_of_a_training_in_a_file(tmp_path):
    kernel = np.concatenate([first_kernel(LITE0)[:4]])
    network = load(write_onnx(with_kernel(kernel), tmp_path / "lite.onnx"))
    assert (network.preprocessing, network.preprocessing_from) == (
        "mean=127;std=128",
        "its first kernel is that of the training of EfficientNet-Lite (TensorFlow)",
    )


def normalizing(*steps, kernel=None):
    """The tiny network with operations on the image before it: (operator, constant or None, attributes)."""
    graph = tiny_graph() if kernel is None else with_kernel(kernel)
    nodes, weights, value = [], dict(graph.weights), graph.image
    for number, (operator, constant, *options) in enumerate(steps):
        constants = constant if isinstance(constant, list) else [constant]
        names = [f"c{number}_{place}" for place in range(len(constants)) if constants[place] is not None]
        weights |= {name: np.asarray(each) for name, each in zip(names, constants, strict=False)}
        nodes.append(helper.make_node(operator, [value, *names], [f"n{number}"], **(options[0] if options else {})))
        value = f"n{number}"
    first = onnx.NodeProto()
    first.CopyFrom(graph.nodes[0])
    first.input[0] = value
    return dataclasses.replace(graph, nodes=(*nodes, first, *graph.nodes[1:]), weights=weights, opset=13)


def colors(*values):
    return np.array(values, np.float32).reshape(1, 3, 1, 1)


MEAN, DEVIATION = colors(0.485, 0.456, 0.406), colors(0.229, 0.224, 0.225)
VARIANCES = [np.ones(3, np.float32), np.zeros(3, np.float32)]


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([("Sub", MEAN), ("Div", DEVIATION)], "none"),
        ([("Sub", 255 * MEAN), ("Div", 255 * DEVIATION)], "0..255"),
        ([("Mul", np.float32(1 / 255))], "0..255"),
        ([("Mul", np.float32(1 / 127.5)), ("Add", np.float32(-1))], "0..255"),
        ([("Sub", np.float32(127)), ("Div", np.float32(128))], "0..255"),
        ([("Mul", np.float32(2)), ("Sub", np.float32(1))], "none"),
        ([("Sub", MEAN)], "none"),
        ([("Sub", colors(123.7, 116.8, 103.9))], "0..255"),
        ([("Sub", colors(103.9, 116.8, 123.7))], "0..255;order=bgr"),
        ([("Mul", np.float32(255)), ("Sub", colors(123.7, 116.8, 103.9))], "none"),
        ([("Gather", np.array([2, 1, 0]), {"axis": 1}), ("Sub", colors(103.9, 116.8, 123.7))], "0..255"),
        ([("Sub", colors(0.406, 0.456, 0.485)), ("Div", colors(0.225, 0.224, 0.229))], "none;order=bgr"),
        ([("BatchNormalization", [*VARIANCES, np.full(3, 120, np.float32), np.full(3, 3600, np.float32)])], "0..255"),
        ([("Add", np.float32(1)), ("Mul", np.float32(0.5))], "-1..1"),
        # What the networks do that were ported to torch's normalization, and what tells nothing.
        ([("Mul", DEVIATION / 0.5), ("Add", (MEAN - 0.5) / 0.5)], None),
        ([("BatchNormalization", [*VARIANCES, np.zeros(3, np.float32), np.ones(3, np.float32)])], None),
        ([("Relu", None)], None),
        ([], None),
    ],
)
def test_a_normalization_in_the_graph_tells_the_range(steps, expected):
    assert range_in_graph(normalizing(*steps)) == expected


def test_an_input_of_whole_numbers_has_the_range_of_bytes(tmp_path):
    model = tiny_graph().proto(batch=1)
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.UINT8
    for node in model.graph.node:
        node.input[:] = ["cast" if name == "x" else name for name in node.input]
    model.graph.node.insert(0, helper.make_node("Cast", ["x"], ["cast"], to=TensorProto.FLOAT))
    onnx.save(model, tmp_path / "bytes.onnx")
    network = load(tmp_path / "bytes.onnx")
    assert (network.preprocessing, network.preprocessing_from) == ("0..255", "its input has whole numbers")
    image = keras.Input((16, 16, 3), dtype="uint8")
    model = keras.Model(image, keras.layers.Conv2D(2, 3)(image))
    assert load(model).preprocessing == "0..255"


def test_a_normalization_inside_counts_more_than_the_training(tmp_path):
    """A wrapped network has the kernel of its training, and takes its images as the wrapping says."""
    graph = normalizing(("Sub", MEAN), ("Div", DEVIATION), kernel=first_kernel(0)[:4])
    network = load(write_onnx(graph, tmp_path / "wrapped.onnx"))
    assert (network.preprocessing, network.preprocessing_from) == ("none", "the network normalizes its images itself")


@pytest.mark.parametrize(
    ("text", "pixel", "expected"),
    [
        ("mean=127;std=128", [1, 0.5, 0], [1, 0.5 / 128, -127 / 128]),
        ("mean = 0.5; std = 0.25", [1, 0.5, 0], [2, 0, -2]),
        ("mean=0.485,0.456,0.406;std=0.229,0.224,0.225", [0.485, 0.456, 0.631], [0, 0, 1]),
        ("std=255", [1, 0.5, 0], [1, 0.5, 0]),
        ("mean=103.9,116.8,123.7;order=bgr", [1, 0.5, 0], [-103.9, 127.5 - 116.8, 255 - 123.7]),
        ("torch;order=bgr", [0.485, 0.456, 0.631], [1, 0, 0]),
        ("0..255", [1, 0.5, 0], [255, 127.5, 0]),
        (" -1..1", [1, 0.5, 0], [1, 0, -1]),
    ],
)
def test_explicit_preprocessing(text, pixel, expected):
    prepared = network_input(np.array(pixel, np.float32).reshape(1, 1, 1, 3), parse(text))
    np.testing.assert_allclose(prepared.ravel(), expected, atol=1e-4)


@pytest.mark.parametrize(
    "text",
    ["pytorch", "", "mean=a", "mean=1,2", "std=0", "std=-1", "mean=nan", "mean=1;mean=2", "order=bgr", "torch;std=2", "mean="],
)
def test_preprocessing_that_means_nothing(text, tiny_file):
    with pytest.raises(InputError, match=r"--preprocessing is .*; expected one of torch, .*, or mean=\.\.\.;std=\.\.\."):
        load(tiny_file, preprocessing=text)


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        ([], None),
        ([("Sub", 0.5), ("Div", 0.25)], "none"),
        ([("Div", 255.0)], "0..255"),
        ([("Add", 1.0), ("Mul", 0.5)], "-1..1"),
    ],
)
@pytest.mark.parametrize("last", [False, True])
def test_a_normalization_in_a_network_of_one_channel_tells_the_range(before, expected, last):
    net = Net(channels=1)
    first = net("Transpose", "x", perm=[0, 3, 1, 2]) if last else "x"
    for operator, number in before:
        first = net(operator, first, number)
    net.channels[first] = 1
    model = net.graph(net.relu_conv(first, 4, 3)).proto(batch=1)
    sides = ["N", 32, 32, 1] if last else ["N", 1, 32, 32]
    model.graph.input[0].CopyFrom(helper.make_tensor_value_info("x", TensorProto.FLOAT, sides))
    assert range_in_graph(from_proto(model, "gray.onnx")) == expected


def test_one_channel_has_no_order_of_colors(tmp_path):
    net = Net(channels=1)
    model = net.graph(net.relu_conv("x", 4, 3)).proto(batch=1)
    model.graph.input[0].CopyFrom(helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, 32, 32]))
    onnx.save(model, tmp_path / "gray.onnx")
    with pytest.raises(
        InputError, match=r"--preprocessing is 'caffe', which puts blue first, and .*gray\.onnx takes images of one channel"
    ):
        load(tmp_path / "gray.onnx", preprocessing="caffe").features("astronaut", "conv1")
