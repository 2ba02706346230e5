import math

import pytest

from tfinvert.optimization.schedules import build_schedule
from tfinvert.settings.inversion import InversionSettings


def rates(steps, **settings):
    made = build_schedule(InversionSettings(steps=steps, **settings))
    return [float(made(step)) if callable(made) else made for step in range(steps)]


def test_constant():
    assert rates(3, schedule="constant", learning_rate=0.01) == [0.01] * 3


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
