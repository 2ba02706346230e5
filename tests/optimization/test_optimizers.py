"""Each update rule against NumPy, written from the papers."""

import functools
import gc

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.optimization.problems import START, alone, doubled, finished
from tfinvert.optimization.optimizers import Lbfgs, apply_gradients, build_optimizer, copies
from tfinvert.optimization.schedules import build_schedule
from tfinvert.optimization.state import current_image
from tfinvert.settings.inversion import InversionSettings
from tfinvert.system.errors import InputError

GRADIENTS = np.random.default_rng(0).standard_normal((6, 2, 3)).astype(np.float32)


def steps(config):
    return updated(build_optimizer(config)())


def updated(made):
    """The variable after each of six updates from zeros."""
    variable = tf.Variable(np.zeros((2, 3), np.float32))
    made.build([variable])
    update = tf.function(lambda gradient: made.apply([gradient], [variable]))
    found = []
    for gradient in GRADIENTS:
        update(tf.constant(gradient))
        found.append(variable.numpy())
    return found


def test_momentum_is_zeroed_when_the_rate_changes():
    """Mahendran & Vedaldi 2015: m <- 0.9 m - rate g; x <- x + m."""
    options = {"schedule": "piecewise", "decay_boundaries": (3,), "decay_factors": (0.1,), "steps": 6}
    config = InversionSettings(optimizer="sgd", learning_rate=0.5, momentum=0.9, momentum_reset=True, **options)
    x, m = np.zeros((2, 3)), 0.0
    for number, (gradient, found) in enumerate(zip(GRADIENTS, steps(config), strict=True)):
        rate = 0.5 if number < 3 else 0.05
        if number == 3:
            m = 0.0
        m = 0.9 * m - rate * gradient
        x = x + m
        np.testing.assert_allclose(found, x, rtol=1e-5)
    kept = steps(InversionSettings(optimizer="sgd", learning_rate=0.5, momentum=0.9, **options))
    assert np.abs(kept[3] - steps(config)[3]).max() > 0.1


def test_the_rule_of_the_journal_paper_in_its_own_units():
    """Mahendran & Vedaldi 2016, on images of 0 to 255: G <- 0.9 G + g^2, d <- 0.9 d - g / (1/rate + sqrt(G)), x <- x + d."""
    options = {"schedule": "piecewise", "decay_boundaries": (4,), "decay_factors": (0.1,), "steps": 6}
    rate = 300.0
    x, d, squares = np.zeros((2, 3)), 0.0, 0.0
    found = steps(InversionSettings(optimizer="mv2016", learning_rate=rate / 255**2, **options))
    for number, gradient in enumerate(GRADIENTS / 255):  # with respect to a grey level
        if number == 4:
            d, rate = 0.0, 30.0
        squares = 0.9 * squares + gradient**2
        d = 0.9 * d - gradient / (1 / rate + np.sqrt(squares))
        x = x + d
        np.testing.assert_allclose(found[number] * 255, x, rtol=1e-4)


@pytest.mark.parametrize(("epsilon", "beta_2"), [(1e-8, 0.999), (1e-2, 0.9)])
def test_adam_is_keras_adam_in_one_operation(epsilon, beta_2):
    options = {"learning_rate": 0.3, "schedule": "exponential", "decay_rate": 0.5, "decay_steps": 2}
    found = steps(config := InversionSettings(optimizer="adam", epsilon=epsilon, beta_2=beta_2, **options))
    made = keras.optimizers.Adam(build_schedule(config), beta_2=beta_2, epsilon=epsilon)
    for ours, theirs in zip(found, updated(made), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4)


@pytest.mark.parametrize(("name", "kind"), [("sgd", keras.optimizers.SGD), ("lbfgs", Lbfgs)])
def test_the_others_are_the_libraries_own(name, kind):
    made = build_optimizer(InversionSettings(optimizer=name, schedule="constant", learning_rate=0.1))
    assert type(made if name == "lbfgs" else made()) is kind


