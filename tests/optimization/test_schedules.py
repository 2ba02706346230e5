import functools
import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfinvert.optimization.optimizers import Adam, NormalizedMomentum, build_optimizer, copies
from tfinvert.optimization.schedules import Constant, build_schedule
from tfinvert.settings.inversion import SCHEDULES, InversionSettings


def rates(steps, **settings):
    made = build_schedule(InversionSettings(steps=steps, **settings))
    assert isinstance(made, keras.optimizers.schedules.LearningRateSchedule)
    return [float(made(step)) for step in range(steps)]


def test_constant():
    assert rates(3, schedule="constant", learning_rate=0.01) == pytest.approx([0.01] * 3)


NEEDED = {
    "piecewise": {"decay_boundaries": (2,), "decay_factors": (0.5,)},
    "warmup_cosine": {"warmup_steps": 2},
}


@pytest.mark.parametrize("optimizer", ["adam", "sgd", "mv2016"])
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_every_optimizer_follows_a_schedule_of_keras(optimizer, schedule):
    settings = {"optimizer": optimizer, "schedule": schedule, "learning_rate": 0.5, **NEEDED.get(schedule, {})}
    made = build_optimizer(InversionSettings(steps=8, **settings))()
    assert isinstance(made._learning_rate, keras.optimizers.schedules.LearningRateSchedule)
    for step, rate in enumerate(rates(8, **settings)):
        made.iterations.assign(step)
        assert float(made.learning_rate) == rate


def test_a_constant_rate_can_be_copied_with_its_optimizer():
    copied = copies(keras.optimizers.SGD(Constant(0.25)))()
    assert float(copied.learning_rate) == 0.25


def test_exponential_falls_by_its_rate_over_the_run():
    got = rates(10, schedule="exponential", learning_rate=0.5, decay_rate=0.1)
    assert got == pytest.approx([0.5 * 0.1 ** (step / 10) for step in range(10)], rel=1e-5)


def test_exponential_with_its_own_steps():
    assert rates(5, schedule="exponential", learning_rate=1.0, decay_rate=0.5, decay_steps=2)[4] == pytest.approx(0.25)


def test_piecewise_changes_after_as_many_updates_as_it_says():
    settings = {"learning_rate": 1.0, "decay_boundaries": (2, 4), "decay_factors": (0.1, 0.01)}
    assert rates(6, schedule="piecewise", **settings) == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])


def test_cosine():
    got = rates(8, schedule="cosine", learning_rate=0.2, final_fraction=0.1)
    expected = [0.2 * (0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * step / 8))) for step in range(8)]
    assert got == pytest.approx(expected, rel=1e-5)


def test_warmup_rises_to_the_rate_and_then_falls():
    got = rates(10, schedule="warmup_cosine", learning_rate=1.0, warmup_steps=4)
    assert got[:5] == pytest.approx([0, 0.25, 0.5, 0.75, 1.0])
    assert got[5:] == sorted(got[5:], reverse=True)
    assert got[9] < 0.1


@pytest.mark.parametrize("name", ["adam", "sgd", "mv2016"])
def test_checkpoints_of_a_rate_that_was_no_schedule_are_restored(name, tmp_path):
    """Version 0.1 gave Keras the number, which Keras keeps in a variable of the optimizer."""
    kinds = {"adam": Adam, "sgd": functools.partial(keras.optimizers.SGD, momentum=0.9), "mv2016": NormalizedMomentum}
    variable = tf.Variable([1.0, 2.0])
    before = kinds[name](0.5)
    before.build([variable])
    before.apply([tf.constant([1.0, -1.0])], [variable])
    checkpoint = tf.train.Checkpoint(optimizer=before)
    checkpoint.save_counter  # noqa: B018 - accessing it adds it, as `Checkpoints` does
    path = checkpoint.write(str(tmp_path / "ckpt"))
    after = build_optimizer(InversionSettings(steps=8, optimizer=name, schedule="constant", learning_rate=0.5))()
    after.build([tf.Variable([0.0, 0.0])])
    tf.train.Checkpoint(optimizer=after).restore(path).assert_consumed()
    assert int(after.iterations) == 1
    for ours, theirs in zip(after.variables, before.variables, strict=True):
        np.testing.assert_array_equal(ours, theirs)
