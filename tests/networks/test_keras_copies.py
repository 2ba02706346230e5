"""Keras models from files, and what the models of their networks copy."""

import random

import keras
import numpy as np

from tests.networks.keras_models import IMAGE, filled, small
from tfinvert.networks.load import load

layers = keras.layers


def test_a_keras_file(tmp_path):
    model = small()
    model.save(tmp_path / "mine.keras")
    drawn = random.getstate()
    network = load(tmp_path / "mine.keras", preprocessing="none")
    assert random.getstate() == drawn
    np.testing.assert_array_equal(network.features(IMAGE, "dense")["dense"], model(IMAGE))
    assert network.name == "mine"
    assert network.weights.startswith("mine.keras (SHA-256 of its weights ")
    assert network.weights.removeprefix("mine.keras") == load(model).weights.removeprefix("the keras.Model small")
    assert network.provenance() == {
        "network": "mine",
        "weights": network.weights,
        "onnx_sha256": None,
        "converter": None,
        "preprocessing": "none",
        "preprocessing_from": "as given",
        "pool": "max",
        "size": [32, 32],
    }


def test_its_model_has_real_layers_with_copies_of_the_weights(tmp_path):
    model = small(activation="softmax")
    network = load(model, preprocessing="mean=0.5,0.4,0.3;std=0.2;order=bgr")
    made = network.plain(["relu1", "conv2", "scores"])
    kinds = {type(layer).__name__ for layer in made.layers}
    assert {"Conv2D", "BatchNormalization", "MaxPooling2D", "Dense"} <= kinds
    assert made.get_layer("conv2").kernel is not model.get_layer("conv2").kernel
    assert made.trainable_variables == []
    expected = network.features(IMAGE, ["relu1", "conv2", "scores"])
    made.save(tmp_path / "made.keras")
    for each in (made, keras.models.load_model(tmp_path / "made.keras")):
        found = each(IMAGE, training=True)  # in inference mode even so
        for name, value in expected.items():
            np.testing.assert_allclose(found[name], value, rtol=1e-5, atol=1e-5)
    assert len(model.get_layer("conv2")._inbound_nodes) == 1  # the model is left as it was


def test_its_model_copies_nested_models_shared_layers_and_operations():
    image = keras.Input((32, 32, 3))
    twice = layers.Conv2D(3, 1, name="twice")
    inner = keras.Sequential([keras.Input((32, 32, 3)), layers.Conv2D(4, 3, name="conv"), layers.ReLU()], name="inner")
    value = layers.Conv2D(4, 3, name="conv")(image)  # a name that is in the inner model, too
    value = keras.ops.tanh(value) * 2 + inner(twice(twice(image)))[:, ::1]
    model = filled(keras.Model(image, layers.Add(name="sum")([value, value])))
    network = load(model, preprocessing="none")
    np.testing.assert_allclose(network.plain("sum")(IMAGE)["sum"], model(IMAGE), rtol=1e-5, atol=1e-5)


def test_a_model_with_a_layer_that_cannot_be_copied_is_one_layer(caplog):
    class Own(layers.Layer):
        def __init__(self, times):
            super().__init__(name="own")
            self.times = times

        def call(self, value):
            return self.times(value)

    image = keras.Input((32, 32, 3))
    network = load(keras.Model(image, Own(lambda value: value * 2)(image)), preprocessing="none")
    np.testing.assert_allclose(network.model(IMAGE)["own"], IMAGE * 2)
    assert "the layer 'own' (Own) cannot be copied" in caplog.text