def test_adam_takes_its_epsilon_and_schedule():
    made = build_optimizer(InversionSettings(optimizer="adam", epsilon=1e-3, learning_rate=0.2, schedule="cosine", steps=10))()
    assert (made.epsilon, made.beta_2) == (1e-3, 0.999)
    assert float(made.learning_rate) == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("objects", "message"),
    [({"optimizer": 3}, "the optimizer is 3; expected a name, or a keras"), ({"schedule": 3}, "the schedule is 3; expected")],
)
def test_what_is_no_keras_object_is_refused(objects, message):
    with pytest.raises(InputError, match=message):
        build_optimizer(InversionSettings(schedule="constant", learning_rate=0.1), **objects)


ANY = [
    keras.optimizers.Lion(0.01),
    keras.optimizers.Nadam(0.05),
    keras.optimizers.AdamW(0.05, weight_decay=0.1),
    keras.optimizers.SGD(keras.optimizers.schedules.CosineDecay(0.5, 10), clipnorm=0.1),
    keras.optimizers.Adam(0.05, gradient_accumulation_steps=2),
    keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.5), initial_scale=8.0),
]


@pytest.mark.parametrize("optimizer", ANY, ids=lambda optimizer: type(optimizer).__name__)
def test_any_keras_optimizer_does_all_that_it_does_in_keras(optimizer):
    """Weight decay, clipping and the like are in Keras' `apply`, not in its update rule."""
    make = build_optimizer(InversionSettings(schedule="constant", learning_rate=0.1), optimizer=optimizer)
    ours, theirs = (tf.Variable(np.ones((2, 3), np.float32)) for _ in range(2))
    made, keras_own = make(), type(optimizer).from_config(optimizer.get_config())
    made.build([ours])
    keras_own.build([theirs])

    @tf.function
    def update(gradient):
        apply_gradients(made, [gradient], [ours], tf.convert_to_tensor(made.learning_rate))
        keras_own.apply([keras_own.scale_loss(gradient)], [theirs])

    for gradient in GRADIENTS:
        update(tf.constant(gradient))
        np.testing.assert_allclose(ours, theirs, rtol=1e-5)
    assert int(made.iterations) == int(keras_own.iterations) > 0
    assert not optimizer.built  # it can be given again


@pytest.mark.parametrize("optimizer", ANY[:3], ids=lambda optimizer: type(optimizer).__name__)
def test_any_keras_optimizer_lowers_a_loss_and_can_be_given_twice(optimizer):
    results = []
    for _ in range(2):
        problem = doubled(optimizer=copies(optimizer))
        losses = [snapshot.loss for (snapshot,) in alone(problem).run(10)]
        assert losses[-1] < losses[0]
        results.append(losses)
    assert results[0] == results[1]


def test_a_schedule_that_cannot_be_copied_goes_with_a_name():
    """Keras makes no schedule again whose class it does not know."""

    class Halving(keras.optimizers.schedules.LearningRateSchedule):
        def __call__(self, step):
            return 0.1 * 0.5 ** tf.cast(step, tf.float32)

    optimizer = build_optimizer(InversionSettings(optimizer="sgd", momentum=0.0), schedule=Halving())
    rates = [s.learning_rate for (s,) in alone(doubled(optimizer=optimizer)).run(3)]
    assert rates == pytest.approx([0.1, 0.05, 0.025, 0.0125])
    with pytest.raises(InputError, match=r"SGD cannot be copied .*get_config"):
        copies(keras.optimizers.SGD(Halving()))


def graphs_with_convolutions():
    """The graphs with a convolution that this process keeps; other tests have some."""
    graphs = [thing for thing in gc.get_objects() if type(thing).__name__ == "FuncGraph"]
    return [graph for graph in graphs if any("Conv2D" in node.type for node in graph.get_operations())]


def test_what_keras_keeps_of_its_own_updates_is_small():
    """Its `apply` is traced by itself: a graph that is kept has no operation of the network."""
    weights = tf.random.normal([1, 1, 3, 3])
    before = graphs_with_convolutions()

    def network(image, training=False):
        return {"double": 2 * tf.nn.conv2d(image, weights, 1, "SAME")}

    decaying = functools.partial(keras.optimizers.AdamW, 0.01)
    problem = doubled(optimizer=decaying, model=network)
    solver = finished(alone(problem), 2)
    assert np.abs(current_image(problem, solver.states[0]) - START).max() > 0.001
    del solver
    gc.collect()
    assert not [graph for graph in graphs_with_convolutions() if not any(graph is other for other in before)]
