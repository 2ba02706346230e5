"""One process at a time in a folder."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import filelock

from tfinvert.system.errors import InputError
from tfinvert.system.files import write_text

WAIT_SECONDS = 10.0  # A run that was asked to end is gone by then.


class LockedError(InputError):
    """Another process holds the folder."""


@contextlib.contextmanager
def locked(folder: Path, wait: float | None = None) -> Iterator[None]:
    """Within it, no other process holds this folder. The folder is made if it does not exist.

    The operating system frees the lock of a process that dies.

    Args:
      folder: the folder.
      wait: seconds to wait for a process that holds it; None for 10.

    Raises:
      LockedError: another process holds the folder.
      InputError: the folder cannot be written.
    """
    holder = folder / ".lock.holder"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(folder / ".lock")
        lock.acquire(timeout=WAIT_SECONDS if wait is None else wait)
    except filelock.Timeout:
        name = "another run"
        with contextlib.suppress(OSError):
            name = holder.read_text(encoding="utf-8", errors="replace")
        raise LockedError(f"{name} is writing into {folder}; wait for it, or choose another --output_dir") from None
    except OSError as error:
        raise InputError(f"cannot write to {folder}: {error.strerror or error}") from None
    try:
        with contextlib.suppress(OSError):  # The lock holds without its holder's name.
            write_text(holder, f"process {os.getpid()} on {socket.gethostname()}")
        yield
    finally:
        with contextlib.suppress(OSError):
            holder.unlink()
        lock.release()
