"""Steps towards an image that a network takes for something else, and what of it survives in a file of 8 bits.

All pictures are [batch, H, W, 3] in [0, 1]; gradients are of what is to grow, one number per picture, to its own pixels.
"""

from __future__ import annotations

import numpy as np

from tfinvert.images.files import COLOR_DEVIATION

LEVELS = 255.0  # from black to white in a file


def normalized_ascent(image: np.ndarray, gradient: np.ndarray, length: float) -> np.ndarray:
    """A step of `length` along the gradient of each image, in the course's space, where images have deviation 1.

    CS231n, assignment 3: X <- X + length g / ||g||_2, X = (image - mean) / deviation per channel, g the gradient to X. The
    picture is not clipped. A gradient that is all zero moves nothing.
    """
    deviation = np.asarray(COLOR_DEVIATION, np.float32)
    along = gradient * deviation
    norm = np.sqrt(np.sum(np.square(along), axis=(1, 2, 3), keepdims=True))
    return image + length * along / np.maximum(norm, 1e-30) * deviation


def signed_step(image: np.ndarray, gradient: np.ndarray, original: np.ndarray, step: float, bound: float) -> np.ndarray:
    """x + step sign(gradient), back into [0, 1] and to within `bound` of the original in every value.

    With step = bound from the original this is the fast gradient sign method (Goodfellow et al. 2015, arXiv 1412.6572);
    repeated, projected gradient descent (Madry et al. 2018, arXiv 1706.06083).

    Args:
      image, gradient, original: as above.
      step, bound: in levels of 1/255.
    """
    moved = image + step / LEVELS * np.sign(gradient)
    return np.clip(np.clip(moved, original - bound / LEVELS, original + bound / LEVELS), 0, 1).astype(np.float32)


def as_written(image: np.ndarray, original: np.ndarray | None = None, bound: float | None = None) -> np.ndarray:
    """The image as a file of 8 bits keeps it: clipped, rounded to 1/255; not a level further than `bound` from the original.

    Args:
      image: the picture.
      original: where it came from, itself of 8 bits; with `bound` only.
      bound: in levels of 1/255; None for none. Rounding could go beyond one that is no whole number.
    """
    levels = np.rint(np.clip(image, 0, 1) * LEVELS)
    if original is not None and bound is not None:
        start = np.rint(original * LEVELS)
        levels = np.clip(levels, start - np.floor(bound), start + np.floor(bound))
    return (levels / LEVELS).astype(np.float32)


def largest_change(image: np.ndarray, original: np.ndarray) -> np.ndarray:
    """The L-infinity distance of two images of 8 bits in whole levels, [batch]."""
    difference = np.abs(np.rint(image * LEVELS) - np.rint(original * LEVELS))
    return difference.max(axis=(1, 2, 3)).astype(int)
