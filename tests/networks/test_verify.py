"""How far a converted layer is from onnxruntime's."""

import numpy as np
import pytest

from tests.conftest import tiny_graph
from tfinvert.errors import InputError
from tfinvert.networks.conversion import verify


def test_the_error_is_relative_to_the_largest_value():
    expected = np.zeros((1, 2, 3, 4), np.float32)
    expected[0, 1, 2, 3] = -8
    actual = expected.transpose(0, 2, 3, 1).copy()
    actual[0, 0, 0, 0] = 4e-4
    assert verify.relative_error("conv", actual, expected) == pytest.approx(5e-5)
    assert verify.relative_error("fc", np.ones((1, 5)), np.ones((1, 5))) == 0.0


@pytest.mark.parametrize("wrong", [1.001, np.nan])
def test_a_layer_that_differs_is_refused(wrong):
    with pytest.raises(InputError, match=r"layer 'fc' differs from onnxruntime by .* cannot be trusted"):
        verify.relative_error("fc", np.full((1, 5), wrong), np.ones((1, 5)))


def test_another_shape_is_refused():
    with pytest.raises(InputError, match=r"shape \(1, 4, 4, 3\); onnxruntime gives \(1, 4, 5, 3\)"):
        verify.relative_error("conv", np.ones((1, 4, 4, 3)), np.ones((1, 3, 4, 5)))


def test_a_graph_that_onnxruntime_refuses():
    with pytest.raises(InputError, match="onnxruntime cannot run the network"):
        verify.reference(tiny_graph(), np.ones((1, 3, 5, 5), np.float32))
