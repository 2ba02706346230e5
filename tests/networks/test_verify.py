"""How far a converted layer is from onnxruntime's."""

import dataclasses

import numpy as np
import pytest
from onnx import helper

from tests.conftest import tiny_graph
from tfinvert.networks.conversion import verify
from tfinvert.system.errors import InputError


def test_the_error_is_relative_to_the_largest_value():
    expected = np.zeros((1, 2, 3, 4), np.float32)
    expected[0, 1, 2, 3] = -8
    actual = expected.copy()
    actual[0, 0, 0, 0] = 4e-4
    assert verify.relative_error("conv", actual, expected) == pytest.approx(5e-5)
    assert verify.relative_error("fc", np.ones((1, 5)), np.ones((1, 5))) == 0.0


@pytest.mark.parametrize("wrong", [1.001, np.nan])
def test_a_layer_that_differs_is_refused(wrong):
    with pytest.raises(InputError, match=r"layer 'fc' differs from onnxruntime by .* expected at most 1e-04$"):
        verify.relative_error("fc", np.full((1, 5), wrong), np.ones((1, 5)))


def test_another_shape_is_refused():
    with pytest.raises(InputError, match=r"shape \(1, 4, 4, 3\); onnxruntime gives \(1, 4, 5, 3\)"):
        verify.relative_error("conv", np.ones((1, 4, 4, 3)), np.ones((1, 4, 5, 3)))


def away(*distances):
    """Values whose largest is 1, with one that is so far from where it should be."""
    values = np.array([[1.0, 0.0, 0.0]])
    return [values + np.array([[0.0, distance, 0.0]]) for distance in distances]


def test_a_layer_may_be_three_times_as_far_as_onnxruntime_is_from_double_precision():
    actual, expected, exact = away(2.5e-4, 1e-4, 0.0)
    with pytest.raises(InputError, match=r"by 1\.5e-04 .* at most 1e-04$"):
        verify.relative_error("fc", actual, expected)
    assert verify.relative_error("fc", actual, expected, exact) == pytest.approx(1.5e-4)
    actual, expected, exact = away(5e-4, 1e-4, 0.0)
    with pytest.raises(InputError, match=r"by 4\.0e-04 .* at most 3e-04 \(onnxruntime itself is 1\.0e-04 away"):
        verify.relative_error("fc", actual, expected, exact)


def test_a_layer_may_be_as_near_to_double_precision_where_onnxruntime_confirms_that():
    actual, expected, exact = away(0.9e-4, -0.3e-4, 0.0)
    assert verify.relative_error("fc", actual, expected, exact) == pytest.approx(1.2e-4)
    actual, expected, exact = away(1.1e-4, -0.3e-4, 0.0)
    with pytest.raises(InputError, match=r"by 1\.4e-04 .* at most 1e-04"):
        verify.relative_error("fc", actual, expected, exact)


def test_layers_that_are_no_numbers_are_refused_with_their_weights():
    tiny = tiny_graph()
    broken = dataclasses.replace(tiny, weights={**tiny.weights, "k2": np.full_like(tiny.weights["k2"], np.nan)})
    image = np.ones((1, 3, 16, 16), np.float32)
    values = verify.reference(dataclasses.replace(broken, outputs=("relu1", "relu2")), image)
    layers = {"conv1": values["relu1"], "conv2": values["relu2"]}
    with pytest.raises(InputError, match=r"layer 'conv2' is NaN or infinite at 320 of 320 places .* the weights 'k2' have NaN"):
        verify.check_finite(broken, layers)
    with pytest.raises(InputError, match="weights may be too large"):
        verify.check_finite(tiny, {"conv1": np.full((1, 2), np.inf)})
    verify.check_finite(broken, {"conv1": values["relu1"]})


def test_zeros_around_a_max_pool_are_values():
    """onnxruntime's own rewriting makes them less than everything."""
    nodes = [
        helper.make_node("Neg", ["image"], ["negative"]),
        helper.make_node("Pad", ["negative", "pads"], ["padded"]),
        helper.make_node("MaxPool", ["padded"], ["pooled"], kernel_shape=[3, 3], strides=[2, 2]),
    ]
    weights = {"pads": np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64)}
    graph = dataclasses.replace(
        tiny_graph(), nodes=tuple(nodes), weights=weights, outputs=("pooled",), image="image", size=(8, 8), opset=17
    )
    pooled = verify.reference(graph, np.full((1, 3, 8, 8), 0.5, np.float32))["pooled"]
    assert (pooled[0, 0, 0] == 0).all()
    assert pooled[0, 0, 1, 1] == -0.5


def test_a_difference_that_double_precision_shares_is_no_rounding():
    """As where the way to compute is wrong: then both precisions differ from onnxruntime in the same way."""
    actual, expected, exact = away(1.5e-4, 0.0, 1.5e-4)
    with pytest.raises(InputError, match="at most 1e-04"):
        verify.relative_error("fc", actual, expected, exact)
    actual, expected, exact = away(0.05, 0.0, 0.02)
    with pytest.raises(InputError, match="at most 1e-04"):
        verify.relative_error("fc", actual, expected, exact)


def test_the_channels_of_images_come_last():
    assert verify.channels_last(np.zeros((1, 3, 4, 5))).shape == (1, 4, 5, 3)
    assert verify.channels_last(np.zeros((1, 3, 4))).shape == (1, 3, 4)


def test_a_graph_that_onnxruntime_refuses():
    with pytest.raises(InputError, match="onnxruntime cannot run the network"):
        verify.reference(tiny_graph(), np.ones((1, 3, 5, 5), np.float32))
