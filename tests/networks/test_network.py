"""A network of an .onnx file: its layers, features, classes and gradients, against the tiny network in NumPy."""

import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from tests.conftest import ROOT, tiny_graph, write_onnx
from tests.networks.keras_models import small
from tfinvert.networks import classifier
from tfinvert.networks.classifier import of_classes
from tfinvert.networks.conversion.process import Conversion
from tfinvert.networks.conversion.request import request as build_request
from tfinvert.networks.load import load
from tfinvert.networks.network import Network
from tfinvert.objectives import saliency as attribution
from tfinvert.system.errors import InputError

IMAGE = np.random.default_rng(1).uniform(0, 1, (2, 16, 16, 3)).astype(np.float32)
LAYERS = ("scores", "conv2_1", "last")


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return write_onnx(tiny_graph(), tmp_path_factory.mktemp("tiny") / "tiny.onnx")


@pytest.fixture(scope="module")
def network(file):
    return load(file, preprocessing="none")


def test_the_layers_are_known_before_anything_is_converted(tmp_path, monkeypatch):
    monkeypatch.setenv("TFINVERT_CACHE", str(tmp_path / "cache"))
    network = load(write_onnx(tiny_graph(), tmp_path / "new.onnx"), preprocessing="none")
    assert (network.name, network.size, network.preprocessing) == ("new", (16, 16), "none")
    assert list(network.layers) == ["conv1_1", "pool1", "conv2_1", "fc2"]
    layer = network.layers["conv2_1"]
    assert (layer.tensor, layer.shape, layer.stride, layer.receptive_field) == ("relu2", (8, 8, 5), (2, 2), (8, 8))
    assert layer.error is None
    assert repr(network) == "<Network new: 4 layers, images of 16x16, preprocessing none>"
    assert not (tmp_path / "cache" / "converted").exists()


def test_a_layer_is_described_as_the_conversion_finds_it(network):
    network.prepare(("pool1", "fc2", *LAYERS, "conv1"))  # all in one conversion
    for name in ("pool1", "fc2"):
        described, measured = network.layers[name], network.layer(name)
        assert (measured.tensor, measured.shape, measured.stride) == (described.tensor, described.shape, described.stride)
        assert measured.receptive_field == described.receptive_field
        assert measured.error <= 1e-4
    tensors = {name: network.layer(name).tensor for name in (*LAYERS, "conv1")}
    assert tensors == {"scores": "fc", "conv2_1": "relu2", "last": "relu1", "conv1": "conv1"}  # the only pool reads relu1


def test_a_fact_about_layers_is_computed_once_for_a_network_in_the_cache(network, file):
    assert network.remembered("fact", ("conv2_1",), lambda: {"conv2_1": 0.1}) == {"conv2_1": 0.1}
    other = load(file, preprocessing="none")  # as another process has it
    assert other.remembered("fact", "conv2_1", lambda: pytest.fail("it is known")) == {"conv2_1": 0.1}
    assert other.remembered("fact", "pool1", lambda: 2) == 2
    averaging = load(file, preprocessing="none", pool="avg")
    assert averaging.remembered("fact", "conv2_1", lambda: 3) == 3


def test_a_fact_about_a_keras_model_is_computed_once_for_the_object():
    one, other = load(small()), load(small())
    assert [each.remembered("fact", "relu1", lambda n=n: n) for n, each in enumerate((one, other, one))] == [0, 1, 0]


def test_layers_that_do_not_fit_the_size_are_not_listed(file):
    network = load(file, size=(32, 20))
    assert list(network.layers) == ["conv1_1", "pool1", "conv2_1"]  # the dense layer is for 16x16
    assert network.layers["conv2_1"].shape == (16, 10, 5)
    assert load(file).at_size((32, 20)).layers == network.layers


def test_features_are_those_of_the_conversion(file, network):
    settings = {"model": "vgg16-bn", "weights": "auto", "size": None, "pool": "max", "preprocessing": "none"}
    with Conversion(build_request(onnx=str(file), layers=("pool1", "fc2"), **settings)) as conversion:
        converted = conversion.result()
    expected = tf.saved_model.load(str(converted.folder)).signatures["serving_default"](tf.constant(IMAGE))
    for features in (network.features(IMAGE, ["pool1", "fc2"]), Network.of(converted, "tiny").model(tf.constant(IMAGE))):
        assert set(features) == {"pool1", "fc2"}
        for name, value in features.items():
            np.testing.assert_allclose(value, expected[name], rtol=1e-3, atol=1e-5)  # oneDNN's digits depend on the graph
    np.testing.assert_array_equal(network.features(IMAGE[0], "fc2")["fc2"].shape, (1, 6))


