"""What is measured, in the forms that users have it, as pairs of NumPy arrays that can be compared."""

from __future__ import annotations

from typing import Any

import numpy as np

from tfinvert.system.arrays import to_numpy
from tfinvert.system.errors import InputError

ROUNDING = 1e-3  # by which floats of a target image may leave [0, 1], as half precision rounds


def numbers(value: Any, what: str) -> np.ndarray:
    """The values as float64; raises InputError for what holds no numbers, or none at all."""
    return _array(value, what).astype(np.float64)


def pair(value: Any, target: Any, what: str) -> tuple[np.ndarray, np.ndarray]:
    """Both as float64 of one shape; raises InputError."""
    return _same_shape(numbers(value, what), numbers(target, what), what)


def image_pair(image: Any, target: Any) -> tuple[np.ndarray, np.ndarray]:
    """Two images, of uint8 or of floats, as float64 of one shape, clipped to [0, 1]; raises InputError.

    An optimized image may leave [0, 1]. A target that does is of another range.
    """
    first, second = pixels(image), pixels(target)
    low, high = float(second.min()), float(second.max())
    if low < -ROUNDING or high > 1 + ROUNDING:
        raise InputError(f"the target has values from {low:.4g} to {high:.4g}; expected uint8, or floats from 0 to 1")
    first, second = _same_shape(first, second, "images")
    return np.clip(first, 0, 1), np.clip(second, 0, 1)


def pixels(image: Any) -> np.ndarray:
    """An image as float64, where uint8 becomes values in [0, 1]; raises InputError for other integers."""
    array = _array(image, "images")
    if array.dtype == np.uint8:
        return array / 255
    if array.dtype.kind in "iub":
        raise InputError(f"an image of {array.dtype}; expected uint8 from 0 to 255, or floats from 0 to 1")
    return array.astype(np.float64)


def _array(value: Any, what: str) -> np.ndarray:
    """The values in their own type."""
    if hasattr(value, "keys"):
        raise InputError(f"the {what} are a dictionary; expected an array, such as the features of one layer, features[layer]")
    try:
        array = to_numpy(value)
        array.astype(np.float64)
    except Exception as error:  # the name of a file, a symbolic tensor, one of another library
        raise InputError(
            f"the {what} are of the type {type(value).__name__}, whose numbers cannot be read "
            f"({' '.join(str(error).split())[:100]}); expected an array or a tensor"
        ) from None
    if not array.size:
        raise InputError(f"the {what} have the shape {array.shape}; expected at least one number")
    return array


def _same_shape(first: np.ndarray, second: np.ndarray, what: str) -> tuple[np.ndarray, np.ndarray]:
    if first.shape != second.shape:
        raise InputError(f"{what} of shape {first.shape} and {second.shape}; expected the same")
    return first, second
