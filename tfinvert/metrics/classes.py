"""Whether a network sees the same classes in an image and in its target."""

from __future__ import annotations

from typing import Any

import numpy as np

from tfinvert.metrics.inputs import pair
from tfinvert.system.errors import InputError


def top_k_agreement(probabilities: Any, target: Any, k: int = 1) -> float:
    """The share of images whose k most probable classes include the most probable class of their target.

    Args:
      probabilities: [classes], or [n, classes] for n images. Scores before a softmax have the same order and will do.
      target: those of the target, of the same shape.
      k: from 1 to the number of classes.

    Example:
      >>> top_k_agreement([[0.1, 0.7, 0.2], [0.5, 0.2, 0.3]], [[0.3, 0.1, 0.6], [0.9, 0.1, 0.0]], k=2)
      1.0
    """
    first, second = _pair(probabilities, target)
    if not 1 <= k <= first.shape[1]:
        raise ValueError(f"k is {k}; expected a number from 1 to {first.shape[1]}, the number of classes")
    likely = np.argsort(-first, axis=1, kind="stable")[:, :k]
    return float(np.mean(np.any(likely == np.argmax(second, axis=1)[:, None], axis=1)))


def kl_divergence(probabilities: Any, target: Any) -> float:
    """The Kullback-Leibler divergence sum p0 log(p0 / p) in nats, of the target's class probabilities p0 from the image's, p.

    Args:
      probabilities: [classes], or [n, classes] for n images; each row sums to 1.
      target: those of the target, of the same shape.

    Returns:
      The mean over the images, at least 0. Probabilities below 1e-12 count as 1e-12, so that the result is finite.
    """
    from scipy.special import rel_entr

    first, second = _pair(probabilities, target)
    for values in (first, second):
        if not np.allclose(values.sum(axis=1), 1, atol=1e-3):
            raise ValueError(f"rows that sum to {values.sum(axis=1)[:3]}; expected probabilities, which sum to 1")
    return float(np.mean(np.sum(rel_entr(second, np.maximum(first, 1e-12)), axis=1)))


def _pair(probabilities: Any, target: Any) -> tuple[np.ndarray, np.ndarray]:
    first, second = pair(probabilities, target, "probabilities")
    if np.isnan(first).any() or np.isnan(second).any():
        raise InputError("probabilities with NaN; expected numbers")
    return np.atleast_2d(first), np.atleast_2d(second)