def test_the_model_has_every_layer(network):
    assert {name: value.shape[1:] for name, value in network.model.output.items()} == {
        name: layer.shape for name, layer in network.layers.items()
    }
    assert network.model.trainable_variables == []


def test_a_second_call_converts_and_loads_nothing(file, tmp_path, monkeypatch):
    monkeypatch.setenv("TFINVERT_CACHE", str(tmp_path))
    network = load(file, preprocessing="-1..1")
    network.prepare(["conv1_1", "pool1"])
    first = network.features(IMAGE, ["conv1_1", "pool1"])
    shutil.rmtree(tmp_path / "converted")
    again = network.features(IMAGE, ("pool1", "conv1_1", "pool1"))
    assert list(again) == ["pool1", "conv1_1"]
    np.testing.assert_array_equal(again["pool1"], first["pool1"])
    assert network.cut({"conv1_1", "pool1"}) is network.cut(["pool1", "conv1_1"])
    assert not (tmp_path / "converted").exists()


def test_the_layers_of_the_zoo_are_known_and_checked_without_its_file(tmp_path, monkeypatch):
    monkeypatch.setattr("tfinvert.networks.zoo.pretrained_file", lambda *_: pytest.fail("it downloads"))
    network = load("resnet18")
    assert network.layers["res2"].shape == (56, 56, 64)
    with pytest.raises(InputError, match=r"unknown layer 'res22'; expected one of: res2, "):
        network.features("chelsea", "res22")
    with pytest.raises(InputError, match="there is no image"):
        network.features(str(tmp_path / "nothing.png"), "res2")


@pytest.mark.parametrize("layers", ["conv2_2", ["conv1_1", "conv2_2"]])
def test_an_unknown_layer(network, layers):
    for wrong in (network.prepare, network.cut, lambda names: network.features(IMAGE, names)):
        with pytest.raises(InputError, match=r"unknown layer 'conv2_2'; expected one of: conv2_1, "):
            wrong(layers)


@pytest.mark.parametrize("layers", [3, None, [], [3]])
def test_what_names_no_layer(network, layers):
    with pytest.raises(InputError, match="expected the name of a layer, or several"):
        network.features(IMAGE, layers)


def test_provenance(network):
    found = network.provenance()
    assert (found["network"], found["preprocessing"], found["pool"], found["size"]) == ("tiny", "none", "max", [16, 16])
    assert found["weights"] == network.weights == f"tiny.onnx (SHA-256 {found['onnx_sha256'][:12]})"
    random = load("squeezenet1.1", weights="random", size=64)
    assert random.weights == "seeded random weights, calibrated statistics"
    assert random.provenance()["onnx_sha256"] is None


def test_tensorflow_is_not_needed_to_prepare_a_network(file):
    code = (
        "import sys\n"
        "from tfinvert.networks.load import load\n"
        f"network = load({str(file)!r})\n"
        "print(list(network.layers), network.size, network.weights)\n"
        "network.prepare('pool1')\n"
        "assert network.layer('pool1').error <= 1e-4\n"
        "assert not {'tensorflow', 'keras', 'torch'} & set(sys.modules)\n"
    )
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert (found.returncode, found.stderr) == (0, "")
    assert "['conv1_1', 'pool1', 'conv2_1', 'fc2'] (16, 16) tiny.onnx" in found.stdout


