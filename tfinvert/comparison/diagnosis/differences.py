"""How two arrays of the same name differ, and what two right ports differ by."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from tfinvert.comparison.diagnosis.bundle import Bundle, kind

# Relative differences that two right ports show in float32.
ROUNDING = {
    "target": 1e-5,
    "start": 1e-6,
    "input": 1e-5,
    "features": 1e-4,
    "target_features": 1e-4,
    "terms": 1e-4,
    "gradient": 1e-3,
    "learning_rates": 1e-5,
    "losses": 1e-4,
    "images": 1e-3,
}
SPREAD = 100.0  # times the spread of our own run from a start that is moved by `MOVED`
MOVED = 1e-7
GROWS = ("losses", "images")  # in which rounding grows with the steps


@dataclasses.dataclass(frozen=True)
class Difference:
    """How one array of the port differs from ours.

    Attributes:
      name: of the array.
      size: ||theirs - ours|| / ||ours||; of losses, learning rates and images the largest over the steps. Infinite where the
        shapes differ.
      tolerance: what two right ports differ by.
      step: the first step that differs, of losses and learning rates.
      note: in words, where the size does not tell: other shapes, NaN.
    """

    name: str
    size: float
    tolerance: float
    note: str = ""
    step: int | None = None

    @property
    def differs(self) -> bool:
        return not self.size <= self.tolerance


def relative(first: np.ndarray, second: np.ndarray) -> float:
    """||first - second|| / ||second||."""
    difference = np.linalg.norm((np.asarray(first, np.float64) - second).ravel())
    return float(difference) / max(float(np.linalg.norm(np.asarray(second, np.float64).ravel())), 1e-30)


def moved(start: np.ndarray) -> np.ndarray:
    """A start in which each value is `MOVED` larger or smaller: what rounding does in the first step."""
    signs = np.sign(np.sin(np.arange(start.size))).reshape(start.shape)
    return (start + MOVED * signs).astype(np.float32)


def spreads(ours: Mapping[str, np.ndarray], others: Mapping[str, np.ndarray]) -> Bundle:
    """How far a run parts from the same run from a moved start, by `spread/` and the name: of losses up to each step."""
    found = Bundle()
    for name in ours:
        if name == "losses":
            sizes = np.abs(others[name] - ours[name]) / np.maximum(np.abs(ours[name]), 1e-30)
            found[f"spread/{name}"] = np.maximum.accumulate(sizes)
        elif kind(name) == "images":
            found[f"spread/{name}"] = np.array(relative(others[name], ours[name]))
    return found


def tolerance(name: str, spread: Mapping[str, np.ndarray]) -> Any:
    """The relative difference of an array that counts as equal, of losses one for each step.

    Args:
      name: the name of the array.
      spread: as `spreads` gives it.
    """
    return np.maximum(SPREAD * spread.get(f"spread/{name}", np.float64(0)), ROUNDING[kind(name)])


def difference(name: str, theirs: np.ndarray, ours: np.ndarray | None, tolerance: Any) -> Difference:
    """How one array differs.

    Args:
      name: its name in a reference.
      theirs: the port's.
      ours: of the run that it is compared with; None where that has none.
      tolerance: what two right ports differ by, for losses a number for each step.
    """
    bound = float(np.max(tolerance))
    if ours is None:
        return Difference(name, np.inf, bound, "this run has no such array")
    if kind(name) in ("losses", "learning_rates"):
        count = min(len(theirs), len(ours)) if theirs.ndim == 1 else 0
        if not count:
            return Difference(
                name, np.inf, bound, f"the port's has the shape {list(theirs.shape)}; expected one number for each step"
            )
        theirs, ours = theirs[:count], ours[:count]
        tolerances = np.broadcast_to(np.ravel(tolerance), (count,)) if np.ndim(tolerance) == 0 else np.ravel(tolerance)[:count]
        sizes = np.abs(theirs - ours) / np.maximum(np.abs(ours), 1e-30)
        sizes[~np.isfinite(sizes)] = np.inf
        worst = int(np.argmax(sizes / tolerances))
        wrong = np.flatnonzero(sizes > tolerances)
        first = int(wrong[0]) if len(wrong) else None
        note = "" if first is None else f"from step {first} on"
        return Difference(name, float(sizes[worst]), float(tolerances[worst]), note, first)
    if theirs.shape != ours.shape:
        return Difference(name, np.inf, bound, f"the port's has the shape {list(theirs.shape)}, ours {list(ours.shape)}")
    if not np.isfinite(theirs).all():
        return Difference(name, np.inf, bound, "the port's has NaN or infinite values")
    if kind(name) == "images":
        theirs, ours = np.clip(theirs, 0, 1), np.clip(ours, 0, 1)
    return Difference(name, relative(theirs, ours), bound)
