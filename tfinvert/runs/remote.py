"""A task on another machine: what its worker checks, receives and sends back."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import shutil
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tfinvert
from tfinvert.runs import archives
from tfinvert.settings.fields import spec
from tfinvert.system import received
from tfinvert.system.cache import cache_folder, remembered_sha256
from tfinvert.system.errors import DiskError, InputError
from tfinvert.system.files import read_text, replacing

if TYPE_CHECKING:
    from tfinvert.runs.executors import Message, Work
    from tfinvert.runs.tasks import Task

CHUNK = 2**24  # bytes of a file that are sent at a time
KEPT_SECONDS = 7 * 24 * 3600.0  # of what is not gathered, such as the checkpoints of an interrupted run
OUTPUT = "--output_dir="
MARK = ".workers-see-this"
Fetch = Callable[[str, int], bytes | None]  # a chunk of the file with a checksum, by number; None behind the last


def input_files(task: Task) -> dict[str, str]:
    """The files that a task reads on this machine: absolute path -> SHA-256."""
    files: dict[str, str] = {}
    for settings in task.runs.values():
        for field in dataclasses.fields(settings):
            value = getattr(settings, field.name)
            if not spec(field).file or value is None:
                continue
            for item in value if isinstance(value, tuple) else (value,):
                path = Path(item).expanduser().absolute()
                if path.is_file():
                    files[str(path)] = remembered_sha256(path)
    return files


def place(flags: Sequence[str]) -> Path:
    """The folder that a task's command line names."""
    return Path(next(flag for flag in flags if flag.startswith(OUTPUT)).removeprefix(OUTPUT))


def mark(folder: Path, text: str) -> dict[str, str]:
    """Leaves a mark in the folder of the results, by which workers know that they see this folder."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder.absolute() / MARK
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")
    return {"path": str(path), "text": text}


def unmark(mark: Mapping[str, str] | None) -> None:
    """Removes the mark that `mark` left, if it left one."""
    if mark:
        Path(mark["path"]).unlink(missing_ok=True)


def missing(files: Mapping[str, str]) -> list[str]:
    """The checksums of those files that are not on this machine. Workers are asked this."""
    return [checksum for path, checksum in files.items() if not _is_here(path, checksum)]


def do(work: Work, message: Message, worker: str, scratch: Path, fetch: Fetch) -> dict[str, Any]:
    """Does a task, on the worker.

    Args:
      work: what does it.
      message: what `work` takes, with the `version` of the client's program, `files` (path -> SHA-256) that it needs, `count`
        runs, and the `mark` of the folder of the results, or `gather` with the name of the client's machine.
      worker: the address of the worker, for errors.
      scratch: a folder of the worker for files that it receives.
      fetch: asks the scheduler for files.

    Returns:
      What `work` returns, with `archive` where the results are gathered. An error names the worker.
    """
    name = f"the worker {worker} on {socket.gethostname()}"
    try:
        if message["version"] != tfinvert.__version__:
            raise InputError(
                f"{name} has tfinvert {tfinvert.__version__}, and the client {message['version']}; install the same"
            )
        for path, checksum in message["files"].items():
            _receive(path, checksum, scratch, fetch, name)
        if message["gather"]:
            return _gathered(work, message)
        _check_mark(name, **message["mark"])
    except (InputError, OSError) as error:
        return {"results": [{"error": str(error)}] * message["count"], "again": True}
    return work(message)


def _check_mark(name: str, path: str, text: str) -> None:
    folder = Path(path).parent
    try:
        seen = read_text(Path(path), 1000) == text
    except OSError:
        seen = False
    if not seen:
        raise InputError(
            f"{name} does not see the folder {folder} of the client; share the folder between them, or give --gather"
        )
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f"{name} cannot write to {folder}; change its permissions, or give --gather")


def _is_here(path: str, checksum: str) -> bool:
    try:
        return remembered_sha256(received.located(Path(path))) == checksum
    except OSError:
        return False


def _receive(path: str, checksum: str, scratch: Path, fetch: Fetch, name: str) -> None:
    """Takes care that a file is on this machine."""
    if _is_here(path, checksum):
        return
    place = scratch / "received" / checksum / Path(path).name
    place.parent.mkdir(parents=True, exist_ok=True)
    digest, number = hashlib.sha256(), 0
    with replacing(place) as part, open(part, "wb") as file:
        while (chunk := fetch(checksum, number)) is not None:
            digest.update(chunk)
            file.write(chunk)
            number += 1
        if digest.hexdigest() != checksum:
            raise DiskError(f"{name} has no file {path} as the client has it; give the same command again, which sends it")
    received.keep(path, place)


def _gathered(work: Work, message: Message) -> dict[str, Any]:
    """Does a task in a folder of this machine, from which its results are sent. A task that was interrupted goes on there."""
    flag = f"{OUTPUT}{place(message['flags'])}"
    base = cache_folder() / "gathered"
    for old in base.glob("*"):
        if time.time() - old.stat().st_mtime > KEPT_SECONDS:
            shutil.rmtree(old, ignore_errors=True)
    folder = base / hashlib.sha256(f"{message['gather']} {flag}".encode()).hexdigest()[:32] / "results"
    folder.mkdir(parents=True, exist_ok=True)
    flags = [f"{OUTPUT}{folder}" if each == flag else each for each in message["flags"]]
    answer = work({**message, "flags": flags})
    answer["archive"] = archives.pack(folder)
    if not any(result.get("error") for result in answer["results"]):
        shutil.rmtree(folder.parent, ignore_errors=True)
    return answer
