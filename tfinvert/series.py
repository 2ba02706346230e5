"""Many runs, one after the other, each in a process of its own: finished ones are skipped, interrupted ones continued."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tqdm import tqdm

from tfinvert import interruption
from tfinvert.config import Config, flagfile
from tfinvert.errors import InputError
from tfinvert.files import read_text
from tfinvert.rundir import RunDirectory, differing_flags

PROGRAM = (sys.executable, "-m", "tfinvert.cli")
STOP_AT_EOF = "TFINVERT_STOP_AT_EOF"  # in the environment of a run that ends when its parent does
POLL_SECONDS = 0.2
USUAL_STEPS = 300


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a run ended: `error` is None for a finished one, else the program's own line."""

    name: str
    folder: Path
    error: str | None


def check(jobs: dict[str, Config]) -> None:
    """Refuses folders that hold other runs, before any work; raises InputError."""
    for config in jobs.values():
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


def run_all(jobs: dict[str, Config]) -> Iterator[Outcome]:
    """Runs each config into its own folder, with one progress line for all of them, and gives how each ended.

    Raises:
      Interrupted: a signal asked to end; the run under way has left a checkpoint.
    """
    total = sum(_steps(config) for config in jobs.values())
    quiet = not sys.stderr.isatty()
    with (
        interruption.held_back() as stop,
        tqdm(total=total, unit=" steps", dynamic_ncols=True, disable=quiet) as bar,
    ):
        before = 0
        for number, (name, config) in enumerate(jobs.items(), start=1):
            bar.set_description(f"{name} ({number}/{len(jobs)})")
            run = RunDirectory(config.run_folder())
            if config.overwrite or not (run.flags.exists() and run.is_finished(flagfile(config))):
                error = _run(config, run, bar, before, stop)
            else:
                error = None
            stop.raise_if_any()
            before += _steps(config)
            bar.update(before - bar.n)
            with tqdm.external_write_mode():
                figures = run.summary().partition("\n")[0] if error is None else error
                print(f"{name} ({number}/{len(jobs)}): {figures}", flush=True)
            yield Outcome(name, run.path, error)


def run_with_report(jobs: dict[str, Config], write_report: Callable[[dict[str, Outcome]], Path]) -> int:
    """`run_all`, then the report of what there is, after an interruption too; gives 1 if a run failed, else 0.

    Args:
      jobs: name -> config, each with a folder of its own.
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


def _steps(config: Config) -> int:
    """The run's share of the progress line: how many steps a preset makes is known only where its layers are."""
    return config.steps or USUAL_STEPS


def _run(config: Config, run: RunDirectory, bar: tqdm, before: int, stop: interruption.Interruption) -> str | None:
    """One run; gives its error, if it failed. `before` is where it starts on the bar."""
    flags = [*flagfile(config).splitlines(), f"--output_dir={run.path}"]
    flags += ["--overwrite"] if config.overwrite else ["--resume"] * run.flags.exists()
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            [*PROGRAM, *flags],
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
            steps = run.read_metrics()[-1:]
            if steps:
                bar.update(before + min(steps[0]["step"], _steps(config)) - bar.n)
            time.sleep(POLL_SECONDS)
        process.stdin.close()
        if process.returncode == 0:
            return None
        said.seek(0)
        last = said.read().decode(errors="replace").strip().splitlines()[-1:]
        return last[0].removeprefix("tfinvert: ") if last else f"ended with exit code {process.returncode}"
