"""From a port's numbers to its mistakes: what differs first, and which change of our own run gives the port's numbers."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tfinvert.comparison.diagnosis import last_resorts
from tfinvert.comparison.diagnosis.bundle import Bundle, aligned, kind, order
from tfinvert.comparison.diagnosis.differences import GROWS, ROUNDING, Difference, difference, moved, spreads, tolerance
from tfinvert.comparison.diagnosis.mistakes import CATALOG, Mistake
from tfinvert.comparison.diagnosis.recipe import Recipe
from tfinvert.comparison.diagnosis.simulation import Memory, Simulation
from tfinvert.comparison.diagnosis.trials import ERRORS, Trial, nearest
from tfinvert.system.errors import InputError

MOST_MISTAKES = 3
BETTER = 0.3  # a change must leave at most this part of the difference
SAME = 0.05  # part of the tolerance to which two changes have the same numbers
SCREENED = 12  # updates after which most candidates are told apart
FITTING, PAIRED = 8, 8  # candidates that are looked at further
PLACES = tuple(ROUNDING)
LAST_BEFORE_UPDATES = PLACES.index("terms")


@dataclasses.dataclass(frozen=True)
class Finding:
    """A mistake that was found.

    Attributes:
      cause: what the port does, in a sentence.
      where: the array that differed first.
      before, after: the difference of that array without and with the mistake on our side.
      fits: whether `after` is within the tolerance.
      alternatives: mistakes that give the same numbers, so that the port's cannot tell them from `cause`.
    """

    cause: str
    where: str
    before: float
    after: float
    fits: bool
    alternatives: tuple[str, ...] = ()


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


def diagnose(
    recipe: Recipe, theirs: Mapping[str, np.ndarray], bound: float | None = None, ours: Mapping[str, np.ndarray] | None = None
) -> Diagnosis:
    """Finds what a port does differently.

    Args:
      recipe: our run.
      theirs: the port's arrays, any subset of the names of a reference.
      bound: relative difference of losses that counts as equal; None for what our own run shows when its start is moved by
        1e-7, but at least 1e-4.
      ours: what is known of our run already, by the names of a reference.

    Raises:
      InputError: the port has no array that the run has.
    """
    return _Search(recipe, theirs, bound, ours or {}).run()


class _Search:
    def __init__(self, recipe: Recipe, theirs: Mapping[str, np.ndarray], bound: float | None, known: Mapping[str, np.ndarray]):
        self.memory, self.recipe, self.bound, self.tried = Memory(), recipe, bound, 0
        compared = [name for name in theirs if kind(name) in ROUNDING]
        depth = {name: place for place, name in enumerate(recipe.places)}
        wanted = sorted(compared, key=lambda name: (order(name), depth.get(name.partition("/")[2], 0)))
        updates = max([len(theirs["losses"]) - 1 if "losses" in theirs else 0, *_steps(wanted)], default=0)
        self.updates = min(updates, len(recipe.rates) - 1)
        self.ours = self.compute(recipe, wanted, known)
        self.theirs = {name: aligned(name, theirs[name], self.ours[name].shape) for name in wanted if name in self.ours}
        if not self.theirs:
            raise InputError(f"the port has {', '.join(wanted)}, which this reference does not have")
        self.names = list(self.theirs)
        self.tolerances = self.measure_tolerances(recipe, known)
        self.first = tuple(self.differences())

    def compute(self, recipe: Recipe, names: Sequence[str], known: Mapping[str, np.ndarray] | None = None) -> Bundle:
        """The arrays of a recipe, without computing those that are known."""
        found = {name: known[name] for name in names if known and name in known}
        if missing := [name for name in names if name not in found]:
            self.tried += 1
            found |= Simulation(recipe, self.memory).arrays(missing, self.updates)
        return {name: found[name] for name in names if name in found}

    def measure_tolerances(self, recipe: Recipe, known: Mapping[str, np.ndarray] | None = None) -> dict[str, Any]:
        """For each name the relative difference that counts as equal, for losses one for each step.

        Some mistakes make a run far more sensitive to rounding than the right one is, so that each recipe has its own.
        """
        spread = {name: value for name, value in (known or {}).items() if kind(name) == "spread"}
        growing = [name for name in self.names if kind(name) in GROWS]
        if self.bound is None and any(f"spread/{name}" not in spread for name in growing):
            other = self.compute(recipe.change(start=moved(recipe.start)), growing)
            spread = spreads({name: self.ours[name] for name in growing}, other)
        found = {name: tolerance(name, {} if self.bound is not None else spread) for name in self.names}
        if self.bound is not None:
            found |= dict.fromkeys(growing, self.bound)
        if recipe.rounded:
            found = last_resorts.with_rounding(found, self.ours, self.compute(recipe.change(rounded=""), self.names))
        return found

    def differences(self) -> list[Difference]:
        """Between the port and the recipe that `ours` is of."""
        return [difference(name, self.theirs[name], self.ours.get(name), self.tolerances[name]) for name in self.names]

    def run(self) -> Diagnosis:
        findings: list[Finding] = []
        recipe, now = self.recipe, list(self.first)
        while (left := next((d for d in now if d.differs), None)) is not None and len(findings) < MOST_MISTAKES:
            found = self.find(recipe, left, now, [finding.cause for finding in findings])
            if found is None:
                break
            recipe, finding = found
            findings.append(finding)
            if finding.cause == last_resorts.OTHER_NOISE:
                return Diagnosis(self.first, tuple(findings), None, self.tried)
            self.ours = self.compute(recipe, self.names)
            now = self.differences()
            if recipe.rounded or any(d.differs and kind(d.name) in GROWS for d in now):
                self.tolerances = self.measure_tolerances(recipe)
                now = self.differences()
        return Diagnosis(self.first, tuple(findings), left, self.tried)

    def find(self, recipe: Recipe, left: Difference, now: list[Difference], found: list[str]) -> tuple[Recipe, Finding] | None:
        """The mistake that explains the first difference, and the recipe with it."""
        adopted = self.adopt(recipe, left)
        explained = None if adopted is not None and left.name == "start" else self.search(recipe, left, now, found)
        if explained is None and adopted is not None:
            cause = f"The port has another {left.name}; what follows is compared from there."
            return adopted, Finding(cause, left.name, left.size, 0.0, True)
        return explained

    def adopt(self, recipe: Recipe, left: Difference) -> Recipe | None:
        """The recipe with the port's own start or target, which the rest can be compared from."""
        value = self.theirs[left.name]
        if left.name not in ("start", "target") or value.shape != recipe.start.shape or not np.isfinite(value).all():
            return None
        return recipe.change(**{left.name: value.astype(np.float32)})

    def search(
        self, recipe: Recipe, left: Difference, now: list[Difference], found: list[str]
    ) -> tuple[Recipe, Finding] | None:
        """The mistake of the catalog that explains the first difference best, else what explains it without one."""
        stages = self.stages(recipe, left, now)
        mistakes = [mistake for mistake in CATALOG if mistake.stage in stages and mistake.cause not in found]
        # The first loss tells of all that comes before the updates; a mistake in the updates shows in the first of them.
        is_lone = left.name == "losses" and left.step == 0 and not any(kind(name) == "terms" for name in self.names)
        names, updates = [left.name], 0 if is_lone else self.screened(left)
        before = self.trial((), recipe, names, updates).completed()
        changes = [((mistake,), changed) for mistake, changed in _changes(recipe, mistakes)]
        trials = list(self.trials(changes, names, updates))
        better = BETTER * before.ratio
        close = nearest(trials, FITTING, lambda first: min(better, 1.0) if first and first[0].ratio <= 1 else better)
        if close and close[0].ratio <= 1:
            return self.best(close, left)
        rounded = last_resorts.rounded(recipe, lambda changed: self.trial((), changed, names, self.screened(left)).completed())
        if rounded is not None:
            changed, cause, size = rounded
            return changed, Finding(cause, left.name, left.size, size, True)
        if is_lone and last_resorts.has_other_noise(recipe, self.theirs["losses"], self.ours["losses"], self.memory):
            return recipe, Finding(last_resorts.OTHER_NOISE, left.name, left.size, left.size, True)
        # One number is near to many others, so that only pairs which give the next ones as well count there.
        pair = self.pair(left, trials if is_lone else close, is_lone)
        if pair is not None:
            return pair
        if not close or is_lone:
            return None
        return close[0].recipe, _finding(close[0], left, close[0].size, fits=False)

    def stages(self, recipe: Recipe, left: Difference, now: list[Difference]) -> list[str]:
        """The stages of the mistakes that the first difference can come from."""
        agreeing = [PLACES.index(kind(d.name)) for d in now if not d.differs and order(d.name) < order(left.name)]
        lowest, highest = max(agreeing, default=-1), PLACES.index(_as_stage(left.name))
        if left.name == "losses" and "terms" not in {kind(d.name) for d in now}:
            # Losses before any update tell of everything up to the terms. Where the first is right, a mistake is in the steps.
            if left.step == 0:
                highest = LAST_BEFORE_UPDATES
            else:
                lowest = max(lowest, LAST_BEFORE_UPDATES)
        return [stage for place, stage in enumerate(PLACES) if lowest < place <= highest]

    def trial(self, causes: tuple[Mistake, ...], recipe: Recipe, names: Iterable[str], updates: int) -> Trial:
        self.tried += 1
        theirs = {name: self.theirs[name] for name in names}
        return Trial(causes, recipe, self.memory, theirs, self.tolerances, updates)

    def trials(
        self, changes: Iterable[tuple[tuple[Mistake, ...], Recipe]], names: Sequence[str], updates: int
    ) -> Iterator[Trial]:
        """The changes that can be computed."""
        for causes, changed in changes:
            with contextlib.suppress(*ERRORS):
                yield self.trial(causes, changed, names, updates)

    def screened(self, left: Difference) -> int:
        """The number of updates after which candidates are told apart: some more than show the difference."""
        return min(self.updates, max(SCREENED, (left.step or 0) + SCREENED // 2, *_steps([left.name])))

    def best(self, close: list[Trial], left: Difference) -> tuple[Recipe, Finding]:
        """Of changes that give the first difference the one that gives all else best, and those that give the same."""
        ranked = [close[0]]
        if len(close) > 1:
            # The first updates alone, in which rounding has not grown yet.
            names = [name for name in self.names if kind(name) != "images"]
            again = self.trials([(trial.causes, trial.recipe) for trial in close], names, self.screened(left))
            ranked = nearest(again, FITTING, lambda first: 1.5 * first[0].ratio + SAME if first else np.inf) or ranked
        chosen = ranked[0]
        others = [_sentence(trial) for trial in ranked[1:] if trial.equals(chosen, SAME)]
        size = next(trial.size for trial in close if trial.recipe is chosen.recipe)
        return chosen.recipe, _finding(chosen, left, size, fits=True, alternatives=tuple(others))

    def pair(self, left: Difference, firsts: list[Trial], is_lone: bool) -> tuple[Recipe, Finding] | None:
        """Two mistakes that explain the first difference together, where none does alone."""
        names = [name for name in self.names if kind(name) != "images"]
        updates = 0 if PLACES.index(_as_stage(left.name)) <= LAST_BEFORE_UPDATES or is_lone else self.screened(left)
        for first in firsts[: None if is_lone else PAIRED]:
            (mistake,) = first.causes
            place = CATALOG.index(mistake)
            earlier = [
                other for other in CATALOG if other is not mistake and PLACES.index(other.stage) <= PLACES.index(mistake.stage)
            ]
            if is_lone:
                earlier = [other for other in earlier if CATALOG.index(other) < place]
            changes = [((mistake, other), twice) for other, twice in _changes(first.recipe, earlier)]
            fitting = nearest(self.trials(changes, [left.name], updates), FITTING, lambda found: 1.0)
            if fitting and is_lone:
                again = self.trials([(trial.causes, trial.recipe) for trial in fitting], names, self.screened(left))
                fitting = nearest(again, 1, lambda found: 1.0)
            if fitting:
                return fitting[0].recipe, _finding(fitting[0], left, fitting[0].size, fits=True)
        return None


def _finding(trial: Trial, left: Difference, size: float, *, fits: bool, alternatives: tuple[str, ...] = ()) -> Finding:
    return Finding(_sentence(trial), left.name, left.size, size, fits, alternatives)


def _sentence(trial: Trial) -> str:
    return " ".join(mistake.cause for mistake in trial.causes)


def _changes(recipe: Recipe, mistakes: list[Mistake]) -> list[tuple[Mistake, Recipe]]:
    """The recipes with each of the mistakes, where it changes something."""
    made: list[tuple[Mistake, Recipe]] = []
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
