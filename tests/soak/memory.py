"""What a long run holds: memory, threads and open files, from its hundredth step to its last."""

import contextlib
import dataclasses
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.soak import Row
from tests.soak.programs import HANG_SECONDS, PLAIN, Case, cases, end, start

STEPS = 2000
FROM = 100  # by then everything has been made once
EDGE = 200  # steps at either end whose medians are compared
MOST_MB = 50.0


@dataclasses.dataclass(frozen=True)
class Sample:
    """What a process held, and after how many steps: MB of memory, threads, open files."""

    step: int
    memory: float
    threads: int
    files: int


@dataclasses.dataclass(frozen=True)
class Growth:
    """From the hundredth step on: the most memory in MB beyond what was there then; by how much the medians went up."""

    memory: float
    threads: float
    files: float


def soak(scale: float = 1.0) -> list[Row]:
    """A run of each kind that draws images, with checkpoints ten times a second."""
    steps = max(600, round(STEPS * scale))
    rows = []
    with tempfile.TemporaryDirectory() as name:
        kinds = cases(Path(name))
        for kind in (PLAIN, "L-BFGS", "style, two scales"):
            flags = tuple(flag for flag in kinds[kind].flags if not flag.startswith("--steps="))
            extra = () if "style" in kind else ("--tensorboard",)
            found = growth(Case(kind, (*flags, f"--steps={steps}", *extra)), Path(name))
            check(found)
            rows.append(
                Row(
                    f"Memory, threads and open files do not grow ({kind})",
                    f"{steps:,} steps with an image every 5 and a checkpoint every 0.1 s, from step {FROM} on",
                    f"memory at most {found.memory:+.1f} MB, threads {found.threads:+g}, open files {found.files:+g}",
                )
            )
    return rows


def check(found: Growth) -> None:
    """Asserts that little enough grew."""
    assert found.memory < MOST_MB, found
    assert found.threads <= 0, found
    assert found.files <= 0, found


def growth(case: Case, base: Path) -> Growth:
    """Runs a case and watches it."""
    folder = base / f"{case.name} watched"
    process = start(case, folder, base / "cache")
    samples = list(_watched(process, folder))
    code, said = end(process)
    assert code == 0, said
    assert len(samples) > 20, len(samples)
    first = [one for one in samples if one.step <= FROM + EDGE]
    last = [one for one in samples if one.step > samples[-1].step - EDGE]
    return Growth(
        memory=max(one.memory for one in samples) - first[0].memory,
        threads=statistics.median(one.threads for one in last) - statistics.median(one.threads for one in first),
        files=statistics.median(one.files for one in last) - statistics.median(one.files for one in first),
    )


def _watched(process: subprocess.Popen, folder: Path) -> Iterator[Sample]:
    """Samples of a process from step FROM on, until it has finished its steps."""
    proc, deadline = Path("/proc") / str(process.pid), time.monotonic() + HANG_SECONDS
    while process.poll() is None and not (folder / "final.png").exists():
        assert time.monotonic() < deadline, process.args
        with contextlib.suppress(OSError, KeyError):
            step = max((int(path.stem) for path in (folder / "images").glob("[0-9]*.png")), default=0)
            if step >= FROM:
                status = dict(line.split(":", 1) for line in (proc / "status").read_text().splitlines())
                memory = int(status["VmRSS"].split()[0]) / 1024
                yield Sample(step, memory, int(status["Threads"]), len(os.listdir(proc / "fd")))
        time.sleep(0.02)
