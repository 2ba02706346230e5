"""Mistakes between the image and the network."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tfinvert.comparison.diagnosis.mistakes.mistake import Mistake
from tfinvert.comparison.diagnosis.recipe import Recipe
from tfinvert.images.files import COLOR_DEVIATION, MEAN_COLOR
from tfinvert.networks.preprocessing import Preprocessing

RGB = (0, 1, 2)
ONES, ZEROS = (1.0,) * 3, (0.0,) * 3
Change = Callable[[Recipe], Recipe]


def _prepared(scale: Sequence[float], shift: Sequence[float]) -> Change:
    """The network's input is image scale + shift, in RGB."""
    return lambda recipe: recipe.change(preprocessing=Preprocessing(RGB, tuple(scale), tuple(shift)))  # type: ignore[arg-type]


def _standardized(mean: Sequence[float], deviation: Sequence[float]) -> Change:
    """The network's input is (image - mean) / deviation."""
    return _prepared([1 / d for d in deviation], [-m / d for m, d in zip(mean, deviation, strict=True)])


def _ranged(factor: float, offset: float) -> Change:
    """The image in another range goes through the preprocessing of 0..1."""

    def change(recipe: Recipe) -> Recipe:
        right = recipe.preprocessing
        scale = tuple(factor * value for value in right.scale)
        shift = tuple(s + offset * value for s, value in zip(right.shift, right.scale, strict=True))
        return recipe.change(preprocessing=Preprocessing(right.channels, scale, shift))  # type: ignore[arg-type]

    return change


def _reversed(recipe: Recipe) -> Recipe:
    right = recipe.preprocessing
    return recipe.change(preprocessing=Preprocessing(right.channels[::-1], right.scale, right.shift))


def _arranged(key: str) -> Change:
    return lambda recipe: recipe.change(arrange=key)


CHANGES: dict[str, Change] = {
    "The network sees BGR for RGB.": _reversed,
    "The image is in 0..255 where the mean and deviation are those of 0..1.": _ranged(255, 0),
    "The image is in -1..1 where the mean and deviation are those of 0..1.": _ranged(2, -1),
    "Neither mean nor deviation are applied: the network sees 0..1.": _prepared(ONES, ZEROS),
    "Neither mean nor deviation are applied: the network sees 0..255.": _prepared((255.0,) * 3, ZEROS),
    "Neither mean nor deviation are applied: the network sees -1..1.": _prepared((2.0,) * 3, (-1.0,) * 3),
    "The image is not divided by the standard deviation.": _standardized(MEAN_COLOR, ONES),
    "The mean is not subtracted.": _standardized(ZEROS, COLOR_DEVIATION),
    "The mean is added instead of subtracted.": _standardized([-m for m in MEAN_COLOR], COLOR_DEVIATION),
    "Mean and standard deviation are swapped.": _standardized(COLOR_DEVIATION, MEAN_COLOR),
    "Mean and deviation are in the order BGR.": _standardized(MEAN_COLOR[::-1], COLOR_DEVIATION[::-1]),
    "The image is multiplied by the standard deviation instead of divided.": _standardized(
        MEAN_COLOR, [1 / d for d in COLOR_DEVIATION]
    ),
    "The input is laid out as [channels, height, width] and read as [height, width, channels].": _arranged("nchw_as_nhwc"),
    "The input is laid out as [height, width, channels] and read as [channels, height, width].": _arranged("nhwc_as_nchw"),
    "Rows and columns of the image are swapped.": _arranged("transposed"),
    "The image is upside down.": _arranged("flipped"),
}
MISTAKES = tuple(Mistake(cause, "input", change) for cause, change in CHANGES.items())
