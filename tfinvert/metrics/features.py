"""How near the features of an image are to the target features."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from tfinvert.metrics.inputs import pair


def normalized_feature_error(features: Any, target: Any) -> float:
    """||phi(x) - phi0||^2 / ||phi0||^2 over all values (the data term of Mahendran & Vedaldi 2015).

    The journal version of 2016 prints the square root of this (`mv2016_error`).

    Example:
      >>> normalized_feature_error([3.0, 1.0], [3.0, 4.0])
      0.36
    """
    first, second = pair(features, target, "features")
    return float(np.sum((first - second) ** 2) / max(np.sum(second**2), 1e-12))


def mv2016_error(features: Any, target: Any) -> float:
    """||phi(x) - phi0|| / ||phi0|| (Mahendran & Vedaldi 2016), the root of `normalized_feature_error`."""
    return float(np.sqrt(normalized_feature_error(features, target)))


def mv2015_error(features: Any, target: Any, distance: float) -> float:
    """||phi(x) - phi0||^2 / `distance`, the mean pairwise distance of images' features (Mahendran & Vedaldi 2015, sec. 4).

    About 1 for the features of another photograph. The paper takes the distance from 100 ImageNet images.
    """
    first, second = pair(features, target, "features")
    return float(np.sum((first - second) ** 2)) / max(distance, 1e-12)


def mean_pairwise_distances(images: Iterable[Mapping[str, np.ndarray]]) -> dict[str, float]:
    """For each layer, the mean of ||phi(a) - phi(b)||^2 over pairs of different images.

    Args:
      images: the features of at least two images by layer; they are not kept.
    """
    count, squares, totals = 0, dict[str, float](), dict[str, np.ndarray]()
    for features in images:
        count += 1
        for name, one in features.items():
            values = one.astype(np.float64)
            squares[name] = squares.get(name, 0.0) + float(np.sum(values**2))
            totals[name] = totals.get(name, np.zeros(())) + values
    # Twice the unbiased variance, summed over the features.
    return {name: 2 * (squares[name] - float(np.sum(total**2)) / count) / (count - 1) for name, total in totals.items()}


def feature_cosine(features: Any, target: Any) -> float:
    """The cosine of the angle between features and target features, from -1 to 1; NaN where one of them is zero.

    Example:
      >>> feature_cosine([1.0, 0.0], [1.0, 1.0])  # doctest: +ELLIPSIS
      0.7071...
    """
    first, second = pair(features, target, "features")
    with np.errstate(invalid="ignore"):
        return float(np.sum(first * second) / np.sqrt(np.sum(first**2) * np.sum(second**2)))


def spearman(features: Any, target: Any) -> float:
    """Spearman's rank correlation over all values, from -1 to 1; NaN for constant features.

    Equal values share their mean rank.
    """
    from scipy.stats import rankdata

    first, second = pair(features, target, "features")
    return _pearson(rankdata(first.ravel()), rankdata(second.ravel()))


def r_squared(features: Any, target: Any) -> float:
    """The square of Pearson's correlation over all values, from 0 to 1; NaN for constant features."""
    first, second = pair(features, target, "features")
    return _pearson(first.ravel(), second.ravel()) ** 2


def signal_to_noise(features: Any, target: Any) -> float:
    """20 log10(||phi0|| / ||phi(x) - phi0||) in dB (Feather et al. 2023); infinity where the features are equal.

    Example:
      >>> signal_to_noise([9.0], [10.0])
      20.0
    """
    first, second = pair(features, target, "features")
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(20 * np.log10(np.linalg.norm(second.ravel()) / np.linalg.norm((first - second).ravel())))


class NullDistribution(NamedTuple):
    """What three measures say of unrelated images: an array [pairs] each."""

    spearman: np.ndarray
    r_squared: np.ndarray
    signal_to_noise: np.ndarray


def null_distribution(images: Sequence[Any], pairs: int = 1000, seed: int = 12345) -> NullDistribution:
    """Spearman's correlation, R^2 and signal-to-noise ratio of features for random pairs of different images.

    Args:
      images: the features of at least two images at one layer, all of one shape. Feather et al. (2023) draw from ImageNet.
      pairs: how many pairs are drawn, with replacement.
      seed: of the pairs.

    Returns:
      The three measures, [pairs] each.
    """
    if len(images) < 2:
        raise ValueError(f"the features of {len(images)} image; expected at least two, because pairs are of different images")
    random = np.random.default_rng(seed)
    drawn = [random.choice(len(images), size=2, replace=False) for _ in range(pairs)]
    measures = (spearman, r_squared, signal_to_noise)
    return NullDistribution(*(np.array([measure(images[a], images[b]) for a, b in drawn]) for measure in measures))


def is_metamer(features: Any, target: Any, null: NullDistribution, same_class: bool) -> bool:
    """Whether an image is a metamer of its target for the network at a layer, by the criterion of Feather et al. (2023).

    Args:
      features: at the layer that was inverted.
      target: those of the target, of the same shape.
      null: of the same layer.
      same_class: whether the network gives image and target the same most probable class.

    Returns:
      True where the class is the same and each of the three measures is above every value of its null distribution.
    """
    measured = (spearman(features, target), r_squared(features, target), signal_to_noise(features, target))
    return same_class and all(value > np.nanmax(values) for value, values in zip(measured, null, strict=True))


def pairwise_identification(features: Any, targets: Any) -> np.ndarray:
    """How often each image is nearer to its own target than to the others', by Pearson's correlation.

    The measure of the KamitaniLab (`bdpy.evals.metrics.pairwise_identification`); chance is 0.5.

    Args:
      features: [n, ...] of n images, at least two.
      targets: of the same shape; `targets[i]` belongs to `features[i]`.

    Returns:
      For each image, the share of the other n - 1 targets that are further away than its own, [n].
    """
    from scipy.spatial.distance import cdist

    first, second = (values.reshape(len(values), -1) for values in pair(features, targets, "features"))
    if len(first) < 2:
        raise ValueError("the features of one image; expected at least two, because targets are told apart")
    similarity = 1 - cdist(first, second, metric="correlation")
    return np.sum(similarity - np.diag(similarity)[:, None] < 0, axis=1) / (len(first) - 1)


def _pearson(first: np.ndarray, second: np.ndarray) -> float:
    with np.errstate(invalid="ignore"):
        return float(np.corrcoef(first, second)[0, 1])
