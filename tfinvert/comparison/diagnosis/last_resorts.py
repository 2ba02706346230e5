"""What explains a port's numbers where no mistake of the catalog gives them: another number type, and another noise."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tfinvert import images
from tfinvert.comparison.diagnosis.differences import difference
from tfinvert.comparison.diagnosis.mistakes.networks import ROUNDED, rounding
from tfinvert.comparison.diagnosis.recipe import Recipe
from tfinvert.comparison.diagnosis.simulation import Memory, Simulation
from tfinvert.comparison.diagnosis.trials import Trial
from tfinvert.images.starts import STARTS

LIKE = 4.0  # a difference is like that of rounding if it is at most so many times as large, or as small
ROUNDINGS = 4.0  # times the effect of a number type: two programs that round at other places differ by about once
OTHER_NOISE = (
    "The port starts from other noise: its losses are among those that our run has with other seeds. Two mistakes at once "
    "could look like that, too; more of its arrays would tell."
)
SEEDS, UPDATES = 6, 6  # that are compared for that


def rounded(recipe: Recipe, trial: Callable[[Recipe], Trial]) -> tuple[Recipe, str, float] | None:
    """The recipe in a smaller number type, the sentence that says so, and what it differs by.

    No two programs round at the same places. The port is taken to compute in the type whose effect on our own run is most like
    the port's difference from it, where that is like one of them.

    Args:
      recipe: our run.
      trial: a whole trial of a recipe.
    """
    if recipe.rounded:
        return None
    before, found = trial(recipe), []
    for dtype in ROUNDED:
        changed = recipe.change(rounded=dtype)
        after = trial(changed)
        effect = after.distance(before)
        if effect / LIKE <= before.size <= LIKE * effect and after.size <= LIKE * effect:
            found.append((abs(math.log(before.size / effect)), changed, rounding(dtype), after.size))
    return min(found, key=lambda entry: entry[0])[1:] if found else None


def with_rounding(
    tolerances: Mapping[str, Any], ours: Mapping[str, np.ndarray], exact: Mapping[str, np.ndarray]
) -> dict[str, Any]:
    """Tolerances of a run in a smaller number type: no less than a few times what the type does to each array."""
    found = dict(tolerances)
    for name, array in exact.items():
        effect = difference(name, ours[name], array, 1.0).size
        found[name] = np.maximum(tolerances[name], ROUNDINGS * effect)
    return found


def has_other_noise(recipe: Recipe, theirs: np.ndarray, ours: np.ndarray, memory: Memory) -> bool:
    """Whether a port's first losses, and how fast they fall, are as of our run from other noise, or as near to these as they
    are to each other.
    """
    settings, size = recipe.settings, recipe.start.shape[1:3]
    if settings.init not in STARTS:
        return False
    count = min(UPDATES + 1, len(theirs), len(ours))
    runs = [np.asarray(ours[:count])]
    for seed in range(settings.seed + 1, settings.seed + SEEDS):
        start = images.initial_image(settings.init, (int(size[0]), int(size[1])), seed, settings.resize)
        steps = itertools.islice(Simulation(recipe.change(start=start), memory).run(), count)
        runs.append(np.array([loss for loss, _ in steps]))
    losses, own = np.array(runs), np.asarray(theirs[:count])
    return _is_among(own, losses) and _is_among(own / max(own[0], 1e-30), losses / losses[:, :1])


def _is_among(one: np.ndarray, others: np.ndarray) -> bool:
    """Whether each value lies among those of the others [n, values], or as near to them as these are to each other."""
    lowest, highest = others.min(axis=0), others.max(axis=0)
    around = highest - lowest
    return bool(np.all((one >= lowest - around) & (one <= highest + around)))
