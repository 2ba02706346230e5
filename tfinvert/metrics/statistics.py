"""What a mean over images is worth."""

from collections.abc import Sequence

import numpy as np


def interval(values: Sequence[float]) -> tuple[float, float]:
    """The mean, and half the width of its 95 % interval by Student's t; NaN for a single value."""
    from scipy.stats import t

    count = len(values)
    if count < 2:
        return float(np.mean(values)), float("nan")
    return float(np.mean(values)), float(t.ppf(0.975, count - 1) * np.std(values, ddof=1) / np.sqrt(count))


def bootstrap_interval(values: Sequence[float], resamples: int = 10_000, seed: int = 12345) -> tuple[float, float, float]:
    """The mean, and the ends of its 95 % interval by the percentile bootstrap (Efron & Tibshirani 1993, section 13.3).

    Args:
      values: of independent things, such as images. Those of one image are to be averaged before.
      resamples: how many samples of the same size are drawn with replacement.
      seed: of these draws.

    Returns:
      (mean, low, high); low and high are NaN for a single value.

    Example:
      >>> bootstrap_interval([1.0, 1.0, 1.0])
      (1.0, 1.0, 1.0)
    """
    numbers = np.asarray(values, np.float64)
    if len(numbers) < 2:
        return float(np.mean(numbers)), float("nan"), float("nan")
    drawn = np.random.default_rng(seed).integers(0, len(numbers), (resamples, len(numbers)))
    low, high = np.percentile(numbers[drawn].mean(axis=1), [2.5, 97.5])
    return float(np.mean(numbers)), float(low), float(high)


def paired_test(first: Sequence[float], second: Sequence[float]) -> float:
    """The two-sided p-value of Wilcoxon's signed-rank test for pairs of values; 1 where all pairs are equal.

    Args:
      first: a figure of each image.
      second: another one of the same images, in the same order.

    Example:
      >>> paired_test([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [2.0, 4.0, 6.0, 8.0, 10.0, 12.0])
      0.03125
    """
    from scipy.stats import wilcoxon

    differences = np.asarray(first, np.float64) - np.asarray(second, np.float64)
    return 1.0 if not np.any(differences) else float(wilcoxon(differences).pvalue)
