"""A scheduler of Dask and its workers as processes of their own, on loopback, as a user starts them."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.conftest import ROOT, wait_until

START_SECONDS = 60  # in which a worker begins, TensorFlow's import included, on a machine that other work shares
SHORT = {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "100", "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "5s"}


class Processes:
    """The processes. They run in a folder of their own, away from that of the client.

    Attributes:
      file: which the scheduler writes for workers and clients.
      workers: the processes that `dask worker` is, each the parent of the worker itself.
    """

    def __init__(self, folder: Path, preload: str = "", **environment: str):
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.file, self._preload = folder, folder / "scheduler.json", preload
        paths = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        self._environment = {**os.environ, **SHORT, "PYTHONPATH": paths, "OMP_NUM_THREADS": "", **environment}
        self.workers: list[subprocess.Popen] = []
        self._start_scheduler()

    def _start_scheduler(self) -> None:
        self.file.unlink(missing_ok=True)
        place = ("--host", "127.0.0.1", "--port", "0", "--dashboard-address", "127.0.0.1:0")
        self.scheduler = self._start("scheduler", *place, "--scheduler-file", str(self.file))
        wait_until(self.file.exists)

    def add_worker(self) -> None:
        preload = ("--preload", self._preload) if self._preload else ()
        place = ("--host", "127.0.0.1", "--local-directory", str(self.folder), "--no-dashboard")
        self.workers.append(
            self._start(
                "worker",
                "--scheduler-file",
                str(self.file),
                "--nthreads",
                "1",
                "--memory-limit",
                "0",
                "--death-timeout",
                str(START_SECONDS),
                *place,
                *preload,
            )
        )

    def _start(self, program: str, *arguments: str) -> subprocess.Popen:
        log = open(self.folder / f"{program}.log", "ab")  # noqa: SIM115 - the process has it
        with log:
            return subprocess.Popen(
                [sys.executable, "-m", f"distributed.cli.dask_{program}", *arguments],
                cwd=self.folder,
                env=self._environment,
                stdout=log,
                stderr=log,
            )

    def kill_scheduler(self) -> None:
        """Kills the scheduler, waits until its workers have seen it, and starts both again."""
        count = len(self.workers)
        self.scheduler.kill()
        self.scheduler.wait()
        for worker in self.workers:
            worker.wait(timeout=3 * START_SECONDS)  # one that had just begun waits for the scheduler first
        self.workers = []
        self._start_scheduler()
        for _ in range(count):
            self.add_worker()

    def kill_worker(self, number: int, *, parent: bool) -> None:
        """Kills a worker; or its parent, whose worker then ends by itself, and starts another."""
        process = self.workers[number]
        if parent or process.poll() is not None:  # one whose worker is killed before it is there ends by itself
            process.kill()
            process.wait()
            del self.workers[number]
            self.add_worker()
        else:
            for child in _children(process.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)

    def close(self) -> None:
        for process in (*self.workers, self.scheduler):
            process.terminate()
        for process in (*self.workers, self.scheduler):
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _children(pid: int) -> list[int]:
    """The workers below `dask worker`, without the process in which Python keeps count of semaphores."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError):
            parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == pid and b"resource_tracker" not in (path / "cmdline").read_bytes():
                found.append(int(path.name))
    return found


def orphans(mark: str, patience: float = 30.0) -> list[str]:
    """The command lines of processes whose environment has this text, after they have had time to end."""
    deadline = time.monotonic() + patience
    while (found := _with_environment(mark)) and time.monotonic() < deadline:
        time.sleep(0.2)
    return found


def _with_environment(mark: str) -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if int(path.name) != os.getpid() and mark.encode() in (path / "environ").read_bytes():
                found.append((path / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
    return found
