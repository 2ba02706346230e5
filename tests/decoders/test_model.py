"""Decoders: shapes, where features land, files that know their encoder."""

import dataclasses
import io
import json
import re
import zipfile

import h5py
import keras
import numpy as np
import onnx
import pytest
import tensorflow as tf

from tfinvert.decoders import model as decoders
from tfinvert.decoders.model import Encoder
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
    # Cell i of 13 or 14 over 224 pixels has its center at 112 + 16 (i - (cells - 1) / 2), whatever is padded and cropped.
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


def rewritten(path, changes):
    """A .keras file with some of the files in it changed or added."""
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    for name, change in changes.items():
        files[name] = change(files.get(name, b""))
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)


def with_link(data):
    """Weights that are another file's."""
    with io.BytesIO(data) as file:
        with h5py.File(file, "a") as weights:
            weights["other"] = h5py.ExternalLink("/etc/passwd", "/")
        return file.getvalue()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"config.json": lambda data: data.replace(b'"LeakyReLU"', b'"Lambda"')}, "'Lambda' of 'keras.layers'"),
        ({"config.json": lambda data: data.replace(b'"keras.layers"', b'"os"')}, "of 'os'"),
        ({"config.json": lambda data: data.replace(b'"Zeros"', b'"RandomNormal"')}, "'RandomNormal'"),
        ({"config.json": lambda data: b"[" * 10**5}, "cannot read the decoder"),
        ({"config.json": lambda data: b" " * 2**23}, "8388608 bytes"),
        ({"assets/x.py": lambda data: b"x"}, "'assets/x.py'"),
        ({"model.weights.h5": with_link}, "other files"),
        ({"model.weights.h5": lambda data: b"no weights"}, "cannot read the decoder"),
    ],
)
def test_nothing_but_a_decoder_is_made_of_a_file(changes, words, tmp_path):
    decoders.save(decoders.build((8, 8, 4), (16, 16), width=2), ENCODER, tmp_path / "decoder.keras")
    rewritten(tmp_path / "decoder.keras", changes)
    with pytest.raises(InputError, match=re.escape(words)):
        decoders.load_model(tmp_path / "decoder.keras")


@pytest.mark.parametrize("change", [{"size": [16, "x"]}, {"shape": [8, 8]}, {"shape": 5}, {"layer": None}, {"onnx": 5}])
def test_a_record_of_wrong_types_is_refused(change):
    fields = {**dataclasses.asdict(ENCODER), **change}
    with pytest.raises(InputError, match="nothing readable"):
        Encoder.parse(json.dumps(fields), "d.keras")


def test_a_decoder_whose_weights_lie_elsewhere_is_refused(tmp_path):
    decoders.export(decoders.build((8, 8, 4), (16, 16), width=2), ENCODER, tmp_path / "decoder.onnx")
    model = onnx.load(str(tmp_path / "decoder.onnx"))
    onnx.save(model, str(tmp_path / "decoder.onnx"), save_as_external_data=True, location="w.bin", size_threshold=0)
    for read in (decoders.encoder_of, decoders.load):
        with pytest.raises(InputError, match="weights in other files"):
            read(str(tmp_path / "decoder.onnx"))


def test_a_damaged_decoder_that_still_runs_is_refused(tmp_path):
    """Found by `python -m tests.soak checkpoints`: one changed byte had exchanged the axes of its output."""
    decoders.export(decoders.build((8, 8, 4), (16, 16), width=2), ENCODER, tmp_path / "decoder.onnx")
    model = onnx.load(str(tmp_path / "decoder.onnx"))
    output = model.graph.output[0]
    model.graph.node.append(onnx.helper.make_node("Transpose", [output.name], ["exchanged"], perm=[3, 1, 2, 0]))
    model.graph.output[0].CopyFrom(onnx.helper.make_empty_tensor_value_info("exchanged"))
    onnx.save(model, str(tmp_path / "decoder.onnx"))
    with pytest.raises(InputError, match=r"shape \(3, 16, 16, 1\); expected \(1, 16, 16, 3\)"):
        decoders.load(str(tmp_path / "decoder.onnx"))(np.ones((1, 8, 8, 4), np.float32))


@pytest.mark.parametrize("name", ["decoder.keras", "decoder.onnx"])
def test_a_decoder_that_does_not_run_is_refused(name, tmp_path):
    decoder = decoders.build((8, 8, 4), (16, 16), width=2)
    decoders.save(decoder, ENCODER, tmp_path / "decoder.keras")
    decoders.export(decoder, ENCODER, tmp_path / "decoder.onnx")
    with pytest.raises(InputError, match=f"{name} does not run"):
        decoders.load(str(tmp_path / name))(np.ones((1, 8, 8, 3), np.float32))
