"""Conversion as a whole: every layer of every network against onnxruntime, and what is not right is not taken."""

import dataclasses
from pathlib import Path

import numpy as np
import onnx.backend.test
import onnxruntime
import pytest

from tests.conftest import SHARED, tiny_graph, write_onnx
from tests.networks.conversions import converted, request, tiny_network
from tfinvert.networks import zoo
from tfinvert.networks.conversion import cache, converters, verify, work
from tfinvert.system.errors import InputError

LIGHT = Path(onnx.backend.test.__file__).parent / "data" / "light"
REAL = ["alexnet-torchvision-trunk", "resnet18-torchvision-trunk", "squeezenet1.1-gluon"]
REAL += ["squeezenet1_1-torchvision", "vgg16-torchvision-stem"]


def check(result, count):
    assert len(result.layers) == count
    worst = max(result.layers, key=lambda layer: layer.error)
    assert worst.error <= 1e-4, worst


@pytest.mark.parametrize("pool", ["max", pytest.param("avg", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("model", "count"),
    [
        pytest.param("vgg16-bn", 21, marks=pytest.mark.slow),
        ("resnet18", 20),
        ("squeezenet1.1", 51),
        pytest.param("alexnet", 13, marks=pytest.mark.slow),
    ],
)
def test_every_layer_of_the_zoo_s_networks(model, count, pool):
    check(converted(model=model, pool=pool), count)


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared/data, which is not there")
@pytest.mark.parametrize("file", REAL)
def test_every_layer_of_real_pretrained_networks(file):
    result = converted(onnx=str(SHARED / "models" / f"{file}.onnx"), weights="pretrained")
    check(result, {REAL[0]: 8, REAL[1]: 14, REAL[4]: 6}.get(file, 51))


@pytest.mark.parametrize(("model", "layer"), [("resnet18", "res1"), ("alexnet", "conv1"), ("squeezenet1.1", "conv1")])
@pytest.mark.parametrize("size", [(64, 97), (99, 70)])
def test_strided_stems_at_other_sizes(model, layer, size):
    check(converted(model=model, layers=(layer,), size=size), 1)


@pytest.mark.parametrize(
    ("file", "count"),
    [
        ("bvlc_alexnet", 13),
        pytest.param("vgg19", 24, marks=pytest.mark.slow),
        pytest.param("zfnet512", 13, marks=pytest.mark.slow),
    ],
)
def test_every_layer_of_graphs_that_others_wrote(file, count):
    check(converted(onnx=str(LIGHT / f"light_{file}.onnx"), weights="random"), count)


def test_an_unknown_layer_is_answered_with_the_nearest_first(tiny_file):
    with pytest.raises(InputError, match=r"unknown layer 'conv2_2'; expected one of: conv2_1, "):
        tiny_network(tiny_file, ["conv2_2"])


def test_auto_says_why_it_uses_random_weights(tmp_path, monkeypatch, caplog):
    monkeypatch.setitem(zoo.MODELS, "alexnet", dataclasses.replace(zoo.MODELS["alexnet"], sources=("http://127.0.0.1:1/x",)))
    with caplog.at_level("INFO", "tfinvert"):
        found = request(model="alexnet", weights="auto", models_folder=tmp_path)
    assert found.weights == "random"
    assert "using seeded random weights for alexnet" in caplog.text
    with pytest.raises(InputError, match="put it at"):
        request(model="alexnet", weights="pretrained", models_folder=tmp_path)


def test_a_layer_that_differs_from_onnxruntime_stops_the_conversion(tmp_path, monkeypatch):
    """A conversion in this process, with onnxruntime's own values in the place of a converted network's."""
    reference = verify.reference
    monkeypatch.setattr(verify, "reference", lambda *a: {k: v * 1.001 for k, v in reference(*a).items()})
    monkeypatch.setitem(converters.CONVERTERS, "onnx2tf", FakeModel)
    file = str(write_onnx(tiny_graph(), tmp_path / "net.onnx"))
    wrong = request(onnx=file, weights="auto", layers=("pool1",), preprocessing="none", converter="onnx2tf")
    words = r"layer 'pool1' differs from onnxruntime by 1\.0e-03 .* expected at most 1e-04 .* cannot be trusted"
    with pytest.raises(InputError, match=words):
        work.convert(wrong, tmp_path / "entry", lambda event: None)
    assert not (tmp_path / "entry").exists()


class FakeModel:
    """Gives onnxruntime's own values, which the test's reference then differs from."""

    wrong = 1.0

    def __init__(self, request, part, layers):
        self.session, self.part, self.layers = verify_session(part), part, layers

    def features(self, images):
        values = [self.session.run(list(self.part.outputs), {self.part.image: i[None].transpose(0, 3, 1, 2)}) for i in images]
        stacked = dict(zip(self.part.outputs, map(np.concatenate, zip(*values, strict=True)), strict=True))
        return {name: self.wrong * verify.channels_last(stacked[tensor]) for name, tensor in self.layers.items()}


def verify_session(part):
    return onnxruntime.InferenceSession(part.proto(batch=1).SerializeToString(), providers=["CPUExecutionProvider"])


class WrongModel(FakeModel):
    """As what onnx2tf makes of a graph whose axes it guesses wrongly."""

    wrong = 1.01


class RefusedModel:
    def __init__(self, request, part, layers):
        raise InputError("onnx2tf could not convert the network")


@pytest.mark.parametrize(("kind", "why"), [(WrongModel, "differs from onnxruntime by 1.0e-02"), (RefusedModel, "could not")])
def test_what_onnx2tf_does_not_make_right_is_built_of_keras_layers(kind, why, tmp_path, monkeypatch):
    monkeypatch.setitem(converters.CONVERTERS, "onnx2tf", kind)
    file = str(write_onnx(tiny_graph(), tmp_path / "net.onnx"))
    wanted = request(onnx=file, weights="auto", layers=("pool1",), preprocessing="none")
    work.convert(wanted, tmp_path / "entry", lambda event: None)
    made = cache.read_entry(tmp_path / "entry", wanted)
    assert made.converter == "keras"
    assert why in made.because
    assert made.layers[0].error < 1e-6
    only = dataclasses.replace(wanted, converter="onnx2tf")
    with pytest.raises(InputError, match=why):
        work.convert(only, tmp_path / "other", lambda event: None)
