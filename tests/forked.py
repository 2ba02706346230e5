"""The program, and the process that converts networks, with their imports done already, for tests that are not about them.

Python's own server of forks imports TensorFlow once (`tests.preloaded`). No thread of TensorFlow's runs until it computes, so
that its copies are as good as new processes, and start four seconds of processor time earlier.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import subprocess
import sys
import tempfile
import types
from collections.abc import Mapping, Sequence
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO, Any

from tfinvert.networks.conversion import process as conversion
from tfinvert.system import child

READ_BY_IMPORTS = ("CUDA", "HOME", "KERAS", "MPL", "OMP", "ONEDNN", "PYTHON", "TF_", "XDG")  # how such variables begin
SET_BY_RUNS = ("KERAS_BACKEND", "tensorflow")  # which is what the imports do without it
TIMEOUT = 300.0  # seconds
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["tests.preloaded"])


def fits() -> bool:
    """Whether a new process would import the same, with the environment variables as they are now."""
    return _read_by_imports() == _VARIABLES


def run(arguments: Sequence[str], cwd: Path | None) -> subprocess.CompletedProcess:
    """What `subprocess.run` gives for the program."""
    with tempfile.TemporaryDirectory() as folder:
        written = [Path(folder, "stdout"), Path(folder, "stderr")]
        streams = [Connection(os.open(file, os.O_WRONLY | os.O_CREAT), readable=False) for file in written]
        process = _context.Process(target=_run, args=(arguments, str(cwd or Path.cwd()), dict(os.environ), *streams))
        process.start()
        for stream in streams:
            stream.close()
        process.join(TIMEOUT)
        if process.exitcode is None:
            process.kill()
            raise subprocess.TimeoutExpired(["run_experiments.py", *arguments], TIMEOUT)
        texts = [file.read_text() for file in written]
    return subprocess.CompletedProcess(["run_experiments.py", *arguments], process.exitcode, *texts)


def fork_conversions() -> None:
    """From here on, this process starts its converting processes as forks, too."""
    child.subprocess = types.SimpleNamespace(**{**vars(subprocess), "Popen": _popen})


class _Converting:
    """What `Child` needs of a `subprocess.Popen`."""

    def __init__(self, environment: Mapping[str, str], log: IO[bytes]) -> None:
        messages, written = _context.Pipe(duplex=False)
        read, answers = _context.Pipe(duplex=False)
        errors = Connection(os.dup(log.fileno()), readable=False)
        self._process = _context.Process(target=_convert, args=(dict(environment), messages, answers, errors), daemon=True)
        self._process.start()
        for end in (messages, answers, errors):
            end.close()
        self.stdin, self.stdout = _as_file(written, "wb"), _as_file(read, "rb")
        self.pid = self._process.pid

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("converting", timeout or 0.0)
        return self._process.exitcode

    def kill(self) -> None:
        self._process.kill()


def _popen(command: Sequence[str], **options: Any) -> Any:
    if command[1:] != ["-m", conversion.PROGRAM] or not fits():
        return subprocess.Popen(command, **options)
    return _Converting(options["env"], options["stderr"])


def _as_file(end: Connection, mode: str) -> IO[bytes]:
    with end:
        return os.fdopen(os.dup(end.fileno()), mode)


def _convert(environment: Mapping[str, str], messages: Connection, answers: Connection, errors: Connection) -> None:
    os.setsid()
    _become(environment, messages, answers, errors)
    from tfinvert.networks.conversion import work

    work.main()


def _become(environment: Mapping[str, str], *streams: Connection) -> None:
    """Takes environment variables and standard streams, the last of which are given."""
    os.environ.clear()
    os.environ.update(environment)
    for number, stream in enumerate(streams, 3 - len(streams)):
        os.dup2(stream.fileno(), number)
        stream.close()


def _read_by_imports() -> dict[str, str]:
    variables = {name: value for name, value in os.environ.items() if name.startswith(READ_BY_IMPORTS)}
    return dict(variables.items() - {SET_BY_RUNS})


_VARIABLES = _read_by_imports()  # as the server of forks has them, too


def _run(arguments: Sequence[str], cwd: str, environment: Mapping[str, str], *streams: Connection) -> None:
    os.chdir(cwd)
    _become(environment, *streams)
    # This process is the server's own child and knows its address, but Python would start another server, in this folder.
    forkserver._forkserver.ensure_running = lambda: None
    fork_conversions()
    sys.argv = ["run_experiments.py", *arguments]
    from tfinvert import cli

    try:
        cli.run()
    finally:
        atexit._run_exitfuncs()  # A process of `multiprocessing` ends without them.
