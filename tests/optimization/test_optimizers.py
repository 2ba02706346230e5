"""Each update rule against NumPy, written from the papers."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfinvert.optimization.optimizers import Lbfgs, optimizer
from tfinvert.optimization.schedules import schedule
from tfinvert.settings.config import Config

GRADIENTS = np.random.default_rng(0).standard_normal((6, 2, 3)).astype(np.float32)


def steps(config):
    return updated(optimizer(config))


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
    config = Config(optimizer="sgd", learning_rate=0.5, momentum=0.9, momentum_reset=True, **options)
    x, m = np.zeros((2, 3)), 0.0
    for number, (gradient, found) in enumerate(zip(GRADIENTS, steps(config), strict=True)):
        rate = 0.5 if number < 3 else 0.05
        if number == 3:
            m = 0.0
        m = 0.9 * m - rate * gradient
        x = x + m
        np.testing.assert_allclose(found, x, rtol=1e-5)
    kept = steps(Config(optimizer="sgd", learning_rate=0.5, momentum=0.9, **options))
    assert np.abs(kept[3] - steps(config)[3]).max() > 0.1


def test_the_rule_of_the_journal_paper_in_its_own_units():
    """Mahendran & Vedaldi 2016, on images of 0 to 255: G <- 0.9 G + g^2, d <- 0.9 d - g / (1/rate + sqrt(G)), x <- x + d."""
    options = {"schedule": "piecewise", "decay_boundaries": (4,), "decay_factors": (0.1,), "steps": 6}
    rate = 300.0
    x, d, squares = np.zeros((2, 3)), 0.0, 0.0
    found = steps(Config(optimizer="mv2016", learning_rate=rate / 255**2, **options))
    for number, gradient in enumerate(GRADIENTS / 255):  # with respect to a grey level
        if number == 4:
            d, rate = 0.0, 30.0
        squares = 0.9 * squares + gradient**2
        d = 0.9 * d - gradient / (1 / rate + np.sqrt(squares))
        x = x + d
        np.testing.assert_allclose(found[number] * 255, x, rtol=1e-4)


@pytest.mark.parametrize("epsilon", [1e-8, 1e-2])
def test_adam_is_keras_adam_in_one_operation(epsilon):
    options = {"learning_rate": 0.3, "schedule": "exponential", "decay_rate": 0.5, "decay_steps": 2}
    found = steps(config := Config(optimizer="adam", epsilon=epsilon, **options))
    made = keras.optimizers.Adam(schedule(config), epsilon=epsilon)
    for ours, theirs in zip(found, updated(made), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4)


@pytest.mark.parametrize(("name", "kind"), [("sgd", keras.optimizers.SGD), ("lbfgs", Lbfgs)])
def test_the_others_are_the_libraries_own(name, kind):
    assert type(optimizer(Config(optimizer=name, schedule="constant"))) is kind


def test_adam_takes_its_epsilon_and_schedule():
    made = optimizer(Config(optimizer="adam", epsilon=1e-3, learning_rate=0.2, schedule="cosine", steps=10))
    assert made.epsilon == 1e-3
    assert float(made.learning_rate) == pytest.approx(0.2)
