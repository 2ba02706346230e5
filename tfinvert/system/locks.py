"""One process at a time in a folder."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import filelock

from tfinvert.errors import InputError
from tfinvert.system.files import write_text

WAIT_SECONDS = 10.0  # a run that was told to end is gone by then


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Within it, no other process has this folder, which is made if it is not there; the lock of a process that died is free.

    Raises:
      InputError: another process has it, or it cannot be written.
    """
    holder = folder / ".lock.holder"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(folder / ".lock")
        lock.acquire(timeout=WAIT_SECONDS)
    except filelock.Timeout:
        who = "another run"
        with contextlib.suppress(OSError):
            who = holder.read_text(encoding="utf-8", errors="replace")
        raise InputError(f"{who} is writing into {folder}; wait for it, or choose another --output_dir") from None
    except OSError as error:
        raise InputError(f"cannot write to {folder}: {error.strerror or error}") from None
    try:
        with contextlib.suppress(OSError):  # the lock holds without it
            write_text(holder, f"process {os.getpid()} on {socket.gethostname()}")
        yield
    finally:
        with contextlib.suppress(OSError):
            holder.unlink()
        lock.release()
