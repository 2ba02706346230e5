import numpy as np
import pytest
import scipy.stats

from tfinvert import metrics

RNG = np.random.default_rng(0)


def test_the_agreement_of_classes():
    image = np.array([[0.1, 0.7, 0.2], [0.5, 0.2, 0.3]])
    target = np.array([[0.3, 0.1, 0.6], [0.9, 0.1, 0.0]])
    assert metrics.top_k_agreement(image, target) == 0.5
    assert metrics.top_k_agreement(image, target, k=2) == 1.0
    assert metrics.top_k_agreement(image[0], target[0]) == 0.0
    for k in (0, 4):
        with pytest.raises(ValueError, match=f"k is {k}; expected a number from 1 to 3"):
            metrics.top_k_agreement(image, target, k=k)


def test_the_divergence_agrees_with_scipy():
    image, target = RNG.dirichlet(np.ones(10), size=(2, 4))
    expected = np.mean([scipy.stats.entropy(p, q) for p, q in zip(target, image, strict=True)])
    assert metrics.kl_divergence(image, target) == pytest.approx(expected)
    assert metrics.kl_divergence(target, target) == pytest.approx(0.0)
    assert metrics.kl_divergence([1.0, 0.0], [0.0, 1.0]) == pytest.approx(12 * np.log(10))
    with pytest.raises(ValueError, match="expected probabilities, which sum to 1"):
        metrics.kl_divergence([2.0, 3.0], [0.0, 1.0])


@pytest.mark.parametrize("function", [metrics.top_k_agreement, metrics.kl_divergence])
def test_different_shapes_are_refused(function):
    with pytest.raises(ValueError, match="expected the same"):
        function(np.ones(3) / 3, np.ones(4) / 4)


def test_no_class_agrees_with_nan():
    with pytest.raises(ValueError, match="probabilities with NaN"):
        metrics.top_k_agreement([float("nan"), 0.5], [0.5, 0.5])
