import numpy as np
import pytest
import tensorflow as tf

from tfinvert.images.files import MEAN_COLOR
from tfinvert.objectives.regularizers import alpha_norm, total_variation
from tfinvert.system.errors import InputError

RNG = np.random.default_rng(0)
IMAGE = RNG.standard_normal((2, 4, 5, 3)).astype(np.float32)


def differences(image):
    return image[:, 1:] - image[:, :-1], image[:, :, 1:] - image[:, :, :-1]


@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize(("kind", "function"), [("l1", np.abs), ("l2", np.square)])
def test_total_variation_against_numpy(kind, function, reduction):
    expected = sum(function(d).sum(axis=(1, 2, 3)) for d in differences(IMAGE))
    if reduction == "mean":
        expected = expected / IMAGE[0].size
    np.testing.assert_allclose(total_variation(tf.constant(IMAGE), kind, reduction), expected, rtol=1e-5)


@pytest.mark.parametrize("kind", ["l1", "l2"])
def test_total_variation_of_a_flat_image_is_zero_with_a_finite_gradient(kind):
    image = tf.fill((1, 6, 6, 3), 0.4)
    with tf.GradientTape() as tape:
        tape.watch(image)
        value = total_variation(image, kind)
    np.testing.assert_array_equal(value, [0.0])
    np.testing.assert_array_equal(tape.gradient(value, image), np.zeros((1, 6, 6, 3)))


@pytest.mark.parametrize("kind", ["l1", "l2"])
def test_total_variation_pulls_a_spike_down(kind):
    spike = np.zeros((1, 5, 5, 1), np.float32)
    spike[0, 2, 2, 0] = 1.0
    image = tf.constant(spike)
    with tf.GradientTape() as tape:
        tape.watch(image)
        value = total_variation(image, kind)
    assert tape.gradient(value, image)[0, 2, 2, 0] > 0  # minimized: descending lowers the spike


def test_the_gradient_of_total_variation_is_that_of_tensorflow():
    image, weights = tf.Variable(np.round(IMAGE, 1)), tf.constant([1.0, -2.5])  # rounded: equal neighbors as well
    with tf.GradientTape(persistent=True) as tape:
        ours = tf.reduce_sum(weights * total_variation(image))
        theirs = tf.reduce_sum(weights * tf.image.total_variation(image))
    np.testing.assert_allclose(tape.gradient(ours, image), tape.gradient(theirs, image), atol=1e-6)


def test_total_variation_refuses_what_it_does_not_know():
    with pytest.raises(InputError, match="unknown kind 'l3'"):
        total_variation(tf.zeros((1, 3, 3, 3)), "l3")
    with pytest.raises(InputError, match="unknown reduction 'max'"):
        total_variation(tf.zeros((1, 3, 3, 3)), "l1", "max")


@pytest.mark.parametrize("beta", [1.0, 2.0, 3.0])
def test_total_variation_to_a_power_against_numpy(beta):
    """Mahendran & Vedaldi 2015, eq. 4; a difference to a neighbor that is not there is 0."""
    image = RNG.uniform(size=(2, 4, 5, 3))
    down, right = np.zeros_like(image), np.zeros_like(image)
    down[:, :-1], right[:, :, :-1] = np.diff(image, axis=1), np.diff(image, axis=2)
    expected = ((down**2 + right**2) ** (beta / 2)).sum(axis=(1, 2, 3))
    found = total_variation(tf.constant(image, tf.float32), "beta", "sum", beta)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    if beta == 2:
        np.testing.assert_allclose(found, total_variation(tf.constant(image, tf.float32), "l2"), rtol=1e-5)


@pytest.mark.parametrize("power", [1.0, 1.5, 6.0])
def test_powers_have_a_finite_gradient_on_flat_places(power):
    flat = tf.Variable(tf.ones((1, 4, 4, 3)) * MEAN_COLOR)
    with tf.GradientTape() as tape:
        value = total_variation(flat, "beta", "sum", power) + alpha_norm(flat, power)
    assert float(value[0]) == 0
    np.testing.assert_array_equal(tape.gradient(value, flat), np.zeros((1, 4, 4, 3)))


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_the_alpha_norms_of_both_papers_against_numpy(reduction):
    image = RNG.uniform(size=(2, 4, 5, 3))
    away = image - np.array([0.485, 0.456, 0.406])
    size = 60 if reduction == "mean" else 1
    expected = (np.abs(away) ** 6).sum(axis=(1, 2, 3)) / size
    found = alpha_norm(tf.constant(image, tf.float32), 6.0, "values", reduction)
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    expected = (np.linalg.norm(away, axis=-1) ** 6).sum(axis=(1, 2)) / size
    np.testing.assert_allclose(alpha_norm(tf.constant(image, tf.float32), 6.0, "pixels", reduction), expected, rtol=1e-4)
    with pytest.raises(InputError, match="unknown kind 'color'"):
        alpha_norm(tf.constant(image, tf.float32), 6.0, "color")
