"""How long many runs will still take, from the speeds that were measured so far: layers differ a hundredfold in their time."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

Work = tuple[Hashable, float]  # what is run, such as a network and its layers; and its number of steps


class TimeLeft:
    """Seconds per step of each kind of run, as they are measured.

    Example:
      >>> left = TimeLeft()
      >>> left.measure("conv1_1", steps=100, seconds=10)
      >>> left.words([("conv1_1", 300), ("pool5", 200)])
      'about 50 s left'
      >>> left.measure("pool5", steps=10, seconds=20)
      >>> left.words([("conv1_1", 300), ("pool5", 200)])
      'about 7 min left'
    """

    def __init__(self) -> None:
        self._seconds: dict[Hashable, float] = {}

    def measure(self, kind: Hashable, steps: float, seconds: float) -> None:
        """Takes a measurement; a later one of the same kind replaces it."""
        if steps > 0 and seconds > 0:
            self._seconds[kind] = seconds / steps

    def words(self, left: Sequence[Work]) -> str:
        """How long work takes. Kinds that were not measured count as the mean of the others; empty without measurements."""
        if not self._seconds:
            return ""
        mean = sum(self._seconds.values()) / len(self._seconds)
        return f"about {duration(sum(steps * self._seconds.get(kind, mean) for kind, steps in left))} left"


def duration(seconds: float) -> str:
    """A time in words: "50 s", "7 min", "1.5 h"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"


def speed(result: Mapping[str, object]) -> tuple[float, float]:
    """Steps and seconds of a finished run, from the result of its run.json; zeros where they are missing."""
    rate = result.get("steps_per_second")
    return (rate, 1.0) if isinstance(rate, float) and rate > 0 else (0.0, 0.0)
