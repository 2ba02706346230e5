"""Files that appear whole under their name, or not at all."""

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path to write to, which takes the place of `path` at the end; of what fails on the way nothing is left."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Writes a text file, in UTF-8."""
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")


def reason(error: Exception) -> str:
    """Why something could not be written, in the words of the system; TensorFlow's come with names of its own around them."""
    said = getattr(error, "strerror", None) or getattr(error, "message", None) or str(error)
    return re.sub(r" \[Op:\w+\]$", "", " ".join(said.split())).rpartition("; ")[2][:200]
