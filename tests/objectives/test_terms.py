import numpy as np
import pytest
import tensorflow as tf

from tfinvert.objectives import features, regularizers, terms
from tfinvert.system.errors import InputError

RNG = np.random.default_rng(0)
FEATURES = RNG.standard_normal((2, 4, 5, 3)).astype(np.float32)
TARGET = RNG.standard_normal((1, 4, 5, 3)).astype(np.float32)
IMAGE = RNG.uniform(size=(2, 6, 5, 3)).astype(np.float32)


@pytest.mark.parametrize(
    ("loss", "error"), [("mse", features.mean_squared_error), ("normalized", features.normalized_squared_error)]
)
def test_a_match_has_the_error_of_each_layer_and_leaves_the_weight_to_the_optimization(loss, error):
    made = terms.match({"conv": TARGET, "fc": np.ones((1, 3))}, 0.5, loss, {"fc": 3.0, "conv": 1.0})
    assert [(term.name, term.weight, term.layers) for term in made] == [("conv", 0.25, ("conv",)), ("fc", 0.75, ("fc",))]
    value = made[0].value(None, {"conv": tf.constant(FEATURES)})
    np.testing.assert_allclose(value, error(tf.constant(FEATURES), tf.constant(TARGET)))


@pytest.mark.parametrize("loss", terms.LOSSES)
def test_the_squares_of_a_match_are_its_value(loss):
    (term,) = terms.match({"conv": TARGET}, loss=loss)
    layers = {"conv": tf.constant(FEATURES)}
    difference, scale = term.squares(layers)
    np.testing.assert_allclose(difference, FEATURES - TARGET, rtol=1e-6)
    np.testing.assert_allclose(scale * features.sum_of_squares(difference), term.value(None, layers), rtol=1e-5)


def test_a_match_with_a_target_for_each_image():
    targets = np.concatenate([TARGET, 2 * TARGET])
    (term,) = terms.match({"conv": targets})
    assert term.squares is None
    np.testing.assert_allclose(term.value(None, {"conv": tf.constant(targets)}), [0, 0])


def test_target_features_are_exchanged_in_place():
    made = [*terms.match({"conv": TARGET}, loss="mse"), terms.total_variation(1.0)]
    evaluate = tf.function(lambda value: made[0].value(None, {"conv": value}))
    assert evaluate(tf.constant(TARGET))[0] == 0
    terms.retarget(made, {"conv": TARGET + 1})
    np.testing.assert_allclose(evaluate(tf.constant(TARGET)), [1.0], rtol=1e-6)
    assert evaluate.experimental_get_tracing_count() == 1
    with pytest.raises(InputError, match="'conv' have the shape"):
        terms.retarget(made, {"conv": TARGET[:, :2]})
    with pytest.raises(InputError, match="no features of 'conv'"):
        terms.retarget(made, {"fc": TARGET})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"features": {}}, "expected a dictionary"),
        ({"features": [TARGET]}, "expected a dictionary"),
        ({"features": {"conv": TARGET}, "loss": "l1"}, "unknown loss 'l1'"),
        ({"features": {"conv": TARGET}, "weight": "much"}, "is 'much'; expected a finite number"),
        ({"features": {"conv": TARGET}, "layer_weights": [1, 2]}, "2 numbers for 1 layers"),
        ({"features": {"conv": TARGET}, "layer_weights": {"fc": 1}}, "expected one for each of conv"),
        ({"features": {"conv": TARGET}, "layer_weights": [None]}, "expected a finite number"),
    ],
)
def test_a_match_that_does_not_fit_is_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        terms.match(**arguments)


def test_regularizers_are_those_of_their_formulas():
    smooth = terms.total_variation(3, "beta", "sum", 1.5)
    assert (smooth.name, smooth.weight, smooth.layers) == ("tv", 3.0, ())
    np.testing.assert_allclose(smooth.value(IMAGE, {}), regularizers.total_variation(IMAGE, "beta", "sum", 1.5))
    pale = terms.alpha_norm(np.float32(0.5), 4.0, "pixels", "sum")
    assert (pale.name, pale.weight) == ("alpha_norm", 0.5)
    np.testing.assert_allclose(pale.value(IMAGE, {}), regularizers.alpha_norm(IMAGE, 4.0, "pixels", "sum"))
    with pytest.raises(InputError, match="unknown kind 'l3'"):
        terms.total_variation(1.0, "l3")
    with pytest.raises(InputError, match="unknown reduction 'max'"):
        terms.alpha_norm(1.0, reduction="max")


def test_a_score_is_minus_each_image_s_own_class_or_channel():
    channels = np.arange(2 * 3 * 3 * 4, dtype=np.float32).reshape(2, 3, 3, 4)
    layers = {"f": tf.constant(channels), "s": tf.constant([[1.0, 2], [3, 4]])}
    mean = terms.score("f", [1, 3], 2.0)
    assert (mean.name, mean.weight, mean.layers) == ("score", 2.0, ("f",))
    np.testing.assert_allclose(mean.value(None, layers), [-channels[0, ..., 1].mean(), -channels[1, ..., 3].mean()])
    middle = terms.score("f", [1, 3], neuron=True).value(None, layers)
    np.testing.assert_allclose(middle, [-channels[0, 1, 1, 1], -channels[1, 1, 1, 3]])
    np.testing.assert_allclose(terms.score("s", [1, 0]).value(None, layers), [-2, -3])
    np.testing.assert_allclose(terms.score("s", np.int64(1)).value(None, layers), [-2, -4])
    with pytest.raises(ValueError, match="the index 4 is beyond 'f'; expected 0 to 3"):
        terms.score("f", 4).value(None, layers)


@pytest.mark.parametrize("index", [-1, 1.5, "cat", [], [[1]]])
def test_an_index_is_a_whole_number(index):
    with pytest.raises(InputError, match="expected a whole number from 0 on"):
        terms.score("f", index)


def test_an_annealed_weight_falls_geometrically_and_stays():
    falling = terms.annealed(terms.total_variation(2.0), 10, 0.01)
    weights = [float(falling.weight(tf.constant(step, tf.int64))) for step in (0, 5, 10, 30)]
    assert weights == pytest.approx([2.0, 0.2, 0.02, 0.02], rel=1e-5)
    assert falling.final_weight == pytest.approx(0.02)
    with pytest.raises(InputError, match="changes already"):
        terms.annealed(falling, 10, 0.1)
    for steps, final in ((0, 0.1), (10, 0.0)):
        with pytest.raises(InputError, match="expected a part above 0"):
            terms.annealed(terms.total_variation(1.0), steps, final)


def test_a_term_says_what_it_expects():
    with pytest.raises(InputError, match=r"the value of term 'mine' is 0\.5; expected a function"):
        terms.Term("mine", 1.0, 0.5)
    for weight in (None, "1", float("nan")):
        with pytest.raises(InputError, match=r"the weight of term 'mine' is .*; expected a finite number"):
            terms.Term("mine", weight, lambda image, features: image)
