"""Many runs, one after the other, in processes of their own: finished ones are skipped, interrupted ones continued."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from tqdm import tqdm

from tfinvert.errors import InputError
from tfinvert.runs.directory import RunDirectory, differing_flags
from tfinvert.settings.config import Config, flag_text, flagfile
from tfinvert.system import signals as interruption
from tfinvert.system.files import read_text

PROGRAM = (sys.executable, "-m", "tfinvert.cli")
STOP_AT_EOF = "TFINVERT_STOP_AT_EOF"  # in the environment of a run that ends when its parent does
POLL_SECONDS = 0.2
USUAL_STEPS = 400


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a run ended: `error` is None for a finished one, else the program's own line."""

    name: str
    folder: Path
    error: str | None


def check(jobs: Sequence[Mapping[str, Config]]) -> None:
    """Refuses folders that hold other runs, before any work; raises InputError."""
    for config in (config for job in jobs for config in job.values()):
        run = RunDirectory(config.run_folder())
        if not config.overwrite and run.flags.exists():
            changed = differing_flags(read_text(run.flags), flagfile(config))
            if changed:
                raise InputError(
                    f"{run.path} holds a run with other settings ({'; '.join(changed[:4])}); "
                    "give --overwrite to run everything again, or another --output_dir"
                )
        else:
            run.check(flagfile(config), resume=False, overwrite=config.overwrite)


def run_all(jobs: Sequence[Mapping[str, Config]]) -> Iterator[Outcome]:
    """Runs each config into its own folder, with one progress line for all of them, and gives how each ended.

    Args:
      jobs: what one process does: name -> config, several where they differ in nothing but their picture and
        are one of `Config.each`; these are inverted together.

    Raises:
      Interrupted: a signal asked to end; the runs under way have left a checkpoint.
    """
    count = sum(map(len, jobs))
    total = sum(_steps(*job.values()) for job in jobs)
    quiet = not sys.stderr.isatty()
    with (
        interruption.held_back() as stop,
        tqdm(total=total, unit=" steps", dynamic_ncols=True, disable=quiet) as bar,
    ):
        before, number = 0, 0
        for job in jobs:
            more = f" and {len(job) - 1} more" if len(job) > 1 else ""
            bar.set_description(f"{next(iter(job))}{more} ({number + len(job)}/{count})")
            errors = _run(job, bar, before, stop)
            stop.raise_if_any()
            before += _steps(*job.values())
            bar.update(before - bar.n)
            for name, config in job.items():
                number += 1
                run = RunDirectory(config.run_folder())
                error = errors.get(name)
                with tqdm.external_write_mode():
                    figures = run.summary().partition("\n")[0] if error is None else error
                    print(f"{name} ({number}/{count}): {figures}", flush=True)
                yield Outcome(name, run.path, error)


def run_with_report(jobs: Sequence[Mapping[str, Config]], write_report: Callable[[dict[str, Outcome]], Path]) -> int:
    """`run_all`, then the report of what there is, after an interruption too; gives 1 if a run failed, else 0.

    Args:
      jobs: as of `run_all`.
      write_report: writes the report of the outcomes by name, and gives its path.
    """
    outcomes: dict[str, Outcome] = {}
    try:
        for outcome in run_all(jobs):
            outcomes[outcome.name] = outcome
    finally:
        path = write_report(outcomes)
    failed = [name for name, outcome in outcomes.items() if outcome.error]
    print(f"report: {path}" + (f"; failed: {', '.join(failed)}" if failed else ""))
    return 1 if failed else 0


def _steps(*configs: Config) -> int:
    """Their share of the progress line: how many steps a preset makes is known only where its layers are."""
    return sum(config.steps or USUAL_STEPS for config in configs)


def _run(job: Mapping[str, Config], bar: tqdm, before: int, stop: interruption.Interruption) -> dict[str, str]:
    """What is not finished of a job; gives the errors of those that failed. `before` is where it starts on the bar."""
    runs = {name: RunDirectory(config.run_folder()) for name, config in job.items()}
    left = {
        name: config
        for name, config in job.items()
        if config.overwrite or not (runs[name].flags.exists() and runs[name].is_finished(flagfile(config)))
    }
    if not left:
        return {}
    first = next(iter(left))
    resumed = any(runs[name].flags.exists() for name in left)
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            [*PROGRAM, *_flags(tuple(left.values()), resumed)],
            stdin=subprocess.PIPE,  # closed when this process ends, however it does
            stdout=subprocess.DEVNULL,
            stderr=said,
            env={**os.environ, STOP_AT_EOF: "1"},
            start_new_session=True,
        )
        assert process.stdin is not None
        while process.poll() is None:
            if stop and not process.stdin.closed:
                process.stdin.close()
            steps = runs[first].read_metrics()[-1:]
            if steps:
                bar.update(before + round(min(steps[0]["step"] / _steps(left[first]), 1) * _steps(*job.values())) - bar.n)
            time.sleep(POLL_SECONDS)
        process.stdin.close()
        if process.returncode == 0:
            return {}
        said.seek(0)
        last = said.read().decode(errors="replace").strip().splitlines()[-1:]
        why = last[0].removeprefix("tfinvert: ") if last else f"ended with exit code {process.returncode}"
        if len(left) == 1:
            return {first: why}
        unfinished = [name for name, config in left.items() if not runs[name].is_finished(flagfile(config))]
        return {name: runs[name].read_info().get("stopped", why) for name in unfinished}


def _flags(configs: Sequence[Config], resumed: bool) -> list[str]:
    """What a process that runs these is told."""
    first = configs[0]
    place = [f"--output_dir={first.run_folder()}"]
    if len(configs) > 1:
        pictures = flag_text("pictures", tuple(config.image for config in configs))
        place = [f"--pictures={pictures}", f"--output_dir={first.run_folder().parents[1]}"]
    return [*flagfile(first).splitlines(), *place, *(["--overwrite"] if first.overwrite else ["--resume"] * resumed)]
