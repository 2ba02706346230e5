"""Many runs: a list of tasks, each of them idempotent by its run directories, that an executor gives to workers.

Example, in an experiment whose `run` takes `executor`:

    todo = [tasks.Task({"relu1": settings_1}), tasks.Task({"relu2": settings_2})]
    tasks.check(todo)
    return tasks.run_with_report(todo, executor, write_report)
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm.auto import tqdm

from tfinvert.runs.directory import RunDirectory
from tfinvert.runs.flags import differing_flags
from tfinvert.runs.tasks_bar import TasksBar
from tfinvert.settings import flagfiles
from tfinvert.settings.fields import flag_text
from tfinvert.system.errors import InputError
from tfinvert.system.files import read_text

if TYPE_CHECKING:
    from tfinvert.runs.executors import Connect


@dataclasses.dataclass(frozen=True)
class Task:
    """What a worker does at a time. Given to several workers one after the other, it is done once.

    What is finished in a run directory is left as it is, and what was interrupted goes on from its checkpoint.

    Attributes:
      runs: the name of each run -> its settings, which say where its run directory is. It is one run, or several whose images
        go through the network together: these differ in nothing but their image, and come from the settings' `each`.
    """

    runs: Mapping[str, Any]

    @property
    def first(self) -> Any:
        """The settings of the first run."""
        return next(iter(self.runs.values()))

    def flags(self) -> list[str]:
        """The command line of the task. Its paths are absolute."""
        first = self.first
        place = Path(first.run_folder()).absolute()
        lines = [line for line in flagfiles.text(first).splitlines() if line.startswith("--")]
        if len(self.runs) > 1:
            images = tuple(flagfiles.absolute(image) for settings in self.runs.values() for image in settings.image)
            lines.append(f"--image={flag_text(images)}")
            place = place.parents[1]
        return [*lines, f"--output_dir={place}", *(["--overwrite"] if first.overwrite else [])]

    def is_finished(self) -> bool:
        """Whether there is nothing to do."""
        return all(_is_finished(settings) for settings in self.runs.values())


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
      name: the name of the run in its task.
      folder: its run directory.
      error: None if it is finished, else one line that says why not.
    """

    name: str
    folder: Path
    error: str | None


@dataclasses.dataclass(frozen=True)
class TasksResult:
    """What many runs leave.

    Attributes:
      path: the page or the file that reports them, or their folder.
      failed: the error of each run that failed.
    """

    path: Path
    failed: dict[str, str]

    @property
    def exit_code(self) -> int:
        """1 where a run failed, else 0."""
        return 1 if self.failed else 0

    def summary(self) -> str:
        """Where the report is, and what failed."""
        what = "folder" if self.path.is_dir() else "report"
        return f"{what}: {self.path}" + (f"; failed: {', '.join(self.failed)}" if self.failed else "")


def check(tasks: Sequence[Task]) -> None:
    """Refuses run directories that hold other runs, before any work; raises InputError."""
    for settings in (settings for task in tasks for settings in task.runs.values()):
        run = RunDirectory(settings.run_folder())
        if not settings.overwrite and run.flags.exists():
            changed = differing_flags(read_text(run.flags), flagfiles.text(settings))
            if changed:
                raise InputError(
                    f"{run.path} holds a run with other settings ({'; '.join(changed[:4])}); "
                    "give --overwrite to run everything again, or another --output_dir"
                )
        else:
            run.check(flagfiles.text(settings), resume=False, overwrite=settings.overwrite)


def run_all(tasks: Sequence[Task], connect: Connect) -> Iterator[Outcome]:
    """Does tasks, with one progress line for all of them.

    Args:
      tasks: what is to be done.
      connect: gives the executor; the runner hands it to an experiment as `executor`.

    Yields:
      How each run ended, as soon as its task has: with one worker in the order of the tasks.

    Raises:
      Interrupted: a signal asked to end. The runs under way have left a checkpoint.
      InputError: there are no workers, or their scheduler is gone.
    """
    count, number = sum(len(task.runs) for task in tasks), 0
    finished = [index for index, task in enumerate(tasks) if task.is_finished()]
    with connect() as executor, TasksBar(tasks, executor) as bar:
        for index, answer in executor.submit(tasks, finished):
            bar.done(index, answer)
            lines = []
            for (name, settings), result in zip(tasks[index].runs.items(), answer.results, strict=True):
                number += 1
                lines.append((Outcome(name, Path(settings.run_folder()), result.error), number, result.error or result.line))
            for outcome, at, line in lines:
                with tqdm.external_write_mode():
                    print(f"{outcome.name} ({at}/{count}): {line}", flush=True)
                yield outcome


def run_with_report(tasks: Sequence[Task], connect: Connect, write_report: Callable[[dict[str, Outcome]], Path]) -> TasksResult:
    """Does everything as `run_all` does, then writes the report of what there is, also after an interruption.

    Args:
      tasks: as in `run_all`.
      connect: as in `run_all`.
      write_report: takes the outcomes by name, in the order of the tasks, writes their report and returns its path.

    Returns:
      Where the report is, and what failed.
    """
    outcomes: dict[str, Outcome] = {}
    try:
        for outcome in run_all(tasks, connect):
            outcomes[outcome.name] = outcome
    finally:
        names = [name for task in tasks for name in task.runs if name in outcomes]
        path = write_report({name: outcomes[name] for name in names})
    return TasksResult(path, {name: outcomes[name].error or "" for name in names if outcomes[name].error is not None})


def _is_finished(settings: Any) -> bool:
    run = RunDirectory(settings.run_folder())
    return not settings.overwrite and run.flags.exists() and run.is_finished(flagfiles.text(settings))
