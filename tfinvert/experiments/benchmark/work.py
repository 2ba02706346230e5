"""All cells of one layer, in a process of its own that has one processor: `python -m tfinvert.experiments.benchmark.work`."""

from __future__ import annotations

import contextlib
import os
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfinvert import images as image_files
from tfinvert.experiments.benchmark import methods, rivals
from tfinvert.experiments.benchmark.cells import Cell
from tfinvert.experiments.benchmark.clock import Clock, Snapshot, TimeUpError
from tfinvert.experiments.benchmark.measures import Measures, find_judge
from tfinvert.networks.load import load
from tfinvert.system import child
from tfinvert.system.errors import InputError, NonFiniteLossError

PARTS = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1, 2, 4, 8)  # of the first method's time, when the others are looked at


class Work:
    """The cells of one layer of one network.

    Args:
      message: `folder`, `network` (its name), `source` and `options` of `networks.load`, `layer`, `images` (name -> file),
        `methods`, `keys` (image name -> what identifies the target), `resize`, `seed`, `batch`, `longest`, `rivals`, `judges`
        (sources of networks that LPIPS may have weights for).
      parent: the process that started this one. It gets a message about each finished cell.
    """

    def __init__(self, message: dict[str, Any], parent: child.Parent):
        self.message, self.parent = message, parent
        self.folder, self.layer = Path(message["folder"]), message["layer"]
        self.network = load(message["source"], **message["options"])
        judge = find_judge([load(source) for source in message["judges"]])
        size, resize = self.network.size, message["resize"]
        self.targets = {name: image_files.load(file, size, resize)[0] for name, file in message["images"].items()}
        self.measures = Measures(self.network, self.layer, self.targets, judge)

    def run(self) -> None:
        """Computes every cell that is not there; the first method's cells come first, because its time is the others'."""
        first, *others = self.message["methods"]
        self._run_method(methods.find(first), (), None)
        ends = [
            figures["curve"][-1]["seconds"] for name in self.targets if (figures := self._cell(name, first).read(self.folder))
        ]
        time = statistics.median(ends) if ends else 0.0
        longest = self.message["longest"]
        times = sorted({part * time for part in (*PARTS, longest) if part <= longest})
        for name in methods.REFERENCES:
            self._run_method(methods.find(name), (), None)
        for name in others:
            self._run_method(methods.find(name), times, longest * time if time else None)

    def _cell(self, image: str, method: str) -> Cell:
        return Cell(self.message["network"], self.layer, image, methods.find(method).name)

    def _run_method(self, method: methods.Method, times: Sequence[float], limit: float | None) -> None:
        cells = {name: Cell(self.message["network"], self.layer, name, method.name) for name in self.targets}
        left = [name for name, cell in cells.items() if not self._is_there(cell)]
        batch = 1 if method.alone else self.message["batch"]
        for first in range(0, len(left), batch):
            names = left[first : first + batch]
            snapshots, problem = self._snapshots(method, names, times, limit)
            for number, name in enumerate(names):
                figures = {"key": self.message["keys"][name], **problem}
                if snapshots:
                    if limit is not None and snapshots[-1].seconds >= limit:
                        figures["cut"] = self.message["longest"]
                    figures["curve"] = [self._point(snapshot, number, name) for snapshot in snapshots]
                    self._save(cells[name], snapshots, number, times)
                elif "error" not in figures:
                    figures["error"] = problem.get("stopped", "it made no step")
                cells[name].write(self.folder, figures)
                self.parent.send(cell=[cells[name].network, self.layer, name, method.name], **figures)

    def _is_there(self, cell: Cell) -> bool:
        return cell.is_there(self.folder, self.message["keys"][cell.image], self.message["longest"])

    def _snapshots(
        self, method: methods.Method, names: Sequence[str], times: Sequence[float], limit: float | None
    ) -> tuple[list[Snapshot], dict[str, str]]:
        """What a method made of images, and why it ended before its last step, if it did."""
        seed = self.message["seed"]
        if method.packages:
            try:
                python = rivals.interpreter(self.message["rivals"], method)
                target = self.targets[names[0]][None]
                snapshots = rivals.run(method, python, self.network, self.layer, target, seed=seed, times=times, limit=limit)
            except InputError as error:
                return [], {"error": str(error)}
            return snapshots, {}
        clock = Clock(times, limit, len(names))
        features = [self.measures.target_features(name) for name in names]
        try:
            with contextlib.suppress(TimeUpError):
                method.run(methods.Task(self.network, self.layer, features, seed, clock))
        except NonFiniteLossError as error:
            return clock.snapshots, {"stopped": f"its loss is {error.loss} at step {error.step}"}
        except InputError as error:
            return [], {"error": str(error)}
        return clock.snapshots, {}

    def _point(self, snapshot: Snapshot, number: int, name: str) -> dict[str, Any]:
        place = {"step": snapshot.step, "seconds": snapshot.seconds, "wall_seconds": snapshot.wall_seconds}
        return {**place, **self.measures.figures(snapshot.images[number], name)}

    def _save(self, cell: Cell, snapshots: Sequence[Snapshot], number: int, times: Sequence[float]) -> None:
        cell.folder(self.folder).mkdir(parents=True, exist_ok=True)
        image_files.save(cell.folder(self.folder) / "target.png", self.targets[cell.image])
        image_files.save(cell.end(self.folder), snapshots[-1].images[number])
        if times:
            equal = times[PARTS.index(1)] if len(times) > PARTS.index(1) else times[-1]
            at = next((one for one in snapshots if one.seconds >= equal), snapshots[-1])
            image_files.save(cell.equal(self.folder), at.images[number])


def main() -> None:
    """The work of the process."""
    parent = child.Parent()
    message = parent.receive()
    child.end_with_parent(child.stop)
    if message is None:
        return
    if message["processor"] is not None:
        with contextlib.suppress(OSError, AttributeError):  # where a process cannot be bound to a processor
            os.sched_setaffinity(0, {message["processor"]})
    from tfinvert.optimization import precision
    from tfinvert.system.tensorflow import import_tensorflow

    import_tensorflow()
    if not any(methods.find(name).changes_weights for name in message["methods"]):
        precision.pack_weights_once()
    try:
        Work(message, parent).run()
    except InputError as error:
        parent.send(input_error=str(error))
    else:
        parent.send(finished=True)


if __name__ == "__main__":
    np.seterr(all="ignore")
    main()
