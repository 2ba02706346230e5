import numpy as np
import pytest

from tfinvert import metrics


def test_the_interval_of_a_mean_is_students():
    mean, half = metrics.interval([1.0, 2.0, 3.0])
    assert mean == 2
    assert half == pytest.approx(4.302653 / np.sqrt(3), rel=1e-5)  # t of 2 degrees of freedom
    assert np.isnan(metrics.interval([1.0])[1])
