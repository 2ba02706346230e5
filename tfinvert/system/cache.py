"""The cache folder of this program, and facts about files that are remembered there."""

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import platformdirs

from tfinvert.system.files import read_sealed, sha256, write_sealed
from tfinvert.system.notices import warn_once


def cache_folder() -> Path:
    """$TFINVERT_CACHE, else the user's cache folder, else a temporary folder where neither can be written."""
    for folder in (os.environ.get("TFINVERT_CACHE"), platformdirs.user_cache_dir("tfinvert")):
        if folder:
            with contextlib.suppress(OSError):
                path = Path(folder)
                path.mkdir(parents=True, exist_ok=True)
                if os.access(path, os.W_OK | os.X_OK):
                    return path
    path = Path(tempfile.gettempdir()) / f"tfinvert-{os.getuid() if hasattr(os, 'getuid') else 'cache'}"
    path.mkdir(mode=0o700, exist_ok=True)
    if path.is_symlink() or path.stat().st_uid != os.getuid():
        path = Path(tempfile.mkdtemp(prefix="tfinvert-"))
    warn_once(f"the cache folder cannot be written; converted networks are kept in {path} (set TFINVERT_CACHE)")
    return path


def remembered_sha256(path: Path) -> str:
    """SHA-256 of a file, remembered for as long as its size and times do not change (half a second for VGG16)."""
    return remembered(path, "sha256", sha256)


def remembered(path: Path, what: str, compute: Callable[[Path], Any]) -> Any:
    """A fact about a file, as JSON keeps it, remembered for as long as the file's size and times do not change.

    Args:
      path: the file.
      what: the fact, in a word.
      compute: reads it from the file.
    """
    status = path.stat()
    identity = [what, str(path.resolve()), status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]
    name = hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:32]
    memo = cache_folder() / "checksums" / name
    with contextlib.suppress(OSError, ValueError):
        known, fact = read_sealed(memo)
        if known == identity:
            return fact
    fact = compute(path)
    with contextlib.suppress(OSError):
        memo.parent.mkdir(parents=True, exist_ok=True)
        write_sealed(memo, [identity, fact])
    return fact
