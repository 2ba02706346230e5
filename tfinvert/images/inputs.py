"""Images as users have them: files, folders, Pillow images, and arrays of any library, alone or in batches."""

import os
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as PillowImage

from tfinvert.images import files, resizing
from tfinvert.system.arrays import to_numpy
from tfinvert.system.errors import InputError

EXPECTED = (
    "expected a file, the name of a sample image, a Pillow image, an array [H, W, 3] of uint8 or of floats in [0, 1], "
    "or a list of these"
)
CHANNELS = (1, 3, 4)  # gray, RGB, RGB and opacity
ROUNDING = 1e-6  # by which floats may leave [0, 1]


def as_images(value: Any, size: tuple[int, int] | None = None, name: str = "image", resize: str = "crop") -> np.ndarray:
    """An image, or several, in any form that users have, as one batch.

    Everything is resized exactly as files are: by Pillow, bilinear, in 8 bits. Floats that are no multiples of 1/255 are
    resized as floats, with the same filter.

    Args:
      value: one of the following, or a list or tuple of them.
        - a file, as str or pathlib.Path ("~" is the home directory), or the name of a sample photograph (`SAMPLES`);
        - a Pillow image of any mode;
        - an array or tensor of NumPy, TensorFlow, PyTorch or JAX: uint8, or floats in [0, 1], of shape [H, W], [H, W, 1],
          [H, W, 3], or [H, W, 4], which is laid over white; each also with a batch axis in front. [n, 3, H, W] and
          PyTorch's [3, H, W] are read with the channels first.
      size: (height, width) in pixels of the result. Default: the size of the first image.
      name: the name of the setting, for errors.
      resize: as for `load`.

    Returns:
      float32 [n, height, width, 3], RGB in [0, 1]; no view of `value`.

    Raises:
      InputError: the type, shape or range of the value is another, there is no image in it, or a file cannot be read.

    Example:
      >>> import numpy as np
      >>> from tfinvert.images import as_images
      >>> as_images("chelsea", (24, 32)).shape
      (1, 24, 32, 3)
      >>> as_images([np.zeros((9, 9), np.uint8), np.ones((20, 30, 3))]).shape
      (2, 9, 9, 3)
    """
    images = _all_images(value, name)
    height, width = size or images[0].shape[:2]
    return np.stack([_resized(image, (height, width), resize) for image in images])


def sizes_of(value: Any, name: str = "image") -> dict[str, tuple[int, int]]:
    """The (height, width) of each image, by its name; of files by their headers.

    Args:
      value: as for `as_images`.
      name: the name of the setting, for errors and for images that come from no file.

    Raises:
      InputError: as by `as_images`.
    """
    parts = value if isinstance(value, list | tuple) else [value]
    if parts and all(isinstance(part, str | os.PathLike) for part in parts):
        return {Path(part).stem: files.size_of(part) for part in parts}
    images = _all_images(value, name)
    names = [name] if len(images) == 1 else [f"{name}[{number}]" for number in range(len(images))]
    return {each: (image.shape[0], image.shape[1]) for each, image in zip(names, images, strict=True)}


def _all_images(value: Any, name: str) -> list[np.ndarray]:
    """Each image [H, W, 3] of a value, which may be a list; raises InputError where there is none."""
    if isinstance(value, list | tuple):
        images = [image for number, part in enumerate(value) for image in _images_of(part, f"{name}[{number}]")]
    else:
        images = _images_of(value, name)
    if not images:
        raise InputError(f"{name} has no image in it ({_described(value)}); {EXPECTED}")
    return images


def _images_of(value: Any, name: str) -> list[np.ndarray]:
    """Each image [H, W, 3] of a value that is no list: uint8, or float32 in [0, 1]."""
    if isinstance(value, str | os.PathLike):
        try:
            return [np.asarray(files.read(Path(value) if isinstance(value, os.PathLike) else value))]
        except InputError as error:
            raise InputError(f"{name}: {error}") from None
    if isinstance(value, PillowImage.Image):
        return [np.asarray(files.to_rgb(value, name))]
    array, is_torch = _to_numpy(value, name)
    batch = _channels_last(array, name, is_torch)
    if not len(batch):
        return []
    files.check_size(name, batch.shape[2], batch.shape[1])
    if batch.dtype != np.uint8:
        _check_range(batch, name)
    return [_rgb(image if image.dtype == np.uint8 else _as_bytes(image), name) for image in batch]


