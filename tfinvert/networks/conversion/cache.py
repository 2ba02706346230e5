"""Converted networks in the cache: what an entry is named after, and whether it is still what was written there.

TensorFlow ends the process on some damaged SavedModels, so it sees an entry only if every file is the one that was written.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import importlib.metadata
import json
import logging
import os
import shutil
import time
import uuid
from pathlib import Path
from typing import Any

import filelock

from tfinvert.networks.conversion.request import Request
from tfinvert.networks.layer import Layer
from tfinvert.system.cache import cache_folder
from tfinvert.system.files import read_sealed, sha256, write_sealed

FORMAT = 13  # raised when what is written into an entry changes
DESCRIPTION = "layers.json"
ABANDONED_SECONDS = 3600.0
LARGEST_GB = 10.0  # of all entries together
log = logging.getLogger("tfinvert")


@dataclasses.dataclass(frozen=True)
class Converted:
    """A finished conversion.

    Attributes:
      folder: the model, from images [batch, height, width, 3], RGB in [0, 1], to {layer name: features}: a SavedModel by
        onnx2tf, or a .keras file.
      layers: the layers, in the order of the request.
      size: (height, width) of the image.
      request: what it was made from.
      training: who trained the weights, in words; empty where that is not known.
      converter: "onnx2tf" or "keras".
      because: why it was not onnx2tf, where either could have been.
    """

    folder: Path
    layers: tuple[Layer, ...]
    size: tuple[int, int]
    request: Request
    training: str = ""
    converter: str = "onnx2tf"
    because: str = ""

    @property
    def weights_origin(self) -> str:
        """Where the weights came from, in words."""
        if self.request.weights == "random":
            return "seeded random weights, calibrated statistics"
        training = f"{self.training}, " if self.training else ""
        return f"{Path(self.request.file or '').name} ({training}SHA-256 {(self.request.sha256 or '')[:12]})"


def entry_folder(request: Request) -> Path:
    """Where the entry of a request is: named after everything that made it, the versions of the libraries included."""
    made_by = dataclasses.asdict(request)
    for name in ("file", "preprocessing_from"):  # the checksum and the preprocessing say more
        made_by.pop(name)
    packages = ("tfinvert", "tensorflow", "keras", "onnx2tf", "onnx", "onnxruntime")
    made_by["versions"] = [FORMAT, *(f"{p}=={importlib.metadata.version(p)}" for p in packages)]
    key = hashlib.sha256(json.dumps(made_by, sort_keys=True).encode()).hexdigest()[:32]
    return cache_folder() / "converted" / key


def read_entry(folder: Path, request: Request) -> Converted | None:
    """The entry in a folder, or None where it is not there or not, to the byte, what was written."""
    try:
        entry = read_sealed(folder / DESCRIPTION)
        if _checksums(folder) != entry["files"]:
            return None
        layers = tuple(Layer(**with_tuples(layer)) for layer in entry["layers"])
        os.utime(folder / DESCRIPTION)  # it is used now
        return Converted(folder, layers, tuple(entry["size"]), request, entry["training"], entry["converter"], entry["because"])
    except (OSError, ValueError):
        return None


def describe_entry(folder: Path, made: Converted) -> None:
    """Makes a folder with a model a whole entry; raises OSError where it cannot be written."""
    entry = {
        "network": made.request.model or Path(made.request.file or "").name,
        "size": made.size,
        "training": made.training,
        "converter": made.converter,
        "because": made.because,
        "layers": [dataclasses.asdict(layer) for layer in made.layers],
        "files": _checksums(folder),
    }
    write_sealed(folder / DESCRIPTION, entry)


def keep_entry(made: Path, folder: Path, request: Request) -> None:
    """Puts a new entry in its place. Of two runs that convert one network at once, the first to finish has its entry kept."""
    with filelock.FileLock(folder.parent / ".lock"):
        if read_entry(folder, request) is None:  # not there, or damaged
            shutil.rmtree(folder, ignore_errors=True)
            os.replace(made, folder)
        trim(keep=folder)


@dataclasses.dataclass(frozen=True)
class Entry:
    """An entry of the cache.

    Attributes:
      folder: where it is.
      network: the name of the file or of the zoo's network; empty where the entry is damaged.
      layers: their names.
      converter: "onnx2tf" or "keras".
      size: in bytes.
      used: when it was last used, in seconds since 1970.
    """

    folder: Path
    network: str
    layers: tuple[str, ...]
    converter: str
    size: int
    used: float


def entries() -> list[Entry]:
    """The converted networks in the cache, the one that was last used first."""
    found = []
    for folder in (cache_folder() / "converted").glob("[!.]*"):
        with contextlib.suppress(OSError):  # another process may remove it
            size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
            entry: dict[str, Any] = {}
            used = folder.stat().st_mtime
            with contextlib.suppress(OSError, ValueError):
                entry = read_sealed(folder / DESCRIPTION)
                used = (folder / DESCRIPTION).stat().st_mtime
            names = tuple(layer["name"] for layer in entry.get("layers", ()))
            found.append(Entry(folder, entry.get("network", ""), names, entry.get("converter", ""), size, used))
    return sorted(found, key=lambda entry: entry.used, reverse=True)


def limit() -> int:
    """The most bytes that converted networks take: 10 GB, or $TFINVERT_CACHE_GB."""
    try:
        return round(float(os.environ.get("TFINVERT_CACHE_GB", LARGEST_GB)) * 1e9)
    except (ValueError, OverflowError):
        return round(LARGEST_GB * 1e9)


def trim(keep: Path | None = None, largest: int | None = None) -> int:
    """Removes the entries that were not used for longest, as long as all together are too large.

    Args:
      keep: an entry that stays.
      largest: bytes; None for `limit`.

    Returns:
      How many entries are gone.
    """
    known = entries()
    total, gone = sum(entry.size for entry in known), 0
    for entry in reversed(known):
        if total <= (limit() if largest is None else largest):
            break
        if entry.folder != keep:
            shutil.rmtree(entry.folder, ignore_errors=True)
            total, gone = total - entry.size, gone + 1
    return gone


def prepare_scratch(folder: Path) -> Path:
    """A new path beside an entry, for the process that makes it; removes what processes killed long ago have left there."""
    if folder.exists():
        log.warning("the converted network in %s is damaged; it is made again", folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    for path in folder.parent.glob(".making-*"):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > ABANDONED_SECONDS:
                shutil.rmtree(path)
    return folder.parent / f".making-{uuid.uuid4().hex}"


def with_tuples(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields of a dataclass that went through JSON, whose lists were tuples."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}


def _checksums(folder: Path) -> dict[str, str]:
    """The SHA-256 of every file of an entry, by its path."""
    files = {str(path.relative_to(folder)): path for path in sorted(folder.rglob("*")) if not path.is_dir()}
    return {name: sha256(path) for name, path in files.items() if name != DESCRIPTION}
