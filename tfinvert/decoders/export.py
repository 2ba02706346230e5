"""Decoders as ONNX files."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import onnx
import tensorflow as tf

from tfinvert.decoders.encoder import Encoder
from tfinvert.decoders.files import RECORD_KEY
from tfinvert.system import standard_error
from tfinvert.system.errors import InputError
from tfinvert.system.files import replacing

TOLERANCE = 1e-4
OPSET = 17


def export_onnx(decoder: keras.Model, encoder: Encoder, path: Path) -> float:
    """Writes a decoder as ONNX, from features in TensorFlow's order of axes, after checking it with onnxruntime.

    Args:
      decoder: features [batch, *encoder.shape] -> RGB [batch, height, width, 3].
      encoder: the record that goes into the file.
      path: the file; it appears whole or not at all.

    Returns:
      The largest difference between the two on random features, for images in [0, 1].

    Raises:
      InputError: the two differ by more than `TOLERANCE`.
      OSError: the file cannot be written.
    """
    import onnxruntime

    decoder = _in_float32(decoder)
    signature = [tf.TensorSpec((None, *encoder.shape), tf.float32, name="features")]
    # The names of input and output are part of the file: other programs use them.
    function = tf.function(lambda features: tf.identity(decoder(features, training=False), name="picture"))
    with standard_error.hold_back():
        import tf2onnx

        proto, _ = tf2onnx.convert.from_function(function, input_signature=signature, opset=OPSET)
    onnx.helper.set_model_props(proto, {RECORD_KEY: encoder.to_json()})
    data = proto.SerializeToString()
    features = np.abs(np.random.default_rng(0).standard_normal((2, *encoder.shape))).astype(np.float32)
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    expected = decoder(tf.constant(features), training=False).numpy()
    difference = float(np.abs(session.run(None, {"features": features})[0] - expected).max())
    if not difference <= TOLERANCE * max(1.0, float(np.abs(expected).max())):
        raise InputError(f"the decoder's ONNX differs from it by {difference:.1e}; expected at most {TOLERANCE:.0e}")
    with replacing(path) as part:
        part.write_bytes(data)
    return difference


def _in_float32(decoder: keras.Model) -> keras.Model:
    """The decoder with the same weights in float32 arithmetic: onnxruntime has no bfloat16 on most devices."""
    if all(layer.compute_dtype == "float32" for layer in decoder.layers):
        return decoder
    copy = keras.models.clone_model(
        decoder, clone_function=lambda layer: type(layer).from_config({**layer.get_config(), "dtype": "float32"})
    )
    copy.set_weights(decoder.get_weights())
    return copy
