"""Mistakes in the loss."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from tfinvert.comparison.diagnosis.mistakes.mistake import Mistake
from tfinvert.comparison.diagnosis.recipe import Recipe
from tfinvert.networks.onnx import shapes

Change = Callable[[Recipe], Recipe]


def _settings(**changes: Any) -> Change:
    return lambda recipe: recipe.change(**changes)


def _times(factor: Callable[[Recipe], float]) -> Change:
    """The feature error is multiplied."""
    return lambda recipe: recipe.change(feature_factor=factor(recipe))


def _values(recipe: Recipe) -> float:
    """The number of values of the only layer; 1 where there are several, which have different numbers."""
    if len(recipe.layers) != 1:
        return 1.0
    (tensor,) = recipe.layers.values()
    return float(math.prod(shapes(recipe.graph)[tensor][1:]))


def _smoothed(**changes: Any) -> Change:
    """Total variation is another one, where there is some."""
    return lambda recipe: recipe.change(**changes) if recipe.settings.tv_weight else recipe


def _per_pixel(recipe: Recipe) -> Recipe:
    return _smoothed(tv_factor=1 / math.prod(recipe.start.shape[1:3]))(recipe)


CHANGES: dict[str, Change] = {
    "The feature error is divided by the mean square of the target.": _settings(feature_loss="normalized"),
    "The feature error is not divided by the mean square of the target.": _settings(feature_loss="mse"),
    "The feature error is divided by the mean square of the image's own features, with gradients through it.": (
        lambda recipe: recipe.change(own_scale=True, feature_loss="normalized")
    ),
    "The feature error is a sum, not a mean.": _times(_values),
    "The feature error is half the sum of squares, as Gatys has it.": _times(lambda recipe: _values(recipe) / 2),
    "The feature error is half the mean.": _times(lambda recipe: 0.5),
    "The errors of the layers are added, not averaged.": _times(lambda recipe: float(len(recipe.layers))),
    "The weights of the layers are missing.": _settings(layer_weights=()),
    "Total variation has absolute differences.": _smoothed(tv_kind="l1"),
    "Total variation has squared differences.": _smoothed(tv_kind="l2"),
    "Total variation is a mean, not a sum.": _smoothed(tv_reduction="mean"),
    "Total variation is a sum, not a mean.": _smoothed(tv_reduction="sum"),
    "Total variation is missing.": _smoothed(tv_weight=0.0),
    "Total variation is divided by the number of pixels.": _per_pixel,
    "Total variation is taken of an image in 0..255.": _smoothed(tv_factor=255.0),
    "Total variation is counted half.": _smoothed(tv_factor=0.5),
}
MISTAKES = tuple(Mistake(cause, "terms", change) for cause, change in CHANGES.items())
