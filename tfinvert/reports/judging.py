"""Which differences of PSNR say something: those that another seed would not make, between images that hold something."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tfinvert.reports.entries import Run
from tfinvert.runs import reading

# dB by which the PSNRs of two runs may differ where only their seed or their rounding differs. BUILD.md, "Beside PyTorch": runs
# of question 1 that start 1e-6 apart end 0.8 dB apart.
SPREAD = 1.0
LOSS_SPREAD = 0.25  # likewise, as a fraction of the last feature loss: 22 % there
FEWEST_RESTARTS = 3  # whose PSNRs show a spread


def spread(run: Run) -> float:
    """How far apart two runs may be, in dB, that differ in nothing but their seed: a 95 % interval where restarts show it."""
    values = [restart["psnr"] for restart in reading.restarts(run.info.get("result", {}))]
    if len(values) < FEWEST_RESTARTS:
        return SPREAD
    from scipy.stats import t  # imports slowly, and most runs have no restarts

    return float(t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) * np.sqrt(2))


def floor(run: Run) -> float:
    """The highest PSNR of an image that holds nothing of the features: what lies below it says nothing about the image."""
    return max(run.references.values(), default=-np.inf)


def holds_nothing(run: Run) -> bool:
    """Whether an image that holds nothing of the features is as near to the target."""
    return run.result["psnr"] <= floor(run)


def level(run: Run) -> float:
    """The PSNR, or the floor where that is higher."""
    return max(run.result["psnr"], floor(run))


def are_comparable(first: Run, second: Run) -> bool:
    """Whether both inverted the same image: the PSNRs of different photographs say nothing about each other."""
    return first.target == second.target


def differ(first: Run, second: Run) -> bool:
    """Whether the PSNRs of two runs of the same image differ by more than another seed would, above the floor."""
    return are_comparable(first, second) and abs(level(first) - level(second)) > max(spread(first), spread(second))


def differing_loss(lower: float, higher: float) -> bool:
    """Whether the lower of two feature losses is lower by more than another seed would make it."""
    return lower < (1 - LOSS_SPREAD) * higher


def by_target(runs: Sequence[Run]) -> dict[tuple[str, str], list[Run]]:
    """The runs of each image."""
    groups: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        groups.setdefault(run.target, []).append(run)
    return groups
