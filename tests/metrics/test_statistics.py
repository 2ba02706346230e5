import numpy as np
import pytest

from tfinvert import metrics


def test_the_interval_of_a_mean_is_students():
    mean, half = metrics.interval([1.0, 2.0, 3.0])
    assert mean == 2
    assert half == pytest.approx(4.302653 / np.sqrt(3), rel=1e-5)  # t of 2 degrees of freedom
    assert np.isnan(metrics.interval([1.0])[1])


def test_the_bootstrap_interval_of_a_mean_is_near_students_for_many_values():
    values = np.random.default_rng(0).standard_normal(400)
    mean, low, high = metrics.bootstrap_interval(values)
    _, half = metrics.interval(values)
    assert mean == pytest.approx(values.mean())
    assert (mean - low, high - mean) == (pytest.approx(half, rel=0.05), pytest.approx(half, rel=0.05))
    assert np.isnan(metrics.bootstrap_interval([1.0])[1])


def test_the_paired_test_is_wilcoxons():
    # All six differences have one sign: 2 of 2^6 assignments of signs are as extreme.
    assert metrics.paired_test([1, 2, 3, 4, 5, 6], [0, 0, 0, 0, 0, 0]) == pytest.approx(2 / 64)
    assert metrics.paired_test([1.0, 2.0], [1.0, 2.0]) == 1.0
