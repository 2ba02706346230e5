"""Changes of our run that are compared with a port: those that come nearest first, none computed further than that takes."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from tfinvert.comparison.diagnosis.bundle import Bundle
from tfinvert.comparison.diagnosis.differences import difference
from tfinvert.comparison.diagnosis.mistakes import Mistake
from tfinvert.comparison.diagnosis.recipe import Recipe
from tfinvert.comparison.diagnosis.simulation import Memory, Simulation
from tfinvert.system.errors import InputError

LARGEST = 1e6  # times the tolerance; more counts as much
ERRORS = (InputError, ValueError, ArithmeticError)  # such as a kernel that is larger than what it is applied to


class Trial:
    """A change of our run beside a port.

    Attributes:
      causes: the mistakes that it is made of, as sentences.
      recipe: our run with them.
      ratio: the sum over the arrays of the difference over its tolerance, of losses the largest over the steps that are
        computed. It never falls when another step is computed.
      size: the difference of the array that was looked at last; of losses where the ratio is largest.
    """

    def __init__(
        self,
        causes: tuple[Mistake, ...],
        recipe: Recipe,
        memory: Memory,
        theirs: Mapping[str, np.ndarray],
        tolerances: Mapping[str, Any],
        updates: int,
    ):
        """Computes all of `theirs` but its losses, and the first of these.

        Args:
          theirs: the arrays of the port that are looked at.
          tolerances: for each of them what right ports differ by.
          updates: how many are looked at in all.
        """
        self.causes, self.recipe = causes, recipe
        self.ratio = self.size = 0.0
        self._theirs, self._tolerances = theirs, tolerances
        simulation = Simulation(recipe, memory)
        others = [name for name in theirs if name != "losses"]
        self.arrays: Bundle = simulation.arrays(others, updates)
        for name in others:
            found = difference(name, theirs[name], self.arrays.get(name), tolerances[name])
            self.size = found.size
            self.ratio += min(found.size / found.tolerance, LARGEST) if np.isfinite(found.size) else LARGEST
        self._base, self._run, self._losses = self.ratio, simulation.run(), list[float]()
        self._count = min(updates + 1, len(theirs["losses"])) if "losses" in theirs else 0
        if self._count:
            self.go_on()

    @property
    def is_whole(self) -> bool:
        """Whether all that is looked at is computed."""
        return len(self._losses) >= self._count

    def go_on(self) -> None:
        """Computes the next loss."""
        loss, step = next(self._run)[0], len(self._losses)
        self._losses.append(loss)
        size = abs(float(self._theirs["losses"][step]) - loss) / max(abs(loss), 1e-30)
        size = size if np.isfinite(size) else np.inf
        tolerances = np.ravel(self._tolerances["losses"])
        ratio = self._base + min(size / float(tolerances[min(step, len(tolerances) - 1)]), LARGEST)
        if ratio > self.ratio or step == 0:
            self.ratio, self.size = ratio, size

    def completed(self) -> Trial:
        """Itself, with all that is looked at."""
        while not self.is_whole:
            self.go_on()
        return self

    def distance(self, other: Trial) -> float:
        """The largest difference between the numbers of two whole trials."""
        mine, theirs = self._numbers(), other._numbers()
        return max(difference(name, mine[name], theirs.get(name), 1.0).size for name in mine)

    def equals(self, other: Trial, part: float) -> bool:
        """Whether two whole trials have the same numbers, to a part of the tolerances."""
        mine, theirs = self._numbers(), other._numbers()
        sizes = [difference(name, mine[name], theirs.get(name), self._tolerances[name]) for name in mine]
        return all(found.size <= part * found.tolerance for found in sizes)

    def _numbers(self) -> Bundle:
        return {**self.arrays, **({"losses": np.array(self._losses)} if self._losses else {})}


def nearest(trials: Iterable[Trial], most: int, limit: Callable[[list[Trial]], float]) -> list[Trial]:
    """The trials with the smallest ratios, in their order; each trial is computed only as far as its place takes.

    A trial that is put off has a ratio that can only grow, so that these are those that computing everything would give.

    Args:
      trials: any.
      most: how many are returned at most.
      limit: from those that are found so far to the largest ratio that the next may have.
    """
    found: list[Trial] = []
    waiting = [(trial.ratio, number, trial) for number, trial in enumerate(trials)]
    heapq.heapify(waiting)
    while waiting and len(found) < most:
        ratio, number, trial = heapq.heappop(waiting)
        if ratio > limit(found):
            break
        if trial.is_whole:
            found.append(trial)
        else:
            trial.go_on()
            heapq.heappush(waiting, (trial.ratio, number, trial))
    return found
