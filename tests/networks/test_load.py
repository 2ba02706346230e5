"""What can be loaded, and what is answered to everything else; the caller's process stays as it was."""

import os
import random

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.conftest import tiny_graph, write_onnx
from tfinvert.experiments.invert import Settings as InvertSettings
from tfinvert.experiments.saliency import Settings as SaliencySettings
from tfinvert.networks.load import from_settings, load
from tfinvert.system.errors import InputError

IMAGE = np.random.default_rng(1).uniform(0, 1, (2, 16, 16, 3)).astype(np.float32)


def test_a_name_of_the_zoo():
    network = load("alexnet", weights="random", size=64)
    assert (network.name, network.size, network.preprocessing) == ("alexnet", (64, 64), "caffe")
    assert load("alexnet", preprocessing="torch").preprocessing == "torch"


def test_an_onnx_file_by_text_path_and_home(tmp_path, monkeypatch):
    path = write_onnx(tiny_graph(), tmp_path / "mine.onnx")
    monkeypatch.setenv("HOME", str(tmp_path))
    for source in (path, str(path), "~/mine.onnx"):
        network = load(source)
        assert (network.name, network.preprocessing) == ("mine", "torch")
        assert list(network.layers) == ["conv1_1", "pool1", "conv2_1", "fc2"]


def test_a_suffix_may_have_capitals(tmp_path):
    path = write_onnx(tiny_graph(), tmp_path / "mine.onnx").rename(tmp_path / "MINE.ONNX")
    assert "conv2_1" in load(path).layers


@pytest.mark.parametrize(("size", "expected"), [(32, (32, 32)), ((20, 32), (20, 32)), ([np.int64(20), 32], (20, 32))])
def test_a_size_is_one_number_or_two(size, expected, tmp_path):
    assert load(write_onnx(tiny_graph(), tmp_path / "mine.onnx"), size=size).size == expected


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            3,
            "a value of type int; expected one of: vgg16-bn, resnet18, .*, a torch.nn.Module, a program of torch.export$",
        ),
        (["resnet18"], "a value of type list; expected one of"),
        (None, "a value of type NoneType"),
        (keras.layers.ReLU, "^ReLU is a class; expected the network that it makes when it is called"),
        (keras.applications.MobileNetV2, "^MobileNetV2 is a function; expected the network that it makes"),
        (keras.layers.ReLU(name="relu"), "a value of type keras.*ReLU"),
        ("resnet81", "^unknown network 'resnet81'; expected one of: resnet18, .*, an .onnx file"),
        ("{}/nothing.onnx", "there is no file '.*nothing.onnx'; expected one of: vgg16-bn"),
        ("{}/nothing.keras", "there is no file '.*nothing.keras'; expected one of: vgg16-bn"),
        ("{}", "is a folder; expected one of"),
        ("{}/folder.onnx", "is a folder; expected one of"),
        ("{}/notes.txt", "notes.txt is no .onnx or .keras file; expected one of"),
        ("{}/text.onnx", "is not a whole ONNX file"),
        ("{}/text.keras", "cannot read the Keras model .*text.keras: it is damaged, or in another format"),
        ("weights.pth", "weights.pth is no .onnx or .keras file; make the torch.nn.Module, give it these weights"),
        ("model.h5", "model.h5 is no .onnx or .keras file; read it with keras.models.load_model"),
        ("", "the name of the network is empty"),
    ],
)
def test_what_is_no_network(source, message, tmp_path):
    (tmp_path / "folder.onnx").mkdir()
    for name in ("notes.txt", "text.onnx", "text.keras"):
        (tmp_path / name).write_text("These are no weights.\n")
    with pytest.raises(InputError, match=message) as caught:
        load(source.format(tmp_path) if isinstance(source, str) else source)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"weights": "none"}, "unknown weights 'none'; expected one of: auto"),
        ({"pool": "min"}, "unknown pool 'min'; expected one of: avg, max"),
        ({"precision": 16}, "unknown precision '16'; expected one of: float32"),
        ({"preprocessing": "pytorch"}, r"--preprocessing is 'pytorch'; expected one of torch, .*, 0\.\.255"),
        ({"size": 8}, r"size is 8; expected 16 to 2048 pixels, one number or \(height, width\)"),
        ({"size": "224x"}, "size is '224x'; expected"),
        ({"size": (224,)}, r"size is \(224,\); expected"),
        ({"size": (224.0, 224.0)}, "expected 16 to 2048 pixels"),
    ],
)
def test_a_setting_that_is_not_possible(settings, message):
    with pytest.raises(InputError, match=message):
        load("resnet18", **settings)


def test_the_settings_of_a_run(tmp_path):
    network = from_settings(InvertSettings(model="resnet18", weights="random", size=(64, 96), layers=("res1",)))
    assert (network.name, network.size, network.preprocessing) == ("resnet18", (64, 96), "torch")
    assert network.provenance()["pool"] == "avg"
    path = write_onnx(tiny_graph(), tmp_path / "mine.onnx")
    # What the zoo's model expects says nothing about a file that is given instead.
    network = from_settings(SaliencySettings(model="alexnet", onnx=str(path)))
    assert (network.name, network.size, network.preprocessing) == ("mine", (16, 16), "torch")
    with pytest.raises(InputError, match="unknown model"):
        from_settings(InvertSettings(model="resnet81"))
    with pytest.raises(InputError, match=r"net.h5 is no .onnx or .keras file; read it with keras.models.load_model"):
        from_settings(InvertSettings(onnx=str(tmp_path / "net.h5")))


@pytest.fixture
def unusual_process():
    """A process that uses Keras and TensorFlow in another way than most."""
    keras.config.set_dtype_policy("mixed_float16")
    keras.config.set_floatx("float64")
    tf.config.run_functions_eagerly(True)
    yield
    keras.config.set_dtype_policy("float32")
    keras.config.set_floatx("float32")
    tf.config.run_functions_eagerly(False)


def state():
    return {
        "environment": dict(os.environ),
        "python's generator": random.getstate(),
        "numpy's generator": np.random.get_state()[1].tolist(),  # noqa: NPY002 - the global generator is what must not change
        "policy": keras.config.dtype_policy().name,
        "float": keras.config.floatx(),
        "backend": keras.config.backend(),
        "format": keras.config.image_data_format(),
        "eager": tf.config.functions_run_eagerly(),
        "name": keras.layers.ReLU().name.partition("_")[0],
    }


def test_the_caller_s_settings_change_nothing_and_are_not_changed(tmp_path, unusual_process):
    write_onnx(tiny_graph(), tmp_path / "mine.onnx")
    model = keras.Sequential([keras.Input((16, 16, 3)), keras.layers.Conv2D(4, 3, dtype="float32", name="conv")], name="own")
    model.save(tmp_path / "own.keras")
    before = state()
    tf.random.set_seed(1)
    drawn = tf.random.uniform([], dtype="float32").numpy()
    tf.random.set_seed(1)
    features = {source: load(tmp_path / source).features(IMAGE, None or layer) for source, layer in SOURCES.items()}
    assert tf.random.uniform([], dtype="float32").numpy() == drawn
    assert state() == before
    keras.config.set_dtype_policy("float32")
    keras.config.set_floatx("float32")
    tf.config.run_functions_eagerly(False)
    for source, layer in SOURCES.items():
        assert features[source][layer].dtype == "float32"
        np.testing.assert_array_equal(load(tmp_path / source).features(IMAGE, layer)[layer], features[source][layer])


SOURCES = {"mine.onnx": "fc2", "own.keras": "conv"}
