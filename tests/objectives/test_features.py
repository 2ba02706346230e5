import numpy as np
import pytest
import tensorflow as tf

from tfinvert.objectives.features import mean_squared_error, normalized_squared_error, sum_of_squares

RNG = np.random.default_rng(0)
FEATURES = RNG.standard_normal((2, 4, 5, 3)).astype(np.float32)
TARGET = RNG.standard_normal((1, 4, 5, 3)).astype(np.float32)


def test_mean_squared_error_is_the_mean_for_each_image():
    expected = ((FEATURES - TARGET) ** 2).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(mean_squared_error(tf.constant(FEATURES), tf.constant(TARGET)), expected, rtol=1e-6)


def test_normalized_squared_error_is_one_for_zero_features_and_zero_for_the_target():
    zero = tf.zeros((1, 4, 5, 3))
    np.testing.assert_allclose(normalized_squared_error(zero, tf.constant(TARGET)), [1.0], rtol=1e-6)
    np.testing.assert_allclose(normalized_squared_error(tf.constant(TARGET), tf.constant(TARGET)), [0.0])


def test_normalized_squared_error_does_not_depend_on_the_scale_of_the_features():
    one = normalized_squared_error(tf.constant(FEATURES), tf.constant(TARGET))
    other = normalized_squared_error(tf.constant(100 * FEATURES), tf.constant(100 * TARGET))
    np.testing.assert_allclose(one, other, rtol=1e-5)


def test_a_target_that_is_all_zero_gives_a_finite_loss():
    assert np.isfinite(normalized_squared_error(tf.constant(FEATURES), tf.zeros((1, 4, 5, 3)))).all()


@pytest.mark.parametrize("shape", [(1, 4, 5, 1), (1, 1, 5, 3), (3, 4, 5, 3)])
def test_a_target_of_another_shape_is_refused_and_not_broadcast(shape):
    with pytest.raises(ValueError, match="expected the same"):
        mean_squared_error(tf.constant(FEATURES), tf.zeros(shape))


@pytest.mark.parametrize("batch", [1, 2])
def test_sum_of_squares_is_that_of_each_image(batch):
    values = FEATURES[:batch]
    np.testing.assert_allclose(sum_of_squares(tf.constant(values)), (values**2).sum(axis=(1, 2, 3)), rtol=1e-5)
