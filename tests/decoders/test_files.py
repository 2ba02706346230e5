"""A decoder's files: they decode as the model, know their encoder, and bring nothing else."""

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

from tests.decoders.conftest import ENCODER
from tfinvert.decoders.export import export_onnx
from tfinvert.decoders.files import RECORD, encoder_of, load_decoder, load_keras_model, save_decoder
from tfinvert.decoders.model import build_decoder
from tfinvert.system.errors import InputError

FEATURES = np.ones((1, 8, 8, 4), np.float32)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A folder with both files of one decoder, which no test changes."""
    folder = tmp_path_factory.mktemp("written")
    decoder = build_decoder((8, 8, 4), (16, 16), width=2)
    save_decoder(decoder, ENCODER, folder / "decoder.keras")
    export_onnx(decoder, ENCODER, folder / "decoder.onnx")
    return folder


@pytest.mark.parametrize("shape", [(7, 7, 4), (10,)])
@pytest.mark.parametrize("upsampling", ["transposed", "resize"])
def test_files_decode_as_the_model_and_know_their_encoder(shape, upsampling, tmp_path):
    encoder = dataclasses.replace(ENCODER, shape=shape, size=(48, 48))
    decoder = build_decoder(shape, (48, 48), upsampling=upsampling, width=2)
    save_decoder(decoder, encoder, tmp_path / "decoder.keras")
    assert export_onnx(decoder, encoder, tmp_path / "decoder.onnx") < 1e-5
    features = np.random.default_rng(1).random((3, *shape), np.float32)
    expected = np.asarray(decoder(features))
    for source in (tmp_path, tmp_path / "decoder.keras", tmp_path / "decoder.onnx"):
        assert encoder_of(str(source)) == encoder
        np.testing.assert_allclose(load_decoder(str(source), encoder)(features), expected, atol=1e-5)
    assert isinstance(keras.models.load_model(tmp_path / "decoder.keras"), keras.Model)  # a Keras file like any other
    onnx.checker.check_model(str(tmp_path / "decoder.onnx"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["decoder.keras", "decoder.onnx"]


@pytest.mark.parametrize("name", ["decoder.keras", "decoder.onnx"])
def test_a_decoder_is_refused_for_another_encoder(name, written):
    with pytest.raises(InputError, match="is for another encoder: layer conv1, not conv2"):
        load_decoder(str(written / name), dataclasses.replace(ENCODER, layer="conv2"))


def test_files_that_are_no_decoders(tmp_path):
    for name, content in {"a.keras": b"no zip", "b.onnx": b"\x08\x07\x12\x04", "c.txt": b""}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=name):
            encoder_of(str(tmp_path / name))
    with zipfile.ZipFile(tmp_path / "d.keras", "w") as archive:
        archive.writestr(RECORD, json.dumps({"layer": "conv1"}))
    with pytest.raises(InputError, match="no readable record"):
        encoder_of(str(tmp_path / "d.keras"))
    with pytest.raises(InputError, match=r"no decoder\.keras"):
        encoder_of(str(tmp_path))
    with pytest.raises(InputError, match="there is no decoder"):
        encoder_of(str(tmp_path / "none"))
    with pytest.raises(InputError, match="cannot read the decoder"):
        load_keras_model(tmp_path / "d.keras")


def rewrite(source, path, changes):
    """Copies a .keras file with some of the files in it changed or added."""
    with zipfile.ZipFile(source) as archive:
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
        ({"config.json": lambda data: data.replace(b'"Zeros"', b'["Zeros"]')}, "which is no part of a decoder"),
        ({"config.json": lambda data: b"[" * 10**5}, "cannot read the decoder"),
        ({"config.json": lambda data: b" " * 2**23}, "8388608 bytes"),
        ({"assets/x.py": lambda data: b"x"}, "'assets/x.py'"),
        ({"model.weights.h5": with_link}, "other files"),
        ({"model.weights.h5": lambda data: b"no weights"}, "cannot read the decoder"),
    ],
)
def test_nothing_but_a_decoder_is_made_of_a_file(changes, words, written, tmp_path):
    rewrite(written / "decoder.keras", tmp_path / "decoder.keras", changes)
    with pytest.raises(InputError, match=re.escape(words)):
        load_keras_model(tmp_path / "decoder.keras")


def test_a_decoder_whose_weights_lie_elsewhere_is_refused(written, tmp_path):
    model = onnx.load(str(written / "decoder.onnx"))
    path = tmp_path / "decoder.onnx"
    onnx.save(model, str(path), save_as_external_data=True, location="w.bin", size_threshold=0)
    for read in (encoder_of, load_decoder):
        with pytest.raises(InputError, match="weights in other files"):
            read(str(path))


def test_a_damaged_decoder_that_still_runs_is_refused(written, tmp_path):
    """Found by `python -m tests.soak checkpoints`: one changed byte had exchanged the axes of its output."""
    model = onnx.load(str(written / "decoder.onnx"))
    output = model.graph.output[0]
    model.graph.node.append(onnx.helper.make_node("Transpose", [output.name], ["exchanged"], perm=[3, 1, 2, 0]))
    model.graph.output[0].CopyFrom(onnx.helper.make_empty_tensor_value_info("exchanged"))
    onnx.save(model, str(tmp_path / "decoder.onnx"))
    with pytest.raises(InputError, match=r"shape \(3, 16, 16, 1\); expected \(1, 16, 16, 3\)"):
        load_decoder(str(tmp_path / "decoder.onnx"))(FEATURES)


@pytest.mark.parametrize("name", ["decoder.keras", "decoder.onnx"])
def test_a_decoder_that_does_not_run_is_refused(name, written):
    with pytest.raises(InputError, match=f"{name} does not run"):
        load_decoder(str(written / name))(FEATURES[..., :3])
