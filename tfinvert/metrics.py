"""How near a picture is to the one it was made from. Plain NumPy; nothing is rescaled before it is measured."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np


def psnr(image: np.ndarray, target: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB, 10 log10(1 / mean squared error), both pictures clipped to [0, 1].

    Args:
      image, target: [..., H, W, 3] of one shape.

    Returns:
      dB; infinity for equal pictures.

    Raises:
      ValueError: the shapes differ.
    """
    first, second = _clipped(image, target)
    error = float(np.mean((first - second) ** 2))
    return float("inf") if error == 0 else -10.0 * float(np.log10(error))


def ssim(image: np.ndarray, target: np.ndarray) -> float:
    """Structural similarity of two pictures [H, W, 3] in [0, 1] (Wang et al. 2004), by scikit-image.

    Gaussian windows of deviation 1.5 and the population covariance, as in the paper; mean over the channels.
    """
    from skimage.metrics import structural_similarity  # imports SciPy, which most of the program does without

    first, second = (value.reshape(value.shape[-3:]) for value in _clipped(image, target))
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    return float(structural_similarity(first, second, channel_axis=-1, data_range=1.0, **options))


def mean_pairwise_distances(pictures: Iterable[Mapping[str, np.ndarray]]) -> dict[str, float]:
    """For each layer, the mean of ||phi(a) - phi(b)||^2 over pairs of different pictures.

    Args:
      pictures: the features of at least two pictures by layer; they are not kept.
    """
    count, squares, totals = 0, dict[str, float](), dict[str, np.ndarray]()
    for features in pictures:
        count += 1
        for name, one in features.items():
            values = one.astype(np.float64)
            squares[name] = squares.get(name, 0.0) + float(np.sum(values**2))
            totals[name] = totals.get(name, np.zeros(())) + values
    # Twice the unbiased variance, summed over the features.
    return {name: 2 * (squares[name] - float(np.sum(total**2)) / count) / (count - 1) for name, total in totals.items()}


def mv2015_error(features: np.ndarray, target: np.ndarray, distance: float) -> float:
    """||phi(x) - phi0||^2 / `distance`, the mean pairwise distance of pictures' features (Mahendran & Vedaldi 2015, sec. 4).

    About 1 for the features of another photograph. The paper takes the distance from 100 ImageNet pictures.
    """
    return float(np.sum((features.astype(np.float64) - target) ** 2)) / max(distance, 1e-12)


def mv2016_error(features: np.ndarray, target: np.ndarray) -> float:
    """||phi(x) - phi0|| / ||phi0|| (Mahendran & Vedaldi 2016), the root of `normalized_feature_error`."""
    return float(np.sqrt(normalized_feature_error(features, target)))


def interval(values: Sequence[float]) -> tuple[float, float]:
    """The mean, and half the width of its 95 % interval by Student's t; NaN for a single value."""
    from scipy.stats import t

    count = len(values)
    if count < 2:
        return float(np.mean(values)), float("nan")
    return float(np.mean(values)), float(t.ppf(0.975, count - 1) * np.std(values, ddof=1) / np.sqrt(count))


def normalized_feature_error(features: np.ndarray, target: np.ndarray) -> float:
    """||phi(x) - phi0||^2 / ||phi0||^2 over all values (the data term of Mahendran & Vedaldi 2015).

    The journal version of 2016 prints the square root of this.
    """
    if features.shape != target.shape:
        raise ValueError(f"features of shape {features.shape} and {target.shape}; expected the same")
    difference = np.sum((features.astype(np.float64) - target) ** 2)
    return float(difference / max(np.sum(target.astype(np.float64) ** 2), 1e-12))


def _clipped(image: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if image.shape != target.shape:
        raise ValueError(f"pictures of shape {image.shape} and {target.shape}; expected the same")
    return np.clip(image.astype(np.float64), 0, 1), np.clip(target.astype(np.float64), 0, 1)
