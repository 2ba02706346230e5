"""Each method on a score whose gradient is known in closed form."""

import numpy as np
import pytest
import tensorflow as tf

from tfinvert.objectives import saliency as attribution

RNG = np.random.default_rng(3)
IMAGE = RNG.uniform(0, 1, (2, 4, 5, 3)).astype(np.float32)
WEIGHT = RNG.standard_normal((4, 5, 3)).astype(np.float32)


def linear(image):
    return tf.reduce_sum(image * WEIGHT, axis=[1, 2, 3])


def cubic(image):
    return tf.reduce_sum(WEIGHT * image**3, axis=[1, 2, 3])


def test_the_gradient_of_each_picture_is_of_its_own_score():
    np.testing.assert_allclose(attribution.gradient(cubic, IMAGE), 3 * WEIGHT * IMAGE**2, rtol=1e-5)


def test_gradients_of_many_are_those_of_each_with_one_trace():
    traced = []

    def score(image):
        traced.append(image.shape[0])
        return tf.reduce_sum(WEIGHT * image**3, axis=[1, 2, 3]) * tf.tile([1.0, 2.0], [image.shape[0] // 2])

    values = [tf.constant(IMAGE * scale) for scale in (0.3, 0.5, 1.0)]
    at = attribution.Differentiated(score, len(IMAGE))
    found = at(values) + at(values[:1])
    assert len(traced) == 1
    assert traced[0] <= attribution.ROWS
    for value, (scores, slope) in zip([*values, values[0]], found, strict=True):
        np.testing.assert_allclose(scores, cubic(value) * [1.0, 2.0], rtol=1e-5)
        np.testing.assert_allclose(slope, attribution.gradient(score, value), rtol=1e-5)


def test_saliency_is_the_largest_magnitude_over_the_channels():
    gradient = np.array([[[[1.0, -3.0, 2.0], [0.0, 0.0, 0.0]]]], np.float32)
    np.testing.assert_array_equal(attribution.saliency_map(gradient), [[[3.0, 0.0]]])


def test_smoothgrad_of_a_linear_score_is_its_gradient():
    np.testing.assert_allclose(attribution.smoothgrad(linear, IMAGE, 3, 0.5, 0), np.stack([WEIGHT] * 2), rtol=1e-5)


def test_smoothgrad_adds_the_variance_of_the_noise():
    # E[3 w (x + e)^2] = 3 w (x^2 + deviation^2), the deviation a tenth of each picture's range.
    found = attribution.smoothgrad(cubic, IMAGE, 800, 0.1, 7)
    deviation = 0.1 * (IMAGE.max(axis=(1, 2, 3)) - IMAGE.min(axis=(1, 2, 3)))
    expected = 3 * WEIGHT * (IMAGE**2 + deviation[:, None, None, None] ** 2)
    np.testing.assert_allclose(found, expected, atol=0.12)
    again = [attribution.smoothgrad(cubic, IMAGE, 20, 0.1, 7) for _ in range(2)]
    np.testing.assert_array_equal(*again)


def test_integrated_gradients_of_a_cube():
    # x times the integral of 3 w (a x)^2 over a from 0 to 1 is w x^3.
    found, errors, parts = attribution.integrated_gradients(cubic, IMAGE, tf.zeros_like(IMAGE), 8)
    np.testing.assert_allclose(found, WEIGHT * IMAGE**3, rtol=6e-3, atol=1e-6)
    assert errors.max() <= 0.01
    assert parts == 8


def test_integrated_gradients_divide_their_parts_until_they_are_complete():
    def step(image):  # a kink that a few middles miss
        return tf.reduce_sum(tf.nn.relu(image - 0.9) * 10.0, axis=[1, 2, 3])

    ones = tf.ones((1, 2, 2, 3))
    found, errors, parts = attribution.integrated_gradients(step, ones, tf.zeros_like(ones), 3)
    assert 3 < parts < 20  # where the kink is, and nowhere else
    assert errors.max() <= 0.01
    assert float(tf.reduce_sum(found)) == pytest.approx(12.0, rel=0.01)
    _, errors, parts = attribution.integrated_gradients(step, ones, tf.zeros_like(ones), 3, most=3)
    assert (parts, errors.max() > 0.01) == (3, True)


def test_integrated_gradients_score_each_place_of_the_way_once():
    seen = []

    class Recorded(attribution.Differentiated):
        def __call__(self, values):
            seen.extend(float(value[0, 0, 0, 0]) for value in values)
            return super().__call__(values)

    def score(value):
        return tf.reduce_sum(tf.nn.relu(value - 0.71) ** 2, axis=[1, 2, 3])

    image = tf.ones((1, 2, 2, 3))
    attribution.integrated_gradients(Recorded(score, 1), image, tf.zeros_like(image), 3, tolerance=1e-6, most=21)
    seen.remove(1.0)  # the image itself, which is the last place of the way but for rounding
    assert len(seen) == len(set(seen))


def test_grad_cam_by_hand():
    features = np.array([[[[1.0, 2.0], [3.0, 0.0]]]], np.float32)  # 1 x 2 positions, 2 channels
    gradient = np.array([[[[1.0, -2.0], [3.0, 0.0]]]], np.float32)  # means 2 and -1
    np.testing.assert_allclose(attribution.grad_cam(features, gradient), [[[0.0, 6.0]]])
