"""How near an image is to its target."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tfinvert.metrics.inputs import image_pair, numbers, pair
from tfinvert.system.errors import InputError

SMALLEST_SSIM = 11  # pixels: the window
SMALLEST_MS_SSIM = 161  # pixels: at the coarsest of its five scales, the window of 11 pixels must fit


def psnr(image: Any, target: Any) -> float:
    """Peak signal-to-noise ratio in dB, 10 log10(1 / mean squared error), both images clipped to [0, 1].

    Args:
      image: [..., H, W, channels].
      target: the target image, of the same shape.

    Returns:
      dB, from the mean over all values; infinity where the images are equal.

    Example:
      >>> round(psnr(np.zeros((4, 4, 3)), np.full((4, 4, 3), 0.1)), 6)
      20.0
    """
    first, second = image_pair(image, target)
    error = float(np.mean((first - second) ** 2))
    return float("inf") if error == 0 else -10.0 * float(np.log10(error))


def ssim(image: Any, target: Any) -> float:
    """Structural similarity of two images in [0, 1] (Wang et al. 2004), by scikit-image.

    Gaussian windows of standard deviation 1.5 and the population covariance, as in the paper; mean over the channels.

    Args:
      image: [H, W, channels], or [1, H, W, channels]; at least 11 pixels a side.
      target: the target image, of the same shape.

    Returns:
      1 where the images are equal, at least -1.
    """
    from skimage.metrics import structural_similarity  # imports SciPy, which most of the program does without

    first, second = (value[0] if value.shape[:-3] == (1,) else value for value in image_pair(image, target))
    if first.ndim != 3 or min(first.shape[:2]) < SMALLEST_SSIM:
        raise InputError(
            f"an image of shape {first.shape}; expected [H, W, channels] with at least {SMALLEST_SSIM} pixels a side"
        )
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    return float(structural_similarity(first, second, channel_axis=-1, data_range=1.0, **options))


def ms_ssim(image: Any, target: Any) -> float:
    """Multi-scale structural similarity of two images in [0, 1] (Wang, Simoncelli & Bovik 2003), by `tf.image.ssim_multiscale`.

    Five scales with the weights of the paper. Where the structure is opposite at some scale, its factor is 0.

    Args:
      image: [H, W, channels], at least 161 pixels a side.
      target: the target image, of the same shape.

    Returns:
      From 0 to 1, which equal images have.
    """
    import tensorflow as tf  # most of the program's start does without

    first, second = image_pair(image, target)
    if first.ndim != 3 or min(first.shape[:2]) < SMALLEST_MS_SSIM:
        raise InputError(
            f"an image of shape {first.shape}; expected [H, W, channels] with at least {SMALLEST_MS_SSIM} pixels a side"
        )
    return float(tf.image.ssim_multiscale(tf.constant(first, tf.float32), tf.constant(second, tf.float32), max_val=1.0))


def image_error(image: Any, target: Any, distance: float) -> float:
    """||x - x0|| / `distance`, the image error of Dosovitskiy & Brox (2016), which is 1 for unrelated photographs in the mean.

    Args:
      image: [..., H, W, channels] of any range.
      target: the target image, of the same shape.
      distance: the mean distance of different images (`mean_image_distance`), in the same range.
    """
    first, second = pair(image, target, "images")
    return float(np.linalg.norm((first - second).ravel())) / distance


def mean_image_distance(images: Sequence[Any]) -> float:
    """The mean Euclidean distance over all pairs of different images.

    Args:
      images: at least two, all of one shape.

    Example:
      >>> mean_image_distance([np.zeros((1, 1, 3)), np.ones((1, 1, 3))])  # doctest: +ELLIPSIS
      1.732...
    """
    from scipy.spatial.distance import pdist

    if len(images) < 2:
        raise InputError(f"{len(images)} image; expected at least two, because distances are between images")
    return float(np.mean(pdist(np.stack([numbers(image, "images").ravel() for image in images]))))
