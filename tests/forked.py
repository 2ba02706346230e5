"""The program in a process that has its imports already, as a test that is not about them runs it.

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
from collections.abc import Sequence
from pathlib import Path

READ_BY_IMPORTS = ("CUDA", "HOME", "KERAS", "MPL", "OMP", "ONEDNN", "PYTHON", "TF_", "XDG")  # how such variables begin
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
        process = _context.Process(target=_run, args=(arguments, str(cwd or Path.cwd()), dict(os.environ), written))
        process.start()
        process.join(TIMEOUT)
        if process.exitcode is None:
            process.kill()
            raise subprocess.TimeoutExpired(["run_experiments.py", *arguments], TIMEOUT)
        texts = [file.read_text() for file in written]
    return subprocess.CompletedProcess(["run_experiments.py", *arguments], process.exitcode, *texts)


def _read_by_imports() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith(READ_BY_IMPORTS)}


_VARIABLES = _read_by_imports()  # as the server of forks has them, too


def _run(arguments: Sequence[str], cwd: str, variables: dict[str, str], written: Sequence[Path]) -> None:
    os.environ.clear()
    os.environ.update(variables)
    os.chdir(cwd)
    for number, file in enumerate(written, 1):
        opened = os.open(file, os.O_WRONLY | os.O_CREAT)
        os.dup2(opened, number)
        os.close(opened)
    sys.argv = ["run_experiments.py", *arguments]
    from tfinvert import cli

    try:
        cli.run()
    finally:
        atexit._run_exitfuncs()  # A process of `multiprocessing` ends without them.
