"""Guided backpropagation and redirected gradients through every kind of activation, against rules worked out by hand."""

import logging

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfinvert.networks import backpropagation
from tfinvert.networks.load import load
from tfinvert.system.errors import InputError

layers, ops, activations = keras.layers, keras.ops, keras.activations
IMAGE = np.random.default_rng(1).uniform(0, 1, (2, 16, 16, 3)).astype(np.float32)


def prelu():
    layer = layers.PReLU(shared_axes=(1, 2))
    layer.build((None, 14, 14, 4))
    layer.alpha.assign(np.array([0.3, -0.2, 0.0, 1.5], np.float32).reshape(1, 1, 4))
    return layer


PIECEWISE = {
    "ReLU": lambda: layers.ReLU(),
    "ReLU6": lambda: layers.ReLU(6.0),
    "ReLU with a limit of its own": lambda: layers.ReLU(0.4),
    "ReLU with a slope and a threshold": lambda: layers.ReLU(negative_slope=0.2, threshold=0.1, max_value=0.5),
    "LeakyReLU": lambda: layers.LeakyReLU(0.1),
    "PReLU": prelu,
    "hard tanh": lambda: activations.hard_tanh,
    "clip": lambda: lambda value: ops.clip(value, -0.1, 0.3),
    "hard sigmoid": lambda: activations.hard_sigmoid,
    "maximum of two slopes": lambda: lambda value: ops.maximum(value, 0.1 * value),
    "minimum": lambda: lambda value: ops.minimum(0.2, value),
    "threshold": lambda: lambda value: ops.where(value > 0.1, value, ops.zeros_like(value)),
    "product with a step": lambda: lambda value: value * ops.cast(value > 0.1, "float32"),
    "absolute value": lambda: ops.abs,
    "sum of two ReLUs": lambda: lambda value: ops.relu(value) - 0.5 * ops.relu(-value),
}
SMOOTH = {
    "SiLU": lambda: layers.Activation("silu"),
    "GELU": lambda: layers.Activation("gelu"),
    "GELU by tanh": lambda: lambda value: ops.gelu(value, approximate=True),
    "ELU": lambda: layers.ELU(0.5),
    "SELU": lambda: layers.Activation("selu"),
    "CELU": lambda: layers.Activation("celu"),
    "HardSwish": lambda: layers.Activation("hard_silu"),
    "Mish": lambda: layers.Activation("mish"),
    "Softplus": lambda: layers.Activation("softplus"),
    "Tanh": lambda: layers.Activation("tanh"),
    "Sigmoid": lambda: layers.Activation("sigmoid"),
}


def model(first, second=None):
    """Two convolutions with an activation behind each, and a dense layer."""
    keras.utils.set_random_seed(0)
    image = keras.Input((16, 16, 3))
    value = first(layers.Conv2D(4, 3, bias_initializer="random_normal", name="below")(image))
    value = layers.Conv2D(4, 3, padding="same", use_bias=False, name="between")(value)
    value = (second or first)(value)
    return keras.Model(image, layers.Dense(5, name="fc")(layers.Flatten()(value)))


def by_hand(network, first, second, index):
    """The gradient of a score, in which each activation passes f'(x) max(g, 0) on."""
    below, between, fc = (network.get_layer(name) for name in ("below", "between", "fc"))
    image = tf.constant(IMAGE)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(image)
        before_first = below(image)
        after_first = first(before_first)
        before_second = between(after_first)
        after_second = second(before_second)
    wanted = tf.reshape(fc.kernel[:, index], (1, *after_second.shape[1:])) * tf.ones_like(after_second)
    for inner, outer in ((after_first, after_second), (image, after_first)):
        wanted = tape.gradient(outer, inner, output_gradients=tf.maximum(wanted, 0))
    return wanted


def gradient(features, index):
    image = tf.constant(IMAGE)
    with tf.GradientTape() as tape:
        tape.watch(image)
        score = features(image)["scores"][:, index]
    return tape.gradient(score, image)


