"""Decoders as ONNX."""

import keras
import numpy as np
import pytest

from tests.decoders.conftest import ENCODER
from tfinvert.decoders.export import export_onnx
from tfinvert.decoders.files import load_decoder
from tfinvert.decoders.model import build_decoder
from tfinvert.system.errors import InputError


def test_a_decoder_in_bfloat16_is_exported_in_float32(tmp_path):
    decoder = build_decoder((8, 8, 4), (16, 16), width=2, precision="bfloat16")
    assert export_onnx(decoder, ENCODER, tmp_path / "decoder.onnx") < 1e-5
    exact = build_decoder((8, 8, 4), (16, 16), width=2)
    features = np.random.default_rng(0).random((1, 8, 8, 4), np.float32)
    np.testing.assert_allclose(load_decoder(str(tmp_path / "decoder.onnx"))(features), exact(features), atol=1e-5)


def test_a_decoder_whose_onnx_cannot_be_checked_is_not_written(tmp_path):
    features = keras.Input((8, 8, 4))
    broken = keras.Model(features, keras.layers.Rescaling(float("nan"))(features))
    with pytest.raises(InputError, match="ONNX differs from it by nan"):
        export_onnx(broken, ENCODER, tmp_path / "decoder.onnx")
    assert list(tmp_path.iterdir()) == []
