"""The one progress line of many runs: tasks, steps per second, workers, time left."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any

from tqdm.auto import tqdm

from tfinvert.runs.directory import RunDirectory
from tfinvert.runs.reading import read_metrics
from tfinvert.runs.time_left import TimeLeft, speed
from tfinvert.system.notebook import is_watched

if TYPE_CHECKING:
    from tfinvert.runs.executors import Answer, Executor
    from tfinvert.runs.tasks import Task

POLL_SECONDS = 0.5
LAST_LINES = 20_000  # bytes at the end of metrics.jsonl that are read
USUAL_STEPS = 400
BAR = "{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} steps, {elapsed}{postfix}"  # the time left is our own


class TasksBar:
    """The progress line, as a context manager. Where somebody watches, a thread of its own moves it."""

    def __init__(self, tasks: Sequence[Task], executor: Executor):
        self._tasks, self._executor = tasks, executor
        self._left = Counter[Hashable]()  # steps of each kind
        for task in tasks:
            self._left[_kind(task)] += _steps(task)
        self._count, self._finished, self._made, self._begun = len(tasks), 0, 0, time.monotonic()
        self._time_left = TimeLeft()
        self._bar = tqdm(total=self._left.total(), bar_format=BAR, dynamic_ncols=True, disable=not is_watched())
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def done(self, number: int, answer: Answer) -> None:
        """Counts a task that has ended."""
        task = self._tasks[number]
        self._finished += 1
        self._left[_kind(task)] -= _steps(task)
        if not self._bar.disable and answer.seconds > 1:  # else there was nothing to do
            self._made += _steps(task)
            info = RunDirectory(task.first.run_folder()).read_info()
            self._time_left.measure(_kind(task), *speed(info.get("result", {})))

    def _watch(self) -> None:
        while not self._ended.wait(POLL_SECONDS):
            self._show()

    def _show(self) -> None:
        progress = self._executor.progress()
        running = sum(_steps_made(self._tasks[number]) for number in progress.running)
        workers = max(progress.workers, 1)
        left = [(kind, steps / workers) for kind, steps in self._left.items() if steps]
        rate = (self._made + running) / (time.monotonic() - self._begun)
        words = [f"{rate:.1f} steps/s", f"{progress.workers} worker{'s' * (workers > 1)}", self._time_left.words(left)]
        self._bar.set_description_str(f"{self._finished}/{self._count} tasks", refresh=False)
        self._bar.set_postfix_str(", ".join(filter(None, words)), refresh=False)
        self._bar.n = self._bar.total - self._left.total() + running
        self._bar.refresh()

    def __enter__(self) -> TasksBar:
        if not self._bar.disable:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()
        self._bar.close()


def _steps(task: Task) -> int:
    """The task's share of the progress line. A preset chooses its steps only when it knows the layers."""
    return sum(_planned(settings) for settings in task.runs.values())


def _planned(settings: Any) -> int:
    return getattr(settings, "steps", None) or USUAL_STEPS


def _steps_made(task: Task) -> int:
    """The steps that a task under way has made, as far as its run directory is seen from here."""
    lines = read_metrics(RunDirectory(task.first.run_folder()).metrics, LAST_LINES)
    return min(int(lines[-1]["step"]), _planned(task.first)) * len(task.runs) if lines else 0


def _kind(task: Task) -> tuple:
    """What decides how long a step takes."""
    names = ("model", "onnx", "layers", "size", "precision")
    return *(getattr(task.first, name, None) for name in names), len(task.runs)