@pytest.mark.parametrize("name", PIECEWISE)
def test_every_piecewise_linear_activation_stops_negative_gradients(name):
    activation = PIECEWISE[name]()
    second = layers.ReLU() if name == "PReLU" else activation  # which has weights for one place
    network = load(model(activation, second), preprocessing="none")
    found = gradient(network.guided("scores"), 3)
    np.testing.assert_allclose(found, by_hand(network._source._model, activation, second, 3), rtol=1e-4, atol=1e-6)
    plain = gradient(lambda image: network.cut("scores")(image), 3)
    assert np.abs(found - plain).max() > 1e-3
    for key, value in network.features(IMAGE, "scores").items():
        np.testing.assert_allclose(network.guided("scores")(IMAGE)[key], value, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", SMOOTH)
def test_smooth_activations_are_refused_by_name(name):
    network = load(model(SMOOTH[name]()), preprocessing="none")
    with pytest.raises(InputError, match=rf"needs activations such as ReLU; those of the network are {name.split()[0]} \(2\)$"):
        network.guided("scores")


@pytest.mark.parametrize("name", ["SiLU", "HardSwish", "GELU"])
def test_smooth_activations_among_others_are_named(name, caplog):
    first, second = layers.ReLU(), SMOOTH[name]()
    network = load(model(first, second), preprocessing="none")
    with caplog.at_level(logging.WARNING, "tfinvert"):
        features = network.guided("scores")
    assert caplog.messages == [f"guided backpropagation passes the plain gradient through {name} (1)"]
    below, between, fc = (network._source._model.get_layer(layer) for layer in ("below", "between", "fc"))
    image = tf.constant(IMAGE)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(image)
        middle = first(below(image))
        score = fc(tf.reshape(second(between(middle)), (2, -1)))[:, 3]
    wanted = tape.gradient(middle, image, output_gradients=tf.maximum(tape.gradient(score, middle), 0))
    np.testing.assert_allclose(gradient(features, 3), wanted, rtol=1e-4, atol=1e-6)


def test_a_gate_is_named_and_normalization_is_not(caplog):
    keras.utils.set_random_seed(0)
    image = keras.Input((16, 16, 3))
    value = layers.BatchNormalization()(layers.Conv2D(4, 3)(image))
    value = layers.LayerNormalization()(layers.ReLU()(value))
    gate = layers.Dense(4, activation="sigmoid")(layers.GlobalAveragePooling2D(keepdims=True)(value))
    value = layers.Multiply()([value, gate])
    network = load(keras.Model(image, layers.Dense(5)(layers.GlobalAveragePooling2D()(value))), preprocessing="none")
    with caplog.at_level(logging.WARNING, "tfinvert"):
        network.guided("scores")
    assert caplog.messages == ["guided backpropagation passes the plain gradient through Sigmoid (1)"]


LIMITED = {"ReLU": layers.ReLU(), "ReLU6": layers.ReLU(6.0), "clip": lambda value: ops.clip(value, 0.0, 1.0)}


@pytest.mark.parametrize("name", LIMITED)
def test_a_gradient_gets_through_an_activation_that_is_0_everywhere(name):
    keras.utils.set_random_seed(0)
    image = keras.Input((16, 16, 3))
    below = layers.Conv2D(2, 3, name="below")
    value = layers.Identity(name="limited")(LIMITED[name](below(image)))
    kernel, _ = below.get_weights()
    below.set_weights([0.1 * np.abs(kernel), np.array([-20.0, 0.01], np.float32)])  # channel 0 is dead, channel 1 is not
    network = load(keras.Model(image, value), preprocessing="none")

    def slope(features, channel, sign):
        with tf.GradientTape() as tape:
            value = tf.constant(IMAGE)
            tape.watch(value)
            loss = sign * tf.reduce_mean(features(value)["limited"][..., channel])
        return tape.gradient(loss, value).numpy()

    plain, redirected = network.cut("limited"), network.redirected("limited")
    assert not slope(plain, 0, -1).any()
    assert not slope(redirected, 0, 1).any()  # nothing makes a dead channel smaller
    with tf.GradientTape() as tape:
        value = tf.constant(IMAGE)
        tape.watch(value)
        loss = -tf.reduce_mean(below(value)[..., 0])
    np.testing.assert_allclose(slope(redirected, 0, -1), tape.gradient(loss, value), rtol=1e-4)
    for sign in (-1, 1):
        np.testing.assert_array_equal(slope(redirected, 1, sign), slope(plain, 1, sign))


def test_where_all_is_dead_the_gradient_reaches_what_is_nearest_to_the_limit():
    image = keras.Input((16, 16, 3))
    below = layers.Conv2D(1, 1, name="below")
    network = load(keras.Model(image, layers.ReLU(name="relu")(below(image))), preprocessing="none")
    below.set_weights([np.ones((1, 1, 3, 1), np.float32), np.array([-4.0], np.float32)])
    value = np.full((1, 16, 16, 3), 0.1, np.float32)
    value[0, 5, 7] = 0.9  # 1.3 below the limit, where the others are 3.7 below it
    with tf.GradientTape() as tape:
        pixels = tf.constant(value)
        tape.watch(pixels)
        loss = -tf.reduce_mean(network.redirected("relu")(pixels)["relu"])
    slope = tape.gradient(loss, pixels).numpy()
    assert [tuple(place) for place in np.argwhere(slope.any(-1))] == [(0, 5, 7)]
    assert slope.max() <= 0


def test_the_large_constants_of_a_network_are_there_once():
    network = load(model(layers.ReLU()), preprocessing="none")
    network.guided("scores")
    network.redirected("scores")
    frozen = backpropagation._frozen(network.cut("scores"))
    assert [value.shape for value in frozen.constants.values()] == [(784, 5)]
    assert frozen is backpropagation._frozen(network.cut("scores"))
    assert not [n.name for n in frozen.graph.node if n.op == "Const" and n.ByteSize() > 2 * backpropagation.LARGE]


def test_an_image_that_is_alive_keeps_its_gradient_beside_one_that_is_not():
    keras.utils.set_random_seed(0)
    image = keras.Input((16, 16, 3))
    below = layers.Conv2D(1, 3, name="below")
    network = load(keras.Model(image, layers.ReLU(name="relu")(below(image))), preprocessing="none")
    below.set_weights([np.ones((3, 3, 3, 1), np.float32), np.array([-10.0], np.float32)])
    both = tf.constant(np.stack([np.full((16, 16, 3), 0.1), IMAGE[0]]).astype(np.float32))
    slopes = []
    for features in (network.cut("relu"), network.redirected("relu")):
        with tf.GradientTape() as tape:
            tape.watch(both)
            loss = -tf.reduce_mean(features(both)["relu"])
        slopes.append(tape.gradient(loss, both).numpy())
    plain, redirected = slopes
    assert plain[1].any()
    assert not plain[0].any()
    np.testing.assert_array_equal(redirected[1], plain[1])
    assert redirected[0].max() < 0


@pytest.mark.parametrize("eager", [False, True])
def test_gradients_are_the_same_where_functions_run_eagerly(eager):
    network = load(model(layers.ReLU()), preprocessing="none")
    expected = gradient(network.guided("scores"), 2)
    tf.config.run_functions_eagerly(eager)
    try:
        again = load(network._source._model, preprocessing="none")
        np.testing.assert_allclose(gradient(again.guided("scores"), 2), expected, rtol=1e-5, atol=1e-7)
        found = again.features(IMAGE, ("between", "scores"))
        np.testing.assert_allclose(again.head("between", "scores")(found["between"]), found["scores"], rtol=1e-4)
    finally:
        tf.config.run_functions_eagerly(False)
