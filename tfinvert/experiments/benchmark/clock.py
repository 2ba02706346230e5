"""The clock of a method: how long its steps take, and what its image is at certain times."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np


class TimeUpError(Exception):
    """The time of a method is over. It ends a method from within its step, wherever its loop is."""


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """Where a method stands.

    Attributes:
      step: number of steps so far.
      seconds: processor seconds of these steps, of one image.
      wall_seconds: the same by the clock on the wall.
      images: [n, height, width, 3], not clipped.
    """

    step: int
    seconds: float
    wall_seconds: float
    images: np.ndarray


class Clock:
    """Measures a method that calls `step` after each of its steps.

    What is done within `step`, such as making an image of the method's variables, is not counted. Neither is what comes before
    the end of the first step: loading, tracing and compiling. The first step counts as much as the second.

    Args:
      times: the processor seconds after which a snapshot is taken, at the first step that reaches them; none for a snapshot
        after 1, 2, 4, ... steps.
      limit: the processor seconds after which the method is ended; None for no limit.
      images: number of images that are inverted together, whose time is shared out.
      now: gives (processor seconds, wall seconds).
    """

    def __init__(
        self,
        times: Sequence[float] = (),
        limit: float | None = None,
        images: int = 1,
        now: Callable[[], tuple[float, float]] = lambda: (time.process_time(), time.perf_counter()),
    ):
        self.snapshots: list[Snapshot] = []
        self.steps = 0
        self.limit = math.inf if limit is None else limit
        self._times, self._by_steps = sorted(times), not times
        self._images, self._now = images, now
        self._seconds = self._wall = 0.0
        self._last = now()

    def step(self, image: Callable[[], Any]) -> None:
        """Counts a step of the method; raises TimeUpError where its time is over.

        Args:
          image: gives the method's image as it stands, [n, height, width, 3]. It is called only where a snapshot is taken.
        """
        processor, wall = self._now()
        self.steps += 1
        if self.steps > 1:
            times = 2 if self.steps == 2 else 1  # the first step counts as much as the second
            self._seconds += times * (processor - self._last[0]) / self._images
            self._wall += times * (wall - self._last[1]) / self._images
            if self._is_due():
                self.take(image)
            if self._seconds >= self.limit:
                if self.snapshots[-1:] == [] or self.snapshots[-1].step != self.steps:
                    self.take(image)
                raise TimeUpError
        self._last = self._now()

    def take(self, image: Callable[[], Any]) -> None:
        """Takes a snapshot now, in place of an earlier one of the same step."""
        if self.snapshots and self.snapshots[-1].step == self.steps:
            self.snapshots.pop()
        self.snapshots.append(Snapshot(self.steps, self._seconds, self._wall, np.array(image(), np.float32)))

    def _is_due(self) -> bool:
        if self._by_steps:
            return self.steps & (self.steps - 1) == 0
        due = [time for time in self._times if time <= self._seconds]
        self._times = self._times[len(due) :]
        return bool(due)
