"""A side in a process of its own: `python -m tfinvert.comparison.process FOLDER` runs the task that its parent sends it.

Messages are JSON; the arrays of a message are in an .npz file in the folder.
"""

from __future__ import annotations

import dataclasses
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from tfinvert.comparison import sides
from tfinvert.comparison.settings import CompareSettings
from tfinvert.system import child
from tfinvert.system.errors import InputError, NonFiniteLossError

ARRAY = "array of the .npz file"  # in a message, the only key where an array was


def measure(task: sides.Task) -> sides.Side:
    """Runs a task in a process of its own.

    Raises:
      InputError: as `sides.measure`, or the process failed.
      NonFiniteLossError: as `sides.measure`.
    """
    with tempfile.TemporaryDirectory() as folder:
        started = time.time()
        with child.Child("tfinvert.comparison.process", folder, environment={"TF_CPP_MIN_LOG_LEVEL": "3"}) as process:
            process.send(started=started, task=_without_arrays(dataclasses.asdict(task), Path(folder, "task.npz")))
            answer = process.receive()
            if answer is None:
                code, last = process.wait(), process.last_line() or "no message"
                side = f"{task.side} {task.variant}".strip()
                raise InputError(f"the run in {side} failed (exit code {code}): {last[:300]}")
        if "input_error" in answer:
            raise InputError(answer["input_error"])
        if "non_finite" in answer:
            raise NonFiniteLossError(*answer["non_finite"])
        return sides.Side(**_with_arrays(answer["side"], Path(folder, "side.npz")))


def main(folder: Path) -> None:
    """The work of the process."""
    parent = child.Parent()
    message = parent.receive()
    child.end_with_parent(child.stop)
    if message is None:
        return
    fields = _with_arrays(message["task"], folder / "task.npz")
    names = {field.name for field in dataclasses.fields(CompareSettings)}  # an experiment's settings have more
    given = {name: value for name, value in fields["settings"].items() if name in names}
    values: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
    task = sides.Task(**{**fields, "settings": CompareSettings(**values)})
    if task.side == "tensorflow":
        from tfinvert.optimization import precision

        precision.pack_weights_once()
    try:
        side = sides.measure(task, message["started"])
    except InputError as error:
        parent.send(input_error=str(error))
    except NonFiniteLossError as error:
        parent.send(non_finite=[error.step, error.loss])
    else:
        parent.send(side=_without_arrays(dataclasses.asdict(side), folder / "side.npz"))


def _without_arrays(value: dict[str, Any], path: Path) -> dict[str, Any]:
    """Writes the arrays of nested dictionaries into a file, and gives the dictionaries with their names instead."""
    arrays: dict[str, np.ndarray] = {}

    def replace(part: Any) -> Any:
        if isinstance(part, np.ndarray):
            name = f"array{len(arrays)}"
            arrays[name] = part
            return {ARRAY: name}
        return {name: replace(inside) for name, inside in part.items()} if isinstance(part, dict) else part

    replaced = replace(value)
    np.savez(path, **arrays)
    return replaced


def _with_arrays(value: dict[str, Any], path: Path) -> dict[str, Any]:
    """The reverse of `_without_arrays`."""
    with np.load(path, allow_pickle=False) as arrays:

        def replace(part: Any) -> Any:
            if not isinstance(part, dict):
                return part
            return arrays[part[ARRAY]] if part.keys() == {ARRAY} else {name: replace(inside) for name, inside in part.items()}

        return replace(value)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
