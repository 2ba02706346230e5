"""Starts without noise, which losses alone tell. Where a port gives its start, that is compared instead."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from tfinvert.comparison.diagnosis.mistakes.mistake import Mistake
from tfinvert.comparison.diagnosis.recipe import Recipe
from tfinvert.images.files import MEAN_COLOR

COLORS: dict[str, Sequence[float]] = {
    "an even gray of 0.5": (0.5,) * 3,
    "black": (0.0,) * 3,
    "white": (1.0,) * 3,
    "the mean color everywhere": MEAN_COLOR,
}


def _even(color: Sequence[float]) -> Callable[[Recipe], Recipe]:
    def change(recipe: Recipe) -> Recipe:
        start = np.broadcast_to(np.asarray(color, np.float32), recipe.start.shape).copy()
        return recipe if np.array_equal(start, recipe.start) else recipe.change(start=start)

    return change


MISTAKES = tuple(Mistake(f"The port has another start: {words}.", "start", _even(color)) for words, color in COLORS.items())
