import numpy as np
import pytest
import tensorflow as tf

from tfinvert import terms

RNG = np.random.default_rng(0)
FEATURES = RNG.standard_normal((2, 4, 5, 3)).astype(np.float32)
TARGET = RNG.standard_normal((1, 4, 5, 3)).astype(np.float32)


def test_mean_squared_error_is_the_mean_for_each_picture():
    expected = ((FEATURES - TARGET) ** 2).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(terms.mean_squared_error(tf.constant(FEATURES), tf.constant(TARGET)), expected, rtol=1e-6)


def test_normalized_squared_error_is_one_for_zero_features_and_zero_for_the_target():
    zero = tf.zeros((1, 4, 5, 3))
    np.testing.assert_allclose(terms.normalized_squared_error(zero, tf.constant(TARGET)), [1.0], rtol=1e-6)
    np.testing.assert_allclose(terms.normalized_squared_error(tf.constant(TARGET), tf.constant(TARGET)), [0.0])


def test_normalized_squared_error_does_not_depend_on_the_scale_of_the_features():
    one = terms.normalized_squared_error(tf.constant(FEATURES), tf.constant(TARGET))
    other = terms.normalized_squared_error(tf.constant(100 * FEATURES), tf.constant(100 * TARGET))
    np.testing.assert_allclose(one, other, rtol=1e-5)


def test_a_target_that_is_all_zero_gives_a_finite_loss():
    assert np.isfinite(terms.normalized_squared_error(tf.constant(FEATURES), tf.zeros((1, 4, 5, 3)))).all()


@pytest.mark.parametrize("shape", [(1, 4, 5, 1), (1, 1, 5, 3), (3, 4, 5, 3)])
def test_a_target_of_another_shape_is_refused_and_not_broadcast(shape):
    with pytest.raises(ValueError, match="expected the same"):
        terms.mean_squared_error(tf.constant(FEATURES), tf.zeros(shape))


def differences(image):
    return image[:, 1:] - image[:, :-1], image[:, :, 1:] - image[:, :, :-1]


@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize(("kind", "function"), [("l1", np.abs), ("l2", np.square)])
def test_total_variation_against_numpy(kind, function, reduction):
    expected = sum(function(d).sum(axis=(1, 2, 3)) for d in differences(FEATURES))
    if reduction == "mean":
        expected = expected / FEATURES[0].size
    np.testing.assert_allclose(terms.total_variation(tf.constant(FEATURES), kind, reduction), expected, rtol=1e-5)


@pytest.mark.parametrize("kind", ["l1", "l2"])
def test_total_variation_of_a_flat_image_is_zero_with_a_finite_gradient(kind):
    image = tf.fill((1, 6, 6, 3), 0.4)
    with tf.GradientTape() as tape:
        tape.watch(image)
        value = terms.total_variation(image, kind)
    np.testing.assert_array_equal(value, [0.0])
    np.testing.assert_array_equal(tape.gradient(value, image), np.zeros((1, 6, 6, 3)))


@pytest.mark.parametrize("kind", ["l1", "l2"])
def test_total_variation_pulls_a_spike_down(kind):
    spike = np.zeros((1, 5, 5, 1), np.float32)
    spike[0, 2, 2, 0] = 1.0
    image = tf.constant(spike)
    with tf.GradientTape() as tape:
        tape.watch(image)
        value = terms.total_variation(image, kind)
    assert tape.gradient(value, image)[0, 2, 2, 0] > 0  # minimised: descending lowers the spike


def test_total_variation_refuses_what_it_does_not_know():
    with pytest.raises(ValueError, match="expected 'l1' or 'l2'"):
        terms.total_variation(tf.zeros((1, 3, 3, 3)), "l3")
    with pytest.raises(ValueError, match="expected 'sum' or 'mean'"):
        terms.total_variation(tf.zeros((1, 3, 3, 3)), "l1", "max")


def test_terms_name_their_layers_and_leave_the_weight_to_the_optimisation():
    term = terms.feature_term("conv", tf.constant(TARGET), 0.5)
    assert (term.name, term.weight, term.layers) == ("conv", 0.5, ("conv",))
    value = term.value(tf.zeros((2, 8, 8, 3)), {"conv": tf.constant(FEATURES)})
    np.testing.assert_allclose(value, terms.mean_squared_error(tf.constant(FEATURES), tf.constant(TARGET)))
    smooth = terms.total_variation_term(3.0, "l2", "mean")
    assert (smooth.name, smooth.weight, smooth.layers) == ("tv", 3.0, ())
