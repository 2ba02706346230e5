import numpy as np
import pytest

from tests.optimization.problems import EXACT_RATE, TARGET, adam, alone, doubled, finished, sgd
from tfinvert.optimization.state import best_image, current_image
from tfinvert.system.errors import NonFiniteLossError


def test_it_survives_a_rate_that_is_far_too_large():
    wild = sgd(3.0 * EXACT_RATE)
    *_, (last,) = alone(doubled(optimizer=wild)).run(200)
    assert isinstance(last, NonFiniteLossError)
    problem = doubled(optimizer=wild, backoff=True)
    solver = alone(problem)
    losses = [s.loss for (s,) in solver.run(200)]
    assert losses[1] > losses[0]
    assert losses[-1] < 1e-6
    np.testing.assert_allclose(best_image(problem, solver.states[0]), TARGET, atol=1e-3)
    assert solver.states[0].scale.numpy()[0] == pytest.approx(0.5)


def test_it_changes_nothing_where_the_loss_falls():
    problems = [doubled(optimizer=adam(0.01), backoff=backoff) for backoff in (False, True)]
    np.testing.assert_array_equal(*(current_image(p, finished(alone(p), 20).states[0]) for p in problems))
