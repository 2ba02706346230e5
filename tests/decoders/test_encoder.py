"""The record of an encoder: what it refuses, and how it is read."""

import dataclasses
import json

import pytest

from tests.decoders.conftest import ENCODER
from tfinvert.decoders.encoder import parse_encoder
from tfinvert.system.errors import InputError


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"layer": "conv2"}, "layer conv1, not conv2"),
        ({"shape": (4, 4, 4)}, "shape (8, 8, 4), not (4, 4, 4)"),
        ({"sha256": "cd" * 32}, "sha256 abababababab, not cdcdcdcdcdcd"),
        ({"pool": "avg"}, "pool max, not avg"),
        ({"size": (32, 32)}, "size (16, 16), not (32, 32)"),
        ({"preprocessing": "caffe"}, "preprocessing torch, not caffe"),
        ({"weights": "random"}, "weights pretrained, not random"),
    ],
)
def test_another_encoder_is_refused(change, words):
    with pytest.raises(InputError) as caught:
        ENCODER.refuse_other(dataclasses.asdict(dataclasses.replace(ENCODER, **change)), "out/run")
    assert words in str(caught.value)


def test_the_same_encoder_elsewhere_is_not_refused():
    ENCODER.refuse_other({"onnx": "/moved.onnx", "network": "vgg16-bn", "sha256": ENCODER.sha256}, "out/run")
    random = dataclasses.replace(ENCODER, onnx=None, sha256=None, weights="random")
    random.refuse_other(dataclasses.asdict(random), "out/run")
    with pytest.raises(InputError, match="weights random, not pretrained"):
        random.refuse_other({"weights": "pretrained", "sha256": "ab" * 32}, "out/run")
    with pytest.raises(InputError, match="network alexnet, not resnet18"):
        random.refuse_other({"network": "resnet18"}, "out/run")


def test_a_record_is_read_as_it_was_written():
    random = dataclasses.replace(ENCODER, onnx=None, sha256=None, shape=(10,))
    for encoder in (ENCODER, random):
        assert parse_encoder(encoder.to_json(), "d.keras") == encoder


def test_the_settings_are_those_of_a_run_with_the_same_encoder():
    assert ENCODER.settings() == {
        "model": "alexnet",
        "onnx": "/somewhere/tiny.onnx",
        "layers": ("conv1",),
        "weights": "pretrained",
        "pool": "max",
        "preprocessing": "torch",
        "size": (16, 16),
    }
    assert "onnx" not in dataclasses.replace(ENCODER, onnx=None).settings()


@pytest.mark.parametrize("change", [{"size": [16, "x"]}, {"shape": [8, 8]}, {"shape": 5}, {"layer": None}, {"onnx": 5}])
def test_a_record_of_wrong_types_is_refused(change):
    fields = {**dataclasses.asdict(ENCODER), **change}
    with pytest.raises(InputError, match="no readable record"):
        parse_encoder(json.dumps(fields), "d.keras")
