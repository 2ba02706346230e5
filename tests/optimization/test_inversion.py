"""From settings to a problem."""

import numpy as np
import pytest
import tensorflow as tf

from tfinvert.networks.layer import Layer
from tfinvert.optimization.inversion import build_problem, build_terms, build_transform
from tfinvert.optimization.optimizers import Adam
from tfinvert.optimization.presets import resolve
from tfinvert.optimization.solver import run_alone
from tfinvert.optimization.state import init
from tfinvert.settings.inversion import InversionSettings

TARGETS = {"a": np.zeros((1, 2), np.float32), "b": np.zeros((1, 3), np.float32)}
LAYER = Layer("a", "a", (2,), (8, 8), (51, 51))
IMAGE = np.random.default_rng(0).uniform(size=(1, 6, 5, 3)).astype(np.float32)


def resolved(**values):
    """Settings in which nothing is left open."""
    settings = InversionSettings(**{"layers": ("a",), **values})
    return resolve(settings, dict.fromkeys(settings.layers, LAYER), (6, 5))


def test_the_terms_are_those_that_have_a_weight():
    assert [term.name for term in build_terms(resolved(layers=("a", "b"), tv_weight=0, alpha_weight=0), TARGETS, (6, 5))] == [
        "a",
        "b",
    ]
    settings = resolved(
        layers=("b", "a"), layer_weights=(1, 3), alpha_weight=2.0, tv_weight=1.0, regularizer_final=0.1, steps=300
    )
    made = build_terms(settings, TARGETS, (6, 5))
    assert [term.name for term in made] == ["b", "a", "tv", "alpha_norm"]
    assert [term.weight for term in made[:2]] == [0.5, 1.5]
    assert float(made[3].weight(tf.constant(300, tf.int64))) == pytest.approx(0.2)
    assert made[3].final_weight == pytest.approx(0.2)


def test_the_image_is_jittered_for_as_long_as_the_settings_say():
    assert build_transform(resolved()) is None
    transform = build_transform(resolved(jitter=4, jitter_steps=20, steps=30))
    moved = [bool(np.any(transform(tf.constant(IMAGE), tf.constant(step, tf.int64)).numpy() != IMAGE)) for step in range(30)]
    assert sum(moved[:20]) > 10
    assert not any(moved[20:])


def test_a_problem_has_what_its_settings_name():
    settings = resolved(
        layers=("a",), parameterization="clip", learning_rate=0.1, schedule="constant", tv_weight=0.0, regularizer_final=1.0
    )

    def model(image, training=False):
        return {"a": tf.reduce_mean(image, axis=[1, 2])[:, :2]}

    problem = build_problem(settings, model, {"a": np.full((1, 2), 0.9, np.float32)}, (6, 5))
    assert problem.parameterization.box == (0.0, 1.0)
    assert isinstance(problem.optimizer(), Adam)
    first, *_, last = run_alone(problem, init(problem, IMAGE), 10)
    assert last.loss < first.loss / 4
