import numpy as np
import pytest
import tensorflow as tf

from tfinvert.images import files as images
from tfinvert.objectives import terms
from tfinvert.settings.config import Config

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
    assert tape.gradient(value, image)[0, 2, 2, 0] > 0  # minimized: descending lowers the spike


def test_the_gradient_of_total_variation_is_that_of_tensorflow():
    image, weights = tf.Variable(np.round(FEATURES, 1)), tf.constant([1.0, -2.5])  # rounded: equal neighbors as well
    with tf.GradientTape(persistent=True) as tape:
        ours = tf.reduce_sum(weights * terms.total_variation(image))
        theirs = tf.reduce_sum(weights * tf.image.total_variation(image))
    np.testing.assert_allclose(tape.gradient(ours, image), tape.gradient(theirs, image), atol=1e-6)


def test_total_variation_refuses_what_it_does_not_know():
    with pytest.raises(ValueError, match="expected 'l1', 'l2' or 'beta'"):
        terms.total_variation(tf.zeros((1, 3, 3, 3)), "l3")
    with pytest.raises(ValueError, match="expected 'sum' or 'mean'"):
        terms.total_variation(tf.zeros((1, 3, 3, 3)), "l1", "max")


def test_terms_name_their_layers_and_leave_the_weight_to_the_optimization():
    term = terms.feature_term("conv", tf.constant(TARGET), 0.5)
    assert (term.name, term.weight, term.layers) == ("conv", 0.5, ("conv",))
    value = term.value(tf.zeros((2, 8, 8, 3)), {"conv": tf.constant(FEATURES)})
    np.testing.assert_allclose(value, terms.mean_squared_error(tf.constant(FEATURES), tf.constant(TARGET)))
    smooth = terms.total_variation_term(3.0, "l2", "mean")
    assert (smooth.name, smooth.weight, smooth.layers) == ("tv", 3.0, ())


@pytest.mark.parametrize("beta", [1.0, 2.0, 3.0])
def test_total_variation_to_a_power_against_numpy(beta):
    """Mahendran & Vedaldi 2015, eq. 4; a difference to a neighbor that is not there is 0."""
    image = RNG.uniform(size=(2, 4, 5, 3))
    down, right = np.zeros_like(image), np.zeros_like(image)
    down[:, :-1], right[:, :, :-1] = np.diff(image, axis=1), np.diff(image, axis=2)
    expected = ((down**2 + right**2) ** (beta / 2)).sum(axis=(1, 2, 3))
    found = terms.total_variation(tf.constant(image, tf.float32), "beta", "sum", beta)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    if beta == 2:
        np.testing.assert_allclose(found, terms.total_variation(tf.constant(image, tf.float32), "l2"), rtol=1e-5)


@pytest.mark.parametrize("power", [1.0, 1.5, 6.0])
def test_powers_have_a_finite_gradient_on_flat_places(power):
    flat = tf.Variable(tf.ones((1, 4, 4, 3)) * images.MEAN_COLOR)
    with tf.GradientTape() as tape:
        value = terms.total_variation(flat, "beta", "sum", power) + terms.alpha_norm(flat, power)
    assert float(value[0]) == 0
    np.testing.assert_array_equal(tape.gradient(value, flat), np.zeros((1, 4, 4, 3)))


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_the_alpha_norms_of_both_papers_against_numpy(reduction):
    image = RNG.uniform(size=(2, 4, 5, 3))
    away = image - np.array([0.485, 0.456, 0.406])
    size = 60 if reduction == "mean" else 1
    expected = (np.abs(away) ** 6).sum(axis=(1, 2, 3)) / size
    found = terms.alpha_norm(tf.constant(image, tf.float32), 6.0, "values", reduction)
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    expected = (np.linalg.norm(away, axis=-1) ** 6).sum(axis=(1, 2)) / size
    np.testing.assert_allclose(terms.alpha_norm(tf.constant(image, tf.float32), 6.0, "pixels", reduction), expected, rtol=1e-4)
    with pytest.raises(ValueError, match="'values' or 'pixels'"):
        terms.alpha_norm(tf.constant(image, tf.float32), 6.0, "color")


def test_the_terms_of_a_run_are_those_that_have_a_weight():
    targets = {"a": tf.zeros((1, 2)), "b": tf.zeros((1, 3))}
    names = [term.name for term in terms.run_terms(Config(layers=("a", "b"), tv_weight=0), targets)]
    assert names == ["a", "b"]
    made = terms.run_terms(Config(layers=("a", "b"), layer_weights=(1, 3), alpha_weight=2.0, regularizer_final=0.1), targets)
    assert [term.name for term in made] == ["a", "b", "tv", "alpha_norm"]
    assert [term.weight for term in made[:2]] == [0.5, 1.5]
    assert float(made[3].weight(tf.constant(300, tf.int64))) == pytest.approx(0.2)
    assert made[3].final_weight == pytest.approx(0.2)


def test_content_loss_is_a_sum():
    expected = ((FEATURES - TARGET) ** 2).sum(axis=(1, 2, 3))
    np.testing.assert_allclose(terms.content_loss(FEATURES, TARGET), expected, rtol=1e-5)
    with pytest.raises(ValueError, match="expected the same"):
        terms.content_loss(FEATURES, TARGET[:, :2])


@pytest.mark.parametrize("normalize", [True, False])
def test_gram_matrix_against_numpy(normalize):
    flat = FEATURES.reshape(2, 20, 3)
    expected = np.stack([one.T @ one for one in flat]) / (4 * 5 * 3 if normalize else 1)
    np.testing.assert_allclose(terms.gram_matrix(FEATURES, normalize=normalize), expected, rtol=1e-5)


def test_style_loss_sums_the_layers_by_their_weights():
    grams = [terms.gram_matrix(TARGET), terms.gram_matrix(TARGET[:, :2])]
    found = terms.style_loss([FEATURES, FEATURES[:, :2]], grams, [3.0, 0.5])
    expected = 0.0
    for features, target, weight in ((FEATURES, TARGET, 3.0), (FEATURES[:, :2], TARGET[:, :2], 0.5)):
        own, wanted = (x.reshape(len(x), -1, 3) for x in (features, target))
        difference = np.einsum("bpi,bpj->bij", own, own) - np.einsum("bpi,bpj->bij", wanted, wanted)
        expected = expected + weight * np.square(difference / features[0].size).sum(axis=(1, 2))
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    with pytest.raises(ValueError, match="zip"):
        terms.style_loss([FEATURES], grams, [3.0, 0.5])


def test_style_does_not_depend_on_places():
    shuffled = FEATURES[:, ::-1, ::-1]
    np.testing.assert_allclose(terms.style_loss([shuffled], [terms.gram_matrix(FEATURES)], [1.0]), [0, 0], atol=1e-10)
