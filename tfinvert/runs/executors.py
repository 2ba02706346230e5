"""What does tasks: the interface of all executors, and the one that needs nothing but this process."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from tfinvert.runs.tasks import Task

THREADS = "TF_NUM_INTRAOP_THREADS"  # TensorFlow reads it before its first operation
Message = dict[str, Any]  # what a worker is given: plain texts and numbers
Work = Callable[[Message], dict[str, Any]]  # what a worker does; its answer has the attributes of Answer, as plain values


@dataclasses.dataclass(frozen=True)
class RunResult:
    """How a run ended: the line that describes it, and the line that says what went wrong, if anything did."""

    line: str = ""
    error: str | None = None


@dataclasses.dataclass(frozen=True)
class Answer:
    """How a task ended.

    Attributes:
      results: of each run, in their order.
      seconds: that the worker took for it.
      again: whether it failed for a reason that may be gone the next time.
      interrupted: whether it was asked to end before it was finished.
    """

    results: tuple[RunResult, ...]
    seconds: float = 0.0
    again: bool = False
    interrupted: bool = False

    @classmethod
    def of(cls, values: dict[str, Any]) -> Answer:
        """The answer from plain values."""
        return cls(**{**values, "results": tuple(RunResult(**result) for result in values["results"])})

    @classmethod
    def failed(cls, task: Task, error: str) -> Answer:
        """The answer for a task of which no worker has said anything."""
        return cls(tuple(RunResult(error=error) for _ in task.runs))


@dataclasses.dataclass(frozen=True)
class Progress:
    """What is under way: the numbers of the tasks that workers do at this moment, and how many workers there are."""

    running: tuple[int, ...]
    workers: int


class Executor(Protocol):
    """Does tasks."""

    def submit(self, tasks: Sequence[Task], finished: Collection[int] = ()) -> Iterator[tuple[int, Answer]]:
        """Does tasks, and gives the number of each and its answer when it has ended.

        Args:
          tasks: what is to be done.
          finished: the numbers of tasks that are finished already. They are not done again; their answer says what is there.

        Raises:
          Interrupted: a signal asked to end.
          InputError: the workers cannot be reached.
        """

    def cancel(self) -> None:
        """Ends what is under way, each with a checkpoint, and forgets what was not begun."""

    def progress(self) -> Progress:
        """What is under way."""


Connect = Callable[[], contextlib.AbstractContextManager[Executor]]  # begins with an executor, and ends its workers


class Local:
    """This process, which does one task after the other. A signal ends the one under way, and is raised."""

    def __init__(self, work: Work, *, own_process: bool = True, retries: int = 0):
        """Does nothing yet.

        Args:
          work: what does a task.
          own_process: whether this process has nothing else to do, so that TensorFlow can be set up for the runs.
          retries: how often a task is tried again.
        """
        self._work, self._own_process, self._retries = work, own_process, retries
        self._running: tuple[int, ...] = ()

    def submit(self, tasks: Sequence[Task], finished: Collection[int] = ()) -> Iterator[tuple[int, Answer]]:
        for number, task in enumerate(tasks):
            self._running = (number,)
            message = {"flags": task.flags(), "own_process": self._own_process}
            answer = Answer.of(self._work(message))
            for _ in range(self._retries):
                if answer.again:
                    answer = Answer.of(self._work(message))
            self._running = ()
            yield number, answer

    def cancel(self) -> None:
        """Nothing is under way between two tasks."""

    def progress(self) -> Progress:
        return Progress(self._running, 1)
