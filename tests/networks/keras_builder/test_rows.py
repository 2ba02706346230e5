"""The dense layer of tokens: a product, or convolutions where weights are packed once, with the same values and gradients."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfinvert.networks import backpropagation
from tfinvert.networks.keras_builder import rows
from tfinvert.networks.keras_builder.rows import RowsDense

RANDOM = np.random.default_rng(0)
MATRIX, BIAS = RANDOM.normal(size=(6, 5)).astype(np.float32), RANDOM.normal(size=5).astype(np.float32)
TOKENS, UPSTREAM = (RANDOM.normal(size=(7, sides)).astype(np.float32) for sides in (6, 5))


@pytest.fixture(params=[False, True], ids=["product", "convolution"])
def packed(request, monkeypatch):
    monkeypatch.setattr(rows, "weights_stay", lambda: request.param)
    return request.param


def dense(**options):
    layer = RowsDense(5, trainable=False, **options)
    layer.build((None, 6))
    layer.set_weights([MATRIX[None, None], MATRIX.T[None, None], *([BIAS] if layer.use_bias else [])])
    return layer


def value_and_gradient(function):
    tokens = tf.constant(TOKENS)
    with tf.GradientTape() as tape:
        tape.watch(tokens)
        value = function(tokens)
    return value, tape.gradient(value, tokens, output_gradients=tf.constant(UPSTREAM))


@pytest.mark.parametrize("use_bias", [True, False])
def test_value_and_gradient_are_those_of_the_product(packed, use_bias):
    layer = dense(use_bias=use_bias)
    for call in (layer, tf.function(layer)):
        value, gradient = value_and_gradient(call)
        np.testing.assert_allclose(value, TOKENS @ MATRIX + BIAS * use_bias, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(gradient, UPSTREAM @ MATRIX.T, rtol=1e-5, atol=1e-5)


def test_the_convolutions_are_there_where_weights_are_packed(packed):
    layer = dense()
    graph = tf.function(lambda: value_and_gradient(layer)).get_concrete_function().graph
    kinds = [operation.type for operation in graph.get_operations()]
    assert (kinds.count("Conv2D"), "MatMul" in kinds) == ((2, False) if packed else (0, True))
    assert "Conv2DBackpropInput" not in kinds


def test_a_saved_layer_is_read_back(packed, tmp_path):
    tokens = keras.Input((6,))
    model = keras.Model(tokens, dense()(tokens))
    model.save(tmp_path / "dense.keras")
    again = keras.models.load_model(tmp_path / "dense.keras", compile=False)
    np.testing.assert_array_equal(again(TOKENS), model(TOKENS))


def test_its_gradient_is_the_same_in_a_flat_graph(packed):
    image = keras.Input((4, 4, 3))
    tokens = keras.ops.reshape(keras.layers.ReLU()(image), (-1, 6))
    model = keras.Model(image, {"scores": keras.ops.reshape(dense()(tokens), (-1, 40))})
    images = tf.constant(RANDOM.normal(size=(2, 4, 4, 3)).astype(np.float32))
    found = []
    for features in (backpropagation.redirected(model), model):
        with tf.GradientTape() as tape:
            tape.watch(images)
            score = features(images)["scores"]
        found.append(tape.gradient(score, images))
    assert np.abs(found[0]).max() > 1
    np.testing.assert_allclose(*found, rtol=1e-5, atol=1e-5)
