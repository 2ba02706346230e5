"""Files of another machine that this process has received: they keep the path that they have there, in settings and records."""

from pathlib import Path

_places: dict[str, Path] = {}  # path on the other machine -> path here


def keep(path: str, place: Path) -> None:
    """Notes that a file which is at `path` on another machine is at `place` on this one."""
    _places[path] = place


def located(path: Path) -> Path:
    """Where a file is read: at its path, or where it was received.

    Example:
      >>> located(Path("net.onnx"))
      PosixPath('net.onnx')
    """
    return _places.get(str(path), path)
