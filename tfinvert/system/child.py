"""A Python module in a process of its own: JSON lines to and from it, its log, and its end when its parent ends.

The parent holds a `Child`. The module that runs in the process calls `Parent` to exchange messages, and `end_with_parent`
so that it does not outlive the process that started it.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

ROOT = Path(__file__).resolve().parents[2]
STARTED_BY_CHILD = "TFINVERT_CHILD"  # in the environment of a process whose standard input ends with its parent
LARGEST_LOG = 2**16  # bytes that are read from the end of a log


class Child:
    """A process that runs `python -m MODULE`. Use it as a context manager, or call `close`."""

    def __init__(
        self,
        module: str,
        *arguments: str,
        python: str | Path = sys.executable,
        environment: Mapping[str, str] | None = None,
        answers: bool = True,
        grace: float = 0.0,
    ):
        """Starts the process, which does not see a Ctrl-C that is meant for its parent.

        Args:
          module: full name of the module, such as `tfinvert.cli`; it is never taken from the working directory.
          arguments: command-line arguments.
          python: the interpreter that runs it.
          environment: variables that the process has beside those of this process.
          answers: whether `receive` reads its standard output; False drops what it prints there.
          grace: seconds between asking the process to end and killing it, in `close`.
        """
        path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        private = {"PYTHONPATH": path, "PYTHONSAFEPATH": "1", "PYTHONIOENCODING": "utf-8", STARTED_BY_CHILD: "1"}
        self._grace = grace
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        try:
            self._process = subprocess.Popen(
                [str(python), "-m", module, *arguments],
                stdin=subprocess.PIPE,  # the system closes it when this process ends, however that happens
                stdout=subprocess.PIPE if answers else subprocess.DEVNULL,
                stderr=self._log,
                env={**os.environ, **private, **(environment or {})},
                start_new_session=True,
            )
        except BaseException:
            self._log.close()
            raise

    def send(self, **message: Any) -> None:
        """Sends a message; a process that has ended does not get it, and `receive` then returns None."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
            self._process.stdin.flush()

    def receive(self) -> dict[str, Any] | None:
        """Waits for the next message; None where the process ended without one."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        return json.loads(line) if line.endswith(b"\n") else None

    def poll(self) -> int | None:
        """The exit code, or None while the process runs."""
        return self._process.poll()

    def wait(self) -> int:
        """Waits for the end of the process and returns its exit code, -N after signal N."""
        return self._process.wait()

    def ask_to_end(self) -> None:
        """Closes the process's standard input: it then does what it gave to `end_with_parent`."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()

    def last_line(self) -> str:
        """The last line that the process wrote to standard error; empty where it wrote none."""
        size = self._log.seek(0, os.SEEK_END)
        tail = os.pread(self._log.fileno(), LARGEST_LOG, max(0, size - LARGEST_LOG))  # leaves the position to the process
        return (tail.decode(errors="replace").strip().splitlines() or [""])[-1]

    def close(self) -> None:
        """Ends the process if it still runs, and closes its pipes and its log."""
        try:
            self.ask_to_end()
            if self._grace:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(self._grace)
        finally:
            self._process.kill()
            self._process.wait()
            if self._process.stdout is not None:
                self._process.stdout.close()
            self._log.close()

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Parent:
    """The parent, as its child sees it. From here on, what the process prints goes to its log instead of to the parent."""

    def __init__(self) -> None:
        self._messages = os.fdopen(os.dup(0), "rb", buffering=0)  # reads no more than a line
        self._answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)

    def receive(self) -> dict[str, Any] | None:
        """Waits for the next message, before `end_with_parent` is called; None where the parent is gone."""
        line = self._messages.readline()
        return json.loads(line) if line.endswith(b"\n") else None

    def send(self, **message: Any) -> None:
        """Sends a message."""
        print(json.dumps(message), file=self._answers, flush=True)


def end_with_parent(action: Callable[[], object]) -> None:
    """Calls `action`, in a thread, when the parent is gone or asks this process to end.

    In a process that no `Child` started, nothing happens.

    Args:
      action: `stop`, or a function that calls `remove_and_end`.
    """
    if os.environ.pop(STARTED_BY_CHILD, None) is None:  # popped, because it does not hold for processes started here
        return

    def watch() -> None:
        while os.read(0, 1024):  # not sys.stdin, whose lock a thread must not hold when the interpreter ends
            pass
        action()

    threading.Thread(target=watch, daemon=True).start()


def stop() -> None:
    """Sends SIGTERM to this process, so that a run ends with a checkpoint."""
    os.kill(os.getpid(), signal.SIGTERM)


def remove_and_end(folder: Path) -> NoReturn:
    """Ends this process, and removes a folder that it was writing."""
    os.execvp("rm", ["rm", "-rf", str(folder)])  # the threads that write there end with this program, before rm begins
