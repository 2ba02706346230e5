"""Many runs, one after the other, each in a process of its own. Finished runs are skipped and interrupted ones continued."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from tfinvert.runs.directory import RunDirectory
from tfinvert.runs.flags import differing_flags
from tfinvert.runs.summary import describe_inversion
from tfinvert.runs.time_left import TimeLeft, speed
from tfinvert.settings import flagfiles
from tfinvert.settings.fields import flag_text
from tfinvert.system import signals
from tfinvert.system.child import Child
from tfinvert.system.errors import InputError
from tfinvert.system.files import read_text
from tfinvert.system.notebook import is_watched

PROGRAM = "tfinvert.cli"  # the module that runs in the processes
POLL_SECONDS = 0.2
CHECKPOINT_SECONDS = 10.0  # A process that is asked to end writes its checkpoint within this time.
USUAL_STEPS = 400
BAR = "{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} steps, {elapsed}{postfix}"  # the time left is our own

Job = Mapping[str, Any]  # the name of each run -> its settings


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
      name: the name of the run in its job.
      folder: its run directory.
      error: None if it is finished, else the line that the program printed.
    """

    name: str
    folder: Path
    error: str | None


def check(jobs: Sequence[Job]) -> None:
    """Refuses run directories that hold other runs, before any work; raises InputError."""
    for settings in (settings for job in jobs for settings in job.values()):
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


def run_all(jobs: Sequence[Job]) -> Iterator[Outcome]:
    """Runs each settings into its own run directory, with one progress line for all of them.

    Args:
      jobs: what one process does: name -> settings. A job of several runs inverts their images together; they differ in
        nothing but their image, and come from the settings' `each`.

    Yields:
      How each run ended, in order.

    Raises:
      Interrupted: a signal asked to end. The runs under way have left a checkpoint.
    """
    count = sum(map(len, jobs))
    total = sum(map(_steps, jobs))
    with (
        signals.held_back() as interruption,
        tqdm(total=total, bar_format=BAR, dynamic_ncols=True, disable=not is_watched()) as bar,
    ):
        done, number, time_left = 0, 0, TimeLeft()
        for place, job in enumerate(jobs):
            more = f" and {len(job) - 1} more" if len(job) > 1 else ""
            bar.set_description(f"{next(iter(job))}{more} ({number + len(job)}/{count})")
            show = functools.partial(_show, bar, done, time_left, jobs[place:], time.perf_counter())
            errors = _run(job, show, interruption)
            interruption.raise_if_any()
            for settings in job.values():
                time_left.measure(_kind(job), *speed(RunDirectory(settings.run_folder()).read_info().get("result", {})))
            show(1.0)
            done += _steps(job)
            for name, settings in job.items():
                number += 1
                run = RunDirectory(settings.run_folder())
                error = errors.get(name)
                line = describe_inversion(run.read_info()).partition("\n")[0] if error is None else error
                with tqdm.external_write_mode():
                    print(f"{name} ({number}/{count}): {line}", flush=True)
                yield Outcome(name, run.path, error)


def run_with_report(jobs: Sequence[Job], write_report: Callable[[dict[str, Outcome]], Path]) -> tuple[Path, dict[str, str]]:
    """Runs everything as `run_all` does, then writes the report of what there is, also after an interruption.

    Args:
      jobs: as in `run_all`.
      write_report: takes the outcomes by name, writes their report and returns its path.

    Returns:
      The path of the report, and the error of each run that failed.
    """
    outcomes: dict[str, Outcome] = {}
    try:
        for outcome in run_all(jobs):
            outcomes[outcome.name] = outcome
    finally:
        path = write_report(outcomes)
    return path, {name: outcome.error for name, outcome in outcomes.items() if outcome.error is not None}


def _steps(job: Job) -> int:
    """The job's share of the progress line. A preset chooses its steps only when it knows the layers."""
    return sum(settings.steps or USUAL_STEPS for settings in job.values())


def _kind(job: Job) -> tuple:
    """What decides how long a step takes."""
    settings = next(iter(job.values()))
    return settings.model, settings.onnx, settings.layers, settings.size, settings.precision, len(job)


def _show(bar: tqdm, done: int, time_left: TimeLeft, jobs: Sequence[Job], started: float, fraction: float) -> None:
    """Moves the progress line to a fraction of a job's steps, after those that were done before it, and says what is left.

    Args:
      bar: the progress line.
      done: steps before this job.
      time_left: what was measured so far; this job is added as long as it runs.
      jobs: this job and those after it.
      started: when this job began.
      fraction: the part of its steps that it has made.
    """
    job, *later = jobs
    if fraction < 1:
        time_left.measure(_kind(job), fraction * _steps(job), time.perf_counter() - started)
    left = [(_kind(job), (1 - fraction) * _steps(job)), *((_kind(each), _steps(each)) for each in later)]
    bar.set_postfix_str(time_left.words(left), refresh=False)
    bar.update(done + round(fraction * _steps(job)) - bar.n)


def _run(job: Job, show: Callable[[float], None], interruption: signals.Interruption) -> dict[str, str]:
    """Runs what is not finished of a job, and returns the errors of the runs that failed, by name."""
    left = {name: settings for name, settings in job.items() if settings.overwrite or not _is_finished(settings)}
    if not left:
        return {}
    first = next(iter(left.values()))
    with Child(PROGRAM, *_flags(tuple(left.values())), answers=False, grace=CHECKPOINT_SECONDS) as child:
        while child.poll() is None:
            if interruption:
                child.ask_to_end()
            lines = RunDirectory(first.run_folder()).read_metrics()[-1:]
            if lines:
                show(min(lines[0]["step"] / (first.steps or USUAL_STEPS), 1.0))
            time.sleep(POLL_SECONDS)
        code = child.wait()
        error = child.last_line().removeprefix("tfinvert: ") or f"ended with exit code {code}"
    if code == 0:
        return {}
    if len(left) == 1:
        return dict.fromkeys(left, error)
    unfinished = {name: RunDirectory(settings.run_folder()) for name, settings in left.items() if not _is_finished(settings)}
    return {name: run.read_info().get("stopped", error) for name, run in unfinished.items()}


def _is_finished(settings: Any) -> bool:
    run = RunDirectory(settings.run_folder())
    return run.flags.exists() and run.is_finished(flagfiles.text(settings))


def _flags(runs: Sequence[Any]) -> list[str]:
    """The command line of a process that runs these."""
    first = runs[0]
    place = [f"--output_dir={first.run_folder()}"]
    if len(runs) > 1:
        images = flag_text(tuple(image for settings in runs for image in settings.image))
        place = [f"--image={images}", f"--output_dir={first.run_folder().parents[1]}"]
    resumed = any(RunDirectory(settings.run_folder()).flags.exists() for settings in runs)
    settings = [line for line in flagfiles.text(first).splitlines() if line.startswith("--")]
    return [*settings, *place, *(["--overwrite"] if first.overwrite else ["--resume"] * resumed)]
