"""What a port can check itself against: named arrays in reference.npz, and reference.json, which says what they are.

A port's own numbers have the same names, any subset of them, in an .npz file.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tfinvert.system.errors import InputError
from tfinvert.system.files import read_text, write_text

ARRAYS, DESCRIPTION = "reference.npz", "reference.json"
LARGEST = 2**30  # bytes of a port's file
Bundle = dict[str, np.ndarray]
# Name, or the part of it before the slash -> (layout, range, what it is), in the order in which a run computes them.
NAMES = {
    "target": ("[1, height, width, RGB]", "0 to 1", "the image whose features are matched"),
    "start": ("[1, height, width, RGB]", "0 to 1", "the image before the first update"),
    "input": ("[1, height, width, channels]", "as the network takes it", "the start after preprocessing"),
    "features": ("[1, height, width, channels] or [1, channels]", "any", "the features of the start at a layer"),
    "target_features": ("[1, height, width, channels] or [1, channels]", "any", "the features of the target at a layer"),
    "terms": ("scalar", "any", "a term of the loss at the start, without its weight"),
    "gradient": ("[1, height, width, RGB]", "any", "the gradient of the loss with respect to the pixels of the start"),
    "learning_rates": ("[updates]", "above 0", "the learning rate of each update"),
    "losses": ("[updates + 1]", "any", "the loss before each update, and after the last"),
    "images": ("[1, height, width, RGB]", "not clipped", "the image after as many updates as its name says"),
    "spread": (
        "[updates + 1], or a scalar",
        "0 or more",
        "the relative difference to the same run from a start that is moved by 1e-7: what rounding does",
    ),
}


def kind(name: str) -> str:
    """The key of `NAMES` for the name of an array."""
    return name.partition("/")[0]


def order(name: str) -> int:
    """Where an array stands in the order of a run."""
    return list(NAMES).index(kind(name))


def write(folder: Path, arrays: Mapping[str, np.ndarray], about: Mapping[str, Any]) -> None:
    """Writes reference.npz and reference.json.

    Args:
      folder: it exists.
      arrays: name -> values, each name one of `NAMES`, or one of them with a slash and more.
      about: what reference.json says beside the arrays.
    """
    np.savez(folder / ARRAYS, **arrays)
    described = {}
    for name, array in arrays.items():
        layout, values, meaning = NAMES[kind(name)]
        described[name] = {
            "shape": list(array.shape),
            "dtype": str(array.dtype),
            "layout": layout,
            "range": values,
            "meaning": meaning,
        }
    write_text(folder / DESCRIPTION, json.dumps({**about, "arrays": described}, indent=1) + "\n")


def read_reference(folder: Path) -> Bundle:
    """The arrays of a reference; raises InputError where there is none, or it is damaged."""
    if not (folder / ARRAYS).is_file():
        raise InputError(f"there is no {ARRAYS} in {folder}; expected a folder that --experiment=reference has written")
    return read_arrays(folder / ARRAYS)


def read_description(folder: Path) -> dict[str, Any]:
    """What reference.json says; raises InputError where it cannot be read."""
    try:
        found = json.loads(read_text(folder / DESCRIPTION))
    except (OSError, ValueError, RecursionError):
        raise InputError(f"{folder / DESCRIPTION} cannot be read; write the reference again") from None
    if not isinstance(found, dict) or not isinstance(found.get("flags"), list):
        raise InputError(f"{folder / DESCRIPTION} has no flags; write the reference again")
    return found


def read_arrays(path: Path) -> Bundle:
    """The arrays of an .npz file as float32 (losses as float64), by name.

    Raises:
      InputError: the file cannot be read, has no name of a reference, or an array is not of numbers.
    """
    try:
        if path.stat().st_size > LARGEST:
            raise InputError(f"{path} has {path.stat().st_size / 2**20:.0f} MB; expected at most {LARGEST / 2**20:.0f} MB")
        with np.load(path, allow_pickle=False) as file:
            known = [name for name in file.files if kind(name) in NAMES]
            arrays = {name: file[name] for name in known}
            names = list(file.files)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, AttributeError) as error:
        raise InputError(
            f"{path} cannot be read as an .npz file of plain arrays: {' '.join(str(error).split())[:200]}"
        ) from None
    if not arrays:
        raise InputError(f"{path} has the names {', '.join(names)[:200] or 'of nothing'}; expected some of {', '.join(NAMES)}")
    for name, array in arrays.items():
        if array.dtype.kind not in "fiub":
            raise InputError(f"{name} in {path} is {array.dtype}; expected numbers")
        arrays[name] = as_float(name, array)
    return arrays


def as_float(name: str, array: Any) -> np.ndarray:
    """Numbers in the type that they are compared in. Images of whole numbers from 0 to 255 are brought to 0 to 1."""
    array = np.asarray(array)
    if kind(name) in ("start", "target", "images") and array.dtype == np.uint8:
        return array.astype(np.float32) / np.float32(255)
    return array.astype(np.float64 if kind(name) in ("losses", "terms", "learning_rates") else np.float32)


def aligned(name: str, array: np.ndarray, expected: tuple[int, ...]) -> np.ndarray:
    """An array in the shape of the reference, where only a batch axis is missing or the channels come first."""
    if array.ndim == len(expected) - 1:
        array = array[None]
    if array.shape != expected and array.ndim == 4 == len(expected):
        last = array.transpose(0, 2, 3, 1)
        return last if last.shape == expected else array
    return array
