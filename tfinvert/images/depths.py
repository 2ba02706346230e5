"""Grays of more than 8 bits, as whole numbers or floats, in 8 bits."""

from __future__ import annotations

import numpy as np
from PIL import Image as PillowImage

from tfinvert.system.errors import InputError
from tfinvert.system.notices import warn_once

TOPS = (255, 65535)  # what white is where the mode of an image does not say it
ROUNDING = 1e-3  # by which white and black are passed


def is_deep(mode: str) -> bool:
    """Whether a Pillow mode has one channel of more than 8 bits; Pillow itself clips these to 255."""
    return mode == "F" or mode.startswith("I")


def in_8_bits(image: PillowImage.Image, name: object) -> PillowImage.Image:
    """A Pillow image of a deep mode as grays of 8 bits, of mode L, or LA where one gray is transparent.

    White is 65535 for 16 bits. For 32 bits and for floats it is the smallest of 1 (floats alone), 255 and 65535 that no value
    passes.

    Args:
      image: of a mode for which `is_deep` holds.
      name: of the image, for the error.

    Raises:
      InputError: a value is NaN or infinite, is negative, or is above 65535.
    """
    values = np.asarray(image).astype(np.float64)
    low, high = float(values.min(initial=0)), float(values.max(initial=0))
    if not np.isfinite(values).all():
        raise InputError(f"{name} has NaN or infinite values; expected grays from 0 to 1, 255 or 65535")
    tops = (65535,) if image.mode.startswith("I;16") else (1, *TOPS) if image.mode == "F" else TOPS
    top = next((top for top in tops if high <= top * (1 + ROUNDING)), None)
    if top is None or low < -ROUNDING * top:
        raise InputError(f"{name} has values from {low:.6g} to {high:.6g}; expected grays from 0 to 1, 255 or 65535")
    if high < top / 4 and not image.mode.startswith("I;16"):
        warn_once(f"{name} has values up to {high:.6g}, and its white is taken for {top}")
    gray = PillowImage.fromarray(np.rint(np.clip(values / top, 0, 1) * 255).astype(np.uint8))
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        gray.putalpha(PillowImage.fromarray(np.where(values == transparent, 0, 255).astype(np.uint8)))
    return gray