def _to_numpy(value: Any, name: str) -> tuple[np.ndarray, bool]:
    """The array that a value holds, and whether it was a tensor of PyTorch; what it is shows in its attributes alone."""
    is_torch = hasattr(value, "detach") and hasattr(value, "cpu")
    if not is_torch and not hasattr(value, "__array__"):
        raise InputError(f"{name} is {_described(value)}; {EXPECTED}")
    try:
        array = to_numpy(value)
    except Exception as error:  # a symbolic tensor, a sparse one, one of another library
        said = " ".join(str(error).split())[:100]
        raise InputError(f"{name} is a {type(value).__name__} whose values cannot be read ({said}); {EXPECTED}") from None
    if array.dtype.name not in ("uint8", "float16", "float32", "float64"):
        if array.dtype.name.startswith(("float", "bfloat")):
            return array.astype(np.float32), is_torch
        raise InputError(
            f"{name} is an array {list(array.shape)} of {array.dtype}; expected uint8 from 0 to 255 or floats from 0 to 1"
            f"{_how_to_convert(array)}"
        )
    return array, is_torch


def _how_to_convert(array: np.ndarray) -> str:
    """What makes an image of an array of another type, where it is known."""
    if array.dtype == bool:
        return ": convert it by .astype(float)"
    if array.dtype.kind not in "iu" or not array.size or array.min() < 0:
        return ""
    if array.max() <= 255:
        return ": convert it, such as by .astype('uint8')"
    return f": its largest value is {array.max()}, so divide it by the largest possible value, such as by 65535"


def _channels_last(array: np.ndarray, name: str, is_torch: bool) -> np.ndarray:
    """An array of any accepted shape as [n, H, W, channels]."""
    shape = array.shape
    if array.ndim == 2:
        return array[None, ..., None]
    if array.ndim == 3 and shape[-1] in CHANNELS:
        return array[None]
    if array.ndim == 3 and shape[0] == 3 and is_torch:
        return np.moveaxis(array, 0, -1)[None]
    if array.ndim == 3 and shape[0] in (3, 4):
        raise InputError(
            f"{name} has the shape {list(shape)}, which is {shape[0]} gray images or one with its channels first; "
            f"expected the channels last: give it as [n, H, W, 1] or as [H, W, {shape[0]}]"
        )
    if array.ndim == 3:
        return array[..., None]
    if array.ndim == 4 and shape[-1] in CHANNELS:
        return array
    if array.ndim == 4 and shape[1] in CHANNELS:
        return np.moveaxis(array, 1, -1)
    raise InputError(
        f"{name} has the shape {list(shape)}; expected [H, W], [H, W, 1], [H, W, 3] or [H, W, 4], or several of these in one "
        "batch: [n, H, W, 3]"
    )


def _check_range(values: np.ndarray, name: str) -> None:
    """Raises InputError for floats that are not in [0, 1]."""
    if not np.isfinite(values).all():
        raise InputError(f"{name} has NaN or infinite values; expected floats from 0 to 1")
    low, high = float(values.min()), float(values.max())
    if low < -ROUNDING or high > 1 + ROUNDING:
        raise InputError(
            f"{name} has values from {low:.4g} to {high:.4g}; expected floats from 0 to 1: "
            "divide values from 0 to 255 by 255, or give them as uint8"
        )


def _as_bytes(image: np.ndarray) -> np.ndarray:
    """Floats in [0, 1] as uint8 where all are multiples of 1/255, but for the rounding of their type; else as they are.

    What is stored with 8 bits and then divided by 255, or multiplied by 1/255, is resized like the file that it comes from.
    """
    exact = image.astype(np.float64)
    levels = np.rint(exact * 255)
    rounding = max(np.finfo(image.dtype).eps, np.finfo(np.float32).eps)  # float64 may hold what was float32
    return levels.astype(np.uint8) if np.all(np.abs(exact - levels / 255) <= rounding * exact) else image


def _rgb(image: np.ndarray, name: str) -> np.ndarray:
    """An image [H, W, 1, 3 or 4] as [H, W, 3] over white; uint8 as Pillow does it, floats as float32 in [0, 1]."""
    if image.dtype == np.uint8:
        # To Pillow, a gray image has no axis for its channel.
        image = np.ascontiguousarray(image[..., 0] if image.shape[-1] == 1 else image)
        return np.asarray(files.to_rgb(PillowImage.fromarray(image), name))
    image = np.clip(image.astype(np.float32), 0, 1)
    if image.shape[-1] == 1:
        return np.repeat(image, 3, axis=-1)
    return image[..., :3] * image[..., 3:] + (1 - image[..., 3:]) if image.shape[-1] == 4 else image


def _resized(image: np.ndarray, size: tuple[int, int], resize: str) -> np.ndarray:
    """An image [H, W, 3], uint8 or floats in [0, 1], as float32 [height, width, 3] in [0, 1]."""

    def at_size(part: np.ndarray) -> np.ndarray:
        return np.asarray(resizing.resized(PillowImage.fromarray(part), size, resize), np.float32)

    if image.dtype == np.uint8:
        return at_size(image) / np.float32(255)
    return np.clip(np.stack([at_size(np.ascontiguousarray(image[..., n])) for n in range(3)], axis=-1), 0, 1)


def _described(value: Any) -> str:
    """A value that is no array, in a few words."""
    said = " ".join(repr(value).split())
    return f"{said[:60]}... ({type(value).__name__})" if len(said) > 60 else f"{said} ({type(value).__name__})"
