"""Maps of numbers as images: saliency in the colors of heat, alone or over the image it is of."""

from __future__ import annotations

import numpy as np


def heat(values: np.ndarray) -> np.ndarray:
    """Colors a map [H, W] from black over red and yellow to white, [H, W, 3].

    Every map has a scale of its own, from 0 to `heat_limit`. The brightness of two maps cannot be compared.
    """
    scaled = np.clip(values / heat_limit(values), 0, 1)[..., None]
    return np.clip(3 * scaled - np.arange(3), 0, 1).astype(np.float32)


def heat_limit(values: np.ndarray) -> float:
    """The value that `heat` shows in white: the 99.9th percentile, so that a few pixels do not darken all the others."""
    return max(float(np.percentile(values, 99.9)), 1e-12)


def overlay(image: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Lays a map [H, W] over an image [H, W, 3] in light grays, [H, W, 3].

    Where the map is 0 the image is as it is. The larger its values, averaged over their neighbors, the more the image turns
    red, and yellow where they are largest. The grays stay in it, so that the image can be seen everywhere.
    """
    gray = 0.2 + 0.8 * np.mean(image, axis=-1, keepdims=True)
    near = _averaged(np.asarray(values, np.float32), max(min(values.shape) // 40, 1))
    part = np.clip(near / heat_limit(near), 0, 1)[..., None]
    warm = np.concatenate([np.ones_like(part), np.clip(1.6 * part - 0.6, 0, 1), np.zeros_like(part)], axis=-1)
    alpha = 0.85 * part
    return np.clip(gray * (1 - alpha) + (0.5 + 0.5 * gray) * warm * alpha, 0, 1).astype(np.float32)


def _averaged(values: np.ndarray, radius: int) -> np.ndarray:
    """The means of a map [H, W] over squares of 2 radius + 1 pixels a side; at the edge the last pixels count several times."""
    side = 2 * radius + 1
    for axis in (0, 1):
        padded = np.pad(values, [(radius, radius) if each == axis else (0, 0) for each in (0, 1)], mode="edge")
        values = np.lib.stride_tricks.sliding_window_view(padded, side, axis=axis).mean(axis=-1)
    return values
