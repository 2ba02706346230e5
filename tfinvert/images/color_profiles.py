"""To sRGB from the colors of a file's ICC profile (Display P3, Adobe RGB, grays, CMYK), by Little CMS, or from its gamma."""

from __future__ import annotations

import functools
import io
from typing import Any

import numpy as np
from PIL import Image as PillowImage

from tfinvert.system.notices import warn_once

MODES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK", "Lab": "LAB"}  # a profile's color space -> Pillow's mode
SAME = 1  # level by which a profile may differ from sRGB and count as it, so that no pixel is changed for rounding's sake
PROBE_LEVELS = 9
SRGB_GAMMA = 1 / 2.2  # near enough to sRGB's own curve, and what most PNG files say


def profile_of(image: PillowImage.Image) -> bytes | float | None:
    """The ICC profile of an image; else the gamma that a PNG file says instead, such as 1.0 for linear colors; else None."""
    if profile := image.info.get("icc_profile"):
        return profile
    gamma = image.info.get("gamma", SRGB_GAMMA)
    is_other = "srgb" not in image.info and 0.1 <= gamma <= 10 and abs(gamma / SRGB_GAMMA - 1) > 0.05
    return float(gamma) if is_other else None


def to_srgb(image: PillowImage.Image, profile: bytes | float | None, name: object, *, gray: bool = False) -> PillowImage.Image:
    """The image in sRGB, of mode RGB.

    Args:
      image: RGB, CMYK or LAB, without transparency.
      profile: the ICC profile of its file, or its gamma. With None, RGB is sRGB already. A profile that is damaged, or for
        other colors, is passed over with a warning.
      name: of the image, for the warning.
      gray: whether the file has grays, which are in `image` as RGB.
    """
    if profile is None and image.mode != "LAB":
        return image.convert("RGB")
    if isinstance(profile, float):
        return image.convert("RGB").point(_from_gamma(profile) * 3)
    try:
        return _converted(image, profile, gray)
    except Exception as error:  # Little CMS raises OSError, Pillow PyCMSError, and ValueError, by what is wrong
        reason = " ".join(str(error).split())[:100] or type(error).__name__
        warn_once(f"{name}: its color profile is passed over ({reason}); the colors are taken for sRGB")
        return image.convert("RGB")


def _converted(image: PillowImage.Image, profile: bytes | None, gray: bool) -> PillowImage.Image:
    from PIL import ImageCms  # few images need it

    space, transform = _way(profile)
    mode = MODES.get(space, "")
    if image.mode != mode and not (image.mode == "RGB" and gray and mode == "L"):
        raise ValueError(f"it is for {space or 'other colors'}, and the image is {'gray' if gray else image.mode}")
    if transform is None:
        return image
    converted = ImageCms.applyTransform(image.convert(mode), transform)
    assert converted is not None  # it is, only where the image is changed in place
    return converted


@functools.lru_cache(4)  # the photographs of a folder have the same profile, and finding the way takes 5 ms
def _way(profile: bytes | None) -> tuple[str, Any]:
    """The color space of a profile, by default LAB, and Pillow's transform from it to sRGB; None where no color changes."""
    from PIL import ImageCms

    source = ImageCms.createProfile("LAB") if profile is None else ImageCms.ImageCmsProfile(io.BytesIO(profile)).profile
    space = source.xcolor_space.strip()
    if space not in MODES:
        return space, None
    transform = ImageCms.buildTransform(
        ImageCms.ImageCmsProfile(source),
        _srgb(),
        MODES[space],
        "RGB",
        ImageCms.Intent.RELATIVE_COLORIMETRIC,
        ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
    if MODES[space] not in ("RGB", "L"):
        return space, transform
    probe = _probe(MODES[space])
    difference = np.asarray(ImageCms.applyTransform(probe, transform), np.int16) - np.asarray(probe.convert("RGB"), np.int16)
    return space, None if np.abs(difference).max() <= SAME else transform


def _from_gamma(gamma: float) -> list[int]:
    """What each of 256 levels is in sRGB (IEC 61966-2-1), of light ** `gamma`."""
    light = np.linspace(0, 1, 256) ** (1 / gamma)
    encoded = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.rint(255 * encoded).astype(int).tolist()


@functools.lru_cache(1)
def _srgb():
    from PIL import ImageCms

    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


def _probe(mode: str) -> PillowImage.Image:
    """An image of colors from all of RGB, or of all grays."""
    if mode == "L":
        return PillowImage.fromarray(np.arange(256, dtype=np.uint8)[None])
    levels = np.linspace(0, 255, PROBE_LEVELS).astype(np.uint8)
    return PillowImage.fromarray(np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(1, -1, 3))