def test_a_conversion_under_way_ends_with_the_process(file, tmp_path):
    code = f"from tfinvert.networks.load import load; load({str(file)!r}).prepare('pool1')"
    found = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={"PATH": "", "TFINVERT_CACHE": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (found.returncode, found.stderr) == (0, "")
    assert [path.name for path in (tmp_path / "converted").iterdir() if path.name.startswith(".making")] == []


def test_keras_on_another_backend_is_answered_with_what_to_set(file):
    pytest.importorskip("torch", reason="needs the extra 'torch'")
    code = (
        "from tfinvert.system.errors import InputError\n"
        "from tfinvert.networks.load import load\n"
        "try:\n"
        f"    load({str(file)!r}).features('chelsea', 'pool1')\n"
        "except InputError as error:\n"
        "    print(error)\n"
    )
    environment = {"PATH": "", "KERAS_BACKEND": "torch", "TF_CPP_MIN_LOG_LEVEL": "3"}
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert found.stdout.startswith("Keras runs on torch in this process; tfinvert needs TensorFlow: set the environment"), found


def test_the_classes_of_one_image_and_of_several(network):
    names = network.classify(IMAGE[0], top=3)
    assert [name.startswith("class ") for name, _ in names] == [True] * 3
    assert [chance for _, chance in names] == sorted((chance for _, chance in names), reverse=True)
    both = network.classify(IMAGE, top=3)
    for ranked, alone in zip(both, (names, network.classify(IMAGE[1:], top=3)[0]), strict=True):
        assert [name for name, _ in ranked] == [name for name, _ in alone]
        assert [chance for _, chance in ranked] == pytest.approx([chance for _, chance in alone], rel=1e-3)
    assert sum(chance for _, chance in network.classify(IMAGE[0], top=9)) == pytest.approx(1, rel=1e-5)
    np.testing.assert_allclose(classifier.probabilities(network.cut("scores"), IMAGE).sum(axis=1), [1, 1], rtol=1e-5)
    with pytest.raises(InputError, match="top is 0"):
        network.classify(IMAGE, top=0)


def test_a_trained_classifier(shared):
    network = load(shared / "models" / "squeezenet1.1-gluon.onnx")
    assert network.weights.startswith("squeezenet1.1-gluon.onnx (the training of the ONNX model zoo (GluonCV), SHA-256")
    (name, chance), *others = network.classify("chelsea")
    assert (name, len(others)) == ("Egyptian cat", 4)
    assert chance > 0.5


def test_a_network_without_class_scores(shared):
    with pytest.raises(InputError, match="the network has no class scores"):
        load(shared / "models" / "vgg16-torchvision-stem.onnx").classify("chelsea")


def test_the_head_gives_the_scores_of_the_features(network):
    found = network.features(IMAGE, ("conv2_1", "scores"))
    above = network.head("conv2_1", "scores")
    np.testing.assert_allclose(above(found["conv2_1"]), found["scores"], rtol=1e-5)
    # The last layer is fc = W flatten(relu2): its gradient to the features is a row of W, in ONNX's order of channels first.
    slope = attribution.gradient(of_classes(above, [2, 5]), found["conv2_1"])
    weight = tiny_graph().weights["k3"]
    expected = np.stack([weight[row].reshape(5, 8, 8).transpose(1, 2, 0) for row in (2, 5)])
    np.testing.assert_allclose(slope, expected, rtol=1e-5)


@pytest.mark.parametrize("eager", [False, True])
def test_guided_backpropagation_stops_negative_gradients_at_the_relu(network, eager):
    tf.config.run_functions_eagerly(eager)
    try:
        guided = network.guided(LAYERS)
        plain = network.features(IMAGE, LAYERS)
        for name, value in plain.items():
            np.testing.assert_allclose(guided(tf.constant(IMAGE))[name], value, rtol=1e-5)
        # By hand from relu2 down: where relu2 is on and its gradient above zero, the gradient goes on through the convolution.
        weights = tiny_graph().weights
        active = (plain["conv2_1"].numpy() > 0).astype(np.float32)
        row = weights["k3"][4].reshape(5, 8, 8).transpose(1, 2, 0)
        kernel = tf.constant(weights["k2"].transpose(2, 3, 1, 0))
        below = tf.nn.conv2d_transpose(np.maximum(row, 0) * active, kernel, (2, 8, 8, 4), 1, "SAME")

        with tf.GradientTape() as tape:
            image = tf.constant(IMAGE)
            tape.watch(image)
            score = of_classes(lambda value: guided(value)["scores"], [4, 4])(image)
        found = tape.gradient(score, image)

        # From relu1 down likewise: through the pool to its largest value, only where positive, then conv1 with its batch norm.
        with tf.GradientTape() as tape:
            tape.watch(image)
            relu1 = network.cut(LAYERS)(image)["last"]
            pooled = tf.nn.max_pool2d(relu1, 2, 2, "VALID")
            wanted = tf.reduce_sum(pooled * tf.stop_gradient(tf.maximum(below, 0)))
        np.testing.assert_allclose(found, tape.gradient(wanted, image), rtol=1e-4, atol=1e-6)
        plain_gradient = attribution.gradient(of_classes(classifier.class_scores(network.cut(LAYERS)), [4, 4]), image)
        assert np.abs(found - plain_gradient).max() > 1e-3
    finally:
        tf.config.run_functions_eagerly(False)
