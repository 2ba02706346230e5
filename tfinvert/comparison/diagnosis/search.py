"""From a port's numbers to its mistakes: what differs first, and which change of our own run gives the port's numbers."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from tfinvert.comparison.diagnosis.bundle import Bundle, aligned, kind, order
from tfinvert.comparison.diagnosis.differences import ROUNDING, Difference, difference, relative
from tfinvert.comparison.diagnosis.mistakes import CATALOG, Mistake
from tfinvert.comparison.diagnosis.recipe import Recipe, Simulation
from tfinvert.system.errors import InputError

SPREAD = 100.0  # times the spread of our own run from a start that is moved by `MOVED`
MOVED = 1e-7
MOST_MISTAKES = 3
BETTER = 0.3  # a change must leave at most this part of the difference
SCREENED = 12  # updates after which most candidates are already told apart
FITTING, PAIRED = 6, 8  # candidates that are looked at further
PLACES = tuple(ROUNDING)
Change = tuple[Mistake, Recipe]
Scored = tuple[float, float, Mistake, Recipe]


@dataclasses.dataclass(frozen=True)
class Finding:
    """A mistake that was found.

    Attributes:
      cause: what the port does, in a sentence.
      where: the array that differed first.
      before, after: the difference of that array without and with the mistake on our side.
      fits: whether `after` is within the tolerance.
    """

    cause: str
    where: str
    before: float
    after: float
    fits: bool


@dataclasses.dataclass(frozen=True)
class Diagnosis:
    """What the search says.

    Attributes:
      differences: of our run as it is, in the order of a run.
      findings: the mistakes, in the order in which they were found.
      left: the first array that still differs with all of them, or None.
      tried: how many changes were computed.
    """

    differences: tuple[Difference, ...]
    findings: tuple[Finding, ...]
    left: Difference | None
    tried: int

    @property
    def agrees(self) -> bool:
        """Whether nothing differs."""
        return not any(difference.differs for difference in self.differences)


def diagnose(recipe: Recipe, theirs: Mapping[str, np.ndarray], tolerance: float | None = None) -> Diagnosis:
    """Finds what a port does differently.

    Args:
      recipe: our run.
      theirs: the port's arrays, any subset of the names of a reference.
      tolerance: relative difference of losses that counts as equal; None for what our own run shows when its start is moved by
        1e-7, but at least 1e-4.

    Raises:
      InputError: the port has no array that the run has.
    """
    return _Search(recipe, theirs, tolerance).run()


class _Search:
    def __init__(self, recipe: Recipe, theirs: Mapping[str, np.ndarray], tolerance: float | None):
        self.models: dict[Any, Any] = {}
        depth = list(recipe.places)
        wanted = sorted(theirs, key=lambda name: (order(name), depth.index(n) if (n := name.partition("/")[2]) in depth else 0))
        updates = max([len(theirs["losses"]) - 1 if "losses" in theirs else 0, *_steps(wanted)], default=0)
        self.recipe, self.tried, self.updates = recipe, 0, min(updates, len(recipe.rates) - 1)
        ours = self.compute(recipe, wanted)
        self.theirs = {name: aligned(name, theirs[name], ours[name].shape) for name in wanted if name in ours}
        if not self.theirs:
            raise InputError(f"the port has {', '.join(wanted)}, which this reference does not have")
        self.names = list(self.theirs)
        self.tolerance = tolerance
        self.tolerances = self.measure_tolerances(recipe, ours)
        self.first = tuple(self.differences(ours))

    def compute(self, recipe: Recipe, names: list[str], updates: int | None = None) -> Bundle:
        self.tried += 1
        return Simulation(recipe, self.models).arrays(names, self.updates if updates is None else updates)

    def measure_tolerances(self, recipe: Recipe, ours: Bundle) -> dict[str, Any]:
        """For each name the relative difference that counts as equal, for losses one for each step.

        Some mistakes make a run far more sensitive to rounding than the right one is, so that each recipe has its own.
        """
        found: dict[str, Any] = {name: ROUNDING[kind(name)] for name in self.names}
        if "losses" not in self.names and not any(kind(name) == "images" for name in self.names):
            return found
        if self.tolerance is not None:
            return found | {name: self.tolerance for name in self.names if kind(name) in ("losses", "images")}
        signs = np.sign(np.sin(np.arange(recipe.start.size))).reshape(recipe.start.shape)
        other = self.compute(recipe.change(start=(recipe.start + MOVED * signs).astype(np.float32)), self.names)
        for name in self.names:
            if name == "losses":
                spread = np.abs(other[name] - ours[name]) / np.maximum(np.abs(ours[name]), 1e-30)
                found[name] = np.maximum(SPREAD * np.maximum.accumulate(spread), found[name])
            elif kind(name) == "images":
                found[name] = max(SPREAD * relative(other[name], ours[name]), found[name])
        return found

    def differences(self, ours: Bundle, names: list[str] | None = None) -> list[Difference]:
        return [difference(name, self.theirs[name], ours.get(name), self.tolerances[name]) for name in names or self.names]

    def run(self) -> Diagnosis:
        findings: list[Finding] = []
        recipe, now = self.recipe, list(self.first)
        while (left := next((d for d in now if d.differs), None)) is not None and len(findings) < MOST_MISTAKES:
            adopted = self.adopt(recipe, left)
            found = (
                None
                if adopted is not None and left.name == "start"
                else self.search(recipe, left, now, [finding.cause for finding in findings])
            )
            if found is None and adopted is not None:
                cause = f"The port has another {left.name}; what follows is compared from there."
                found = (adopted, Finding(cause, left.name, left.size, 0.0, True))
            if found is None:
                break
            recipe, finding = found
            findings.append(finding)
            ours = self.compute(recipe, self.names)
            self.tolerances = self.measure_tolerances(recipe, ours)
            now = self.differences(ours)
        return Diagnosis(self.first, tuple(findings), left if left is not None and left.differs else None, self.tried)

    def adopt(self, recipe: Recipe, left: Difference) -> Recipe | None:
        """The recipe with the port's own start or target, which the rest can be compared from."""
        value = self.theirs[left.name]
        if left.name not in ("start", "target") or value.shape != recipe.start.shape or not np.isfinite(value).all():
            return None
        return recipe.change(**{left.name: value.astype(np.float32)})

    def search(
        self, recipe: Recipe, left: Difference, now: list[Difference], found: list[str]
    ) -> tuple[Recipe, Finding] | None:
        """The mistake that explains the first difference best, and the recipe with it."""
        agreeing = [PLACES.index(kind(d.name)) for d in now if not d.differs and order(d.name) < order(left.name)]
        lowest = max(agreeing, default=-1)
        # Losses before any update tell of everything up to the terms. Where the first is right, a mistake is in the steps.
        if left.name == "losses" and "terms" not in {kind(d.name) for d in now}:
            start_agrees = self.first_loss_agrees(recipe)
            lowest = max(lowest, PLACES.index("terms")) if start_agrees else lowest
            stages = [
                stage
                for stage in PLACES
                if PLACES.index(stage) > lowest and (start_agrees or PLACES.index(stage) <= PLACES.index("terms"))
            ]
        else:
            stages = [stage for stage in PLACES if lowest < PLACES.index(stage) <= PLACES.index(_as_stage(left.name))]
        scored = self.score(left, _changes(recipe, [m for m in CATALOG if m.stage in stages and m.cause not in found]))
        scored = [entry for entry in scored if entry[1] <= BETTER * left.size]
        if not scored:
            return None
        fitting = [entry for entry in scored if entry[0] <= 1][:FITTING]
        if fitting:
            _, size, mistake, changed = min(fitting, key=lambda entry: self.total(left, entry[3]))
            return changed, Finding(mistake.cause, left.name, left.size, size, True)
        pair = self.pair(left, scored)
        if pair is not None:
            return pair
        _, size, mistake, changed = scored[0]
        return changed, Finding(mistake.cause, left.name, left.size, size, False)

    def first_loss_agrees(self, recipe: Recipe) -> bool:
        ours = self.compute(recipe, ["losses"], 0)["losses"][0]
        return abs(self.theirs["losses"][0] - ours) <= float(np.ravel(self.tolerances["losses"])[0]) * abs(ours)

    def score(self, left: Difference, changes: list[Change]) -> list[Scored]:
        """(difference over tolerance, difference, mistake, recipe) of each change that can be computed, the smallest first."""
        scored: list[Scored] = []
        for mistake, changed in changes:
            # The first loss tells of all that comes before the updates; a mistake in the updates shows in the first of them.
            updates = 0 if PLACES.index(mistake.stage) <= PLACES.index("terms") else self.screened(left)
            try:
                ours = self.compute(changed, [left.name], updates).get(left.name)
            except (InputError, ValueError, ArithmeticError):  # such as a kernel that is larger than what it is applied to
                continue
            found = difference(left.name, self.theirs[left.name], ours, self.tolerances[left.name])
            if np.isfinite(found.size):
                scored.append((found.size / found.tolerance, found.size, mistake, changed))
        return sorted(scored, key=lambda entry: entry[:2])

    def screened(self, left: Difference) -> int:
        """The number of updates after which candidates are told apart: some more than show the difference."""
        return min(self.updates, max(SCREENED, (left.step or 0) + SCREENED // 2))

    def pair(self, left: Difference, scored: list[Scored]) -> tuple[Recipe, Finding] | None:
        """Two mistakes that explain the first difference together, where none does alone."""
        for _, _, first, once in scored[:PAIRED]:
            earlier = PLACES[: PLACES.index(first.stage) + 1]
            others = _changes(once, [m for m in CATALOG if m.stage in earlier and m is not first])
            for ratio, size, second, twice in self.score(left, others)[:1]:
                if ratio <= 1:
                    return twice, Finding(f"{first.cause} {second.cause}", left.name, left.size, size, True)
        return None

    def total(self, left: Difference, changed: Recipe) -> float:
        """How far the port's arrays are from a change's, with the first updates alone, in which rounding has not grown yet."""
        names = [name for name in self.names if kind(name) != "images"]
        ours = self.compute(changed, names, self.screened(left))
        differences = self.differences(ours, names)
        return sum(min(d.size / d.tolerance, 1e6) for d in differences)


def _changes(recipe: Recipe, mistakes: list[Mistake]) -> list[Change]:
    """The recipes with each of the mistakes, where it changes something."""
    made: list[Change] = []
    for mistake in mistakes:
        with contextlib.suppress(InputError):  # such as an image file that is gone
            if (changed := mistake.change(recipe)) is not recipe:
                made.append((mistake, changed))
    return made


def _as_stage(name: str) -> str:
    """The stage of mistakes that an array shows at the latest."""
    return {"target_features": "features", "gradient": "terms", "images": "losses"}.get(kind(name), kind(name))


def _steps(names: list[str]) -> list[int]:
    return [int(step) for name in names if kind(name) == "images" and (step := name.partition("/")[2]).isdecimal()]
