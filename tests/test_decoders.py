"""Decoders: shapes, where features land, files that know their encoder."""

import dataclasses
import json
import zipfile

import keras
import numpy as np
import onnx
import pytest
import tensorflow as tf

from tfinvert import decoders
from tfinvert.decoders import Encoder
from tfinvert.errors import InputError

ENCODER = Encoder(
    layer="conv1",
    tensor="relu1",
    shape=(8, 8, 4),
    size=(16, 16),
    network="alexnet",
    onnx="/somewhere/tiny.onnx",
    sha256="ab" * 32,
    weights="pretrained",
    pool="max",
    preprocessing="torch",
)


@pytest.mark.parametrize("upsampling", ["transposed", "resize"])
@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((55, 55, 4), (224, 224)),  # AlexNet's conv1 to pool5: none is the picture's size over a power of two
        ((27, 27, 4), (224, 224)),
        ((13, 13, 4), (227, 227)),
        ((6, 6, 4), (224, 224)),
        ((16, 16, 4), (16, 16)),
        ((8, 12, 4), (64, 96)),
        ((37, 37, 4), (224, 224)),  # stride 6
        ((10,), (48, 80)),
    ],
)
def test_the_output_has_the_size_of_the_picture(shape, size, upsampling):
    decoder = decoders.build(shape, size, upsampling=upsampling, width=2)
    assert decoder.input_shape == (None, *shape)
    assert decoder.output_shape == (None, *size, 3)
    kinds = [type(layer).__name__ for layer in decoder.layers]
    assert ("Conv2DTranspose" in kinds) == (upsampling == "transposed" and shape[0] != size[0])
    assert ("UpSampling2D" in kinds) == (upsampling == "resize" and shape[0] != size[0])


def test_channels_double_at_each_halving():
    decoder = decoders.build((14, 14, 64), (224, 224), width=32)
    counts = [layer.filters for layer in decoder.layers if hasattr(layer, "filters")]
    assert counts == [256, 256, 128, 64, 32, 3]


@pytest.mark.parametrize("upsampling", ["transposed", "resize"])
@pytest.mark.parametrize("cells", [13, 14])
def test_a_feature_lands_on_the_pixels_that_it_came_from(cells, upsampling):
    # Cell i of 13 or 14 over 224 pixels has its centre at 112 + 16 (i - (cells - 1) / 2), whatever is padded and cropped.
    decoder = decoders.build((cells, cells, 1), (224, 224), upsampling=upsampling, width=4)
    for layer in decoder.layers:  # all weights alike, so that nothing but the geometry decides
        layer.set_weights([np.full_like(value, 0.1 if value.ndim > 1 else 0.0) for value in layer.get_weights()])
    for down, right in ((3, 9), (6, 6)):
        features = np.zeros((1, cells, cells, 1), np.float32)
        features[0, down, right] = 1
        change = np.asarray(decoder(features))[0, ..., 0] - np.asarray(decoder(0 * features))[0, ..., 0]
        rows, columns = np.mgrid[:224, :224] + 0.5
        found = [(change * place).sum() / change.sum() for place in (rows, columns)]
        wanted = [112 + 16 * (index - (cells - 1) / 2) for index in (down, right)]
        np.testing.assert_allclose(found, wanted, atol=1.0)


def test_the_scale_divides_the_features():
    features = np.random.default_rng(0).random((1, 8, 8, 4), np.float32)
    one = decoders.build((8, 8, 4), (16, 16), width=2, seed=3)
    ten = decoders.build((8, 8, 4), (16, 16), width=2, seed=3, scale=10.0)
    np.testing.assert_allclose(ten(10 * features), one(features), atol=1e-6)
    other = decoders.build((8, 8, 4), (16, 16), width=2, seed=4)
    assert np.abs(other(features) - one(features)).max() > 1e-3


def test_bfloat16_keeps_variables_and_output_in_float32(tmp_path):
    decoder = decoders.build((8, 8, 4), (16, 16), width=2, precision="bfloat16")
    assert {variable.dtype for variable in decoder.variables} == {"float32"}
    assert {layer.compute_dtype for layer in decoder.layers if hasattr(layer, "filters")} == {"bfloat16", "float32"}
    assert decoder(np.zeros((1, 8, 8, 4), np.float32)).dtype == tf.float32
    exact = decoders.build((8, 8, 4), (16, 16), width=2)
    features = np.random.default_rng(0).random((1, 8, 8, 4), np.float32)
    np.testing.assert_allclose(decoder(features), exact(features), atol=0.05)
    assert decoders.export(decoder, ENCODER, tmp_path / "decoder.onnx") < 1e-5  # in float32
    np.testing.assert_allclose(decoders.load(str(tmp_path / "decoder.onnx"))(features), exact(features), atol=1e-5)


@pytest.mark.parametrize("shape", [(7, 7, 4), (10,)])
@pytest.mark.parametrize("upsampling", ["transposed", "resize"])
def test_files_decode_as_the_model_and_know_their_encoder(shape, upsampling, tmp_path):
    encoder = dataclasses.replace(ENCODER, shape=shape, size=(48, 48))
    decoder = decoders.build(shape, (48, 48), upsampling=upsampling, width=2)
    decoders.save(decoder, encoder, tmp_path / "decoder.keras")
    assert decoders.export(decoder, encoder, tmp_path / "decoder.onnx") < 1e-5
    features = np.random.default_rng(1).random((3, *shape), np.float32)
    expected = np.asarray(decoder(features))
    for source in (tmp_path, tmp_path / "decoder.keras", tmp_path / "decoder.onnx"):
        assert decoders.encoder_of(str(source)) == encoder
        np.testing.assert_allclose(decoders.load(str(source))(features), expected, atol=1e-5)
    assert isinstance(keras.models.load_model(tmp_path / "decoder.keras"), keras.Model)  # a Keras file like any other
    onnx.checker.check_model(str(tmp_path / "decoder.onnx"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["decoder.keras", "decoder.onnx"]


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


def test_the_same_encoder_elsewhere_is_not():
    ENCODER.refuse_other({"onnx": "/moved.onnx", "network": "vgg16-bn", "sha256": ENCODER.sha256}, "out/run")
    random = dataclasses.replace(ENCODER, onnx=None, sha256=None, weights="random")
    random.refuse_other(dataclasses.asdict(random), "out/run")
    with pytest.raises(InputError, match="weights random, not pretrained"):
        random.refuse_other({"weights": "pretrained", "sha256": "ab" * 32}, "out/run")
    with pytest.raises(InputError, match="network alexnet, not resnet18"):
        random.refuse_other({"network": "resnet18"}, "out/run")


def test_files_that_are_no_decoders(tmp_path):
    for name, content in {"a.keras": b"no zip", "b.onnx": b"\x08\x07\x12\x04", "c.txt": b""}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=name):
            decoders.encoder_of(str(tmp_path / name))
    with zipfile.ZipFile(tmp_path / "d.keras", "w") as archive:
        archive.writestr(decoders.RECORD, json.dumps({"layer": "conv1"}))
    with pytest.raises(InputError, match="nothing readable"):
        decoders.encoder_of(str(tmp_path / "d.keras"))
    with pytest.raises(InputError, match=r"no decoder\.keras"):
        decoders.encoder_of(str(tmp_path))
    with pytest.raises(InputError, match="there is no decoder"):
        decoders.encoder_of(str(tmp_path / "none"))
    with pytest.raises(InputError, match="cannot read the decoder"):
        decoders.load_model(tmp_path / "d.keras")
