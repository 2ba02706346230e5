"""Files that appear whole under their name or not at all, and JSON files that carry their own checksum."""

import contextlib
import errno
import hashlib
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

LARGEST_TEXT = 2**26  # bytes


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a path to write to. At the end that file replaces `path`; if writing fails, nothing is left of it."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Writes a text file in UTF-8, whole or not at all."""
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")


def reason(error: Exception) -> str:
    """Why a file could not be written, in the system's words. TensorFlow wraps names of its own around them."""
    message = (getattr(error, "strerror", None) or getattr(error, "message", None) or str(error)).strip().partition("\n")[0]
    return re.sub(r" \[Op:\w+\].*", "", " ".join(message.split())).rpartition("; ")[2][:200]


def regular(path: Path) -> Path:
    """Returns the path. Raises OSError for a directory, a pipe or a device: reading one of those may never end."""
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "it is a directory" if path.is_dir() else "it is no regular file", str(path))
    return path


def read_text(path: Path, largest: int = LARGEST_TEXT) -> str:
    """Reads a text file in UTF-8. Bytes that are no UTF-8 become replacement characters.

    Raises:
      OSError: the file does not exist, is no regular file, or has more than `largest` bytes.
    """
    check_size(path, largest)
    return path.read_text(encoding="utf-8", errors="replace")


def read_bytes(path: Path, largest: int = LARGEST_TEXT) -> bytes:
    """Reads a file; raises OSError as `read_text` does."""
    check_size(path, largest)
    return path.read_bytes()


def check_size(path: Path, largest: int) -> None:
    """Raises OSError where the file does not exist, is no regular file, or has more than `largest` bytes."""
    size = regular(path).stat().st_size
    if size > largest:
        raise OSError(errno.EFBIG, f"it has {size} bytes, more than {largest}", str(path))


def read_end(path: Path, largest: int) -> str:
    """Reads the last `largest` bytes of a text file, as `read_text` reads a whole one. Raises OSError likewise."""
    with open(regular(path), "rb") as file:
        file.seek(0, os.SEEK_END)
        file.seek(max(file.tell() - largest, 0))
        return file.read(largest).decode("utf-8", errors="replace")


def write_sealed(path: Path, value: Any) -> None:
    """Writes a value as JSON together with its checksum."""
    write_text(path, json.dumps({"sha256": _digest(value), "value": value}, indent=1))


def read_sealed(path: Path) -> Any:
    """Reads a value that `write_sealed` wrote.

    Raises:
      OSError: the file cannot be read.
      ValueError: the file is not as it was written.
    """
    try:
        content = json.loads(read_text(path))
        if content["sha256"] == _digest(content["value"]):
            return content["value"]
    except (KeyError, TypeError, RecursionError):
        pass
    raise ValueError(f"{path} is damaged")


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
