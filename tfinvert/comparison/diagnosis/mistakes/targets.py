"""Mistakes in reading the target."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image

from tfinvert import images
from tfinvert.comparison.diagnosis.mistakes.mistake import Mistake
from tfinvert.comparison.diagnosis.recipe import Recipe

Resize = Callable[[Image.Image, tuple[int, int]], Image.Image]
RESAMPLING = Image.Resampling


def _resized(resize: Resize) -> Callable[[Recipe], Recipe]:
    """The target, read again from its file and resized to (width, height) in another way."""

    def change(recipe: Recipe) -> Recipe:
        height, width = recipe.target.shape[1:3]
        image = resize(images.read(recipe.settings.image[0]), (width, height))
        return recipe.change(target=np.asarray(image, np.float32)[None] / np.float32(255))

    return change


def _filtered(resampling: Image.Resampling) -> Resize:
    return lambda image, size: image.resize(size, resampling)


def _bilinear(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Four neighbors, whatever the scale: what `torch.nn.functional.interpolate` and `tf.image.resize` do by default."""
    width, height = image.size
    scale = (width / size[0], 0, 0, 0, height / size[1], 0)
    return image.transform(size, Image.Transform.AFFINE, scale, RESAMPLING.BILINEAR)


def _cropped(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The middle, in whole pixels, and then resized."""
    side = min(image.size)
    left, top = ((length - side) // 2 for length in image.size)
    return image.crop((left, top, left + side, top + side)).resize(size, RESAMPLING.BILINEAR)


def _center_cropped(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The shorter side resized, and then the middle of that: torchvision's Resize and CenterCrop."""
    scale = max(size[0] / image.width, size[1] / image.height)
    larger = image.resize((int(scale * image.width), int(scale * image.height)), RESAMPLING.BILINEAR)
    left, top = round((larger.width - size[0]) / 2), round((larger.height - size[1]) / 2)
    return larger.crop((left, top, left + size[0], top + size[1]))


RESIZES: dict[str, Resize] = {
    "The target is resized with nearest neighbors.": _filtered(RESAMPLING.NEAREST),
    "The target is resized with a box filter.": _filtered(RESAMPLING.BOX),
    "The target is resized with a bicubic filter.": _filtered(RESAMPLING.BICUBIC),
    "The target is resized with a Lanczos filter.": _filtered(RESAMPLING.LANCZOS),
    "The target is resized with a Hamming filter.": _filtered(RESAMPLING.HAMMING),
    "The target is resized without antialiasing (bilinear, four neighbors).": _bilinear,
    "The target is cropped to a square before it is resized.": _cropped,
    "The target is resized by its shorter side and then cropped.": _center_cropped,
    "The target is squashed to a square, without a crop.": _filtered(RESAMPLING.BILINEAR),
}
VALUES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "The channels of the target are BGR.": lambda image: image[..., ::-1].copy(),
    "The target is in 0..255.": lambda image: image * np.float32(255),
    "The target is in -1..1.": lambda image: image * np.float32(2) - np.float32(1),
}


def _valued(value: Callable[[np.ndarray], np.ndarray]) -> Callable[[Recipe], Recipe]:
    return lambda recipe: recipe.change(target=value(recipe.target))


MISTAKES = (
    *(Mistake(cause, "target", _resized(resize)) for cause, resize in RESIZES.items()),
    *(Mistake(cause, "target", _valued(value)) for cause, value in VALUES.items()),
)
