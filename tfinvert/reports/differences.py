"""The signed difference of two images in colors, on one scale, and the bar of that scale."""

from __future__ import annotations

import numpy as np

LIMIT = 0.2  # of the range of an image; larger differences have the colors of the ends
# Blue where the first image is darker, over a light gray where both are equal, to red where it is brighter. Both ends are as
# dark as each other, and color-blind readers can tell them apart (ColorBrewer's RdBu).
DARKER, EQUAL, BRIGHTER = (np.array(color, np.float32) / 255 for color in ((33, 102, 172), (247, 247, 245), (178, 24, 43)))


def color(values: np.ndarray, limit: float = LIMIT) -> np.ndarray:
    """The colors of differences.

    Args:
      values: [...], in [-1, 1].
      limit: the difference, in (0, 1], that has the color of an end.

    Returns:
      float32 [..., 3], RGB in [0, 1].

    Example:
      >>> color(np.array([-1.0, 0.0, 1.0])).shape
      (3, 3)
    """
    part = np.clip(np.asarray(values, np.float32) / limit, -1, 1)[..., None]
    end = np.where(part < 0, DARKER, BRIGHTER)
    return (EQUAL + np.abs(part) * (end - EQUAL)).astype(np.float32)


def signed(image: np.ndarray, target: np.ndarray, limit: float = LIMIT) -> np.ndarray:
    """The colors of `image - target`, averaged over the channels; [H, W, 3] from two images [H, W, 3] in [0, 1]."""
    return color((np.asarray(image, np.float32) - np.asarray(target, np.float32)).mean(axis=-1), limit)


def bar(width: int, height: int) -> np.ndarray:
    """The scale from -limit on the left to limit on the right, [height, width, 3]."""
    return np.tile(color(np.linspace(-1, 1, width), 1.0), (height, 1, 1))
