"""Names of files below a folder: what a request may name, and what it may not."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

ROOT = "."  # the name of the folder itself


def inside(folder: Path, name: str) -> Path | None:
    """The path below `folder` that a name such as "sweep/res2/final.png" means; None where it may not be read.

    A name leads nowhere else: it has no "..", no empty part, no backslash and no hidden file, and no part of it is a link.
    """
    if name == ROOT:
        return folder
    parts = name.split("/")
    if any(not part or part.startswith(".") or "\\" in part or "\0" in part for part in parts):
        return None
    path = folder
    for part in parts:
        path = path / part
        try:
            if stat.S_ISLNK(path.lstat().st_mode):
                return None
        except (OSError, ValueError):
            return None
    return path


def opened(folder: Path, name: str) -> BinaryIO | None:
    """The regular file of this name below `folder`, open for reading; None where there is none that may be read."""
    path = inside(folder, name)
    if path is None:
        return None
    try:  # No link is followed that has come since, and no pipe is waited for.
        number = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    if not stat.S_ISREG(os.fstat(number).st_mode):
        os.close(number)
        return None
    return os.fdopen(number, "rb")
