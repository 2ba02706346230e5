"""Rivals run by their own code: a process of another Python environment, on the same ONNX graph, run by PyTorch.

`python -m tfinvert.experiments.benchmark.rivals FOLDER` is that process. Of tfinvert it imports nothing that needs TensorFlow.
The folder has task.json, image.npy and graph.onnx before, and result.npz after it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfinvert.experiments.benchmark import methods
from tfinvert.experiments.benchmark.clock import Clock, Snapshot, TimeUpError
from tfinvert.system import child
from tfinvert.system.errors import InputError

MODULE = "tfinvert.experiments.benchmark.rivals"
ONE_PROCESSOR = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def interpreter(environments: str | None, method: methods.Method) -> Path:
    """The Python of a rival: FOLDER/NAME/bin/python, or FOLDER/bin/python for one environment of all rivals.

    Raises:
      InputError: there is none; the message says what makes it.
    """
    name, packages = method.name, " ".join(method.packages)
    if environments is None:
        raise InputError(f"the method {name} needs --rivals, a folder with a Python environment that has {packages}")
    folder = Path(environments)
    for place in (folder / name, folder):
        for python in (place / "bin" / "python", place / "Scripts" / "python.exe"):
            if python.exists():
                return python.absolute()  # not resolved: a link is how an environment knows where it is
    place = folder / name
    raise InputError(f"{place} is no Python environment; make it: python -m venv {place} && {place}/bin/pip install {packages}")


def run(
    method: methods.Method,
    python: Path,
    network: Any,
    layer: str,
    image: np.ndarray,
    *,
    seed: int,
    times: Sequence[float],
    limit: float | None,
) -> list[Snapshot]:
    """Runs a rival.

    Args:
      method: the rival.
      python: the interpreter of its environment.
      network: the tfinvert.Network.
      layer: whose features are inverted.
      image: the target image, [1, height, width, 3].
      seed: of the rival's random numbers.
      times, limit: as for `Clock`.

    Raises:
      InputError: the network is no ONNX graph or has operators that the port to PyTorch lacks, or the process failed.
    """
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        task = {
            "method": method.key,
            "seed": seed,
            "times": list(times),
            "limit": limit,
            **_write_graph(network, layer, folder),
        }
        (folder / "task.json").write_text(json.dumps(task), encoding="utf-8")
        np.save(folder / "image.npy", image)
        with child.Child(MODULE, scratch, python=python, environment=ONE_PROCESSOR, answers=False) as process:
            if process.wait() != 0:
                raise InputError(f"{method.name} failed: {process.last_line()[:300] or 'no message'}")
        with np.load(folder / "result.npz", allow_pickle=False) as result:
            columns = (result[field.name] for field in dataclasses.fields(Snapshot))
            return [Snapshot(int(a), float(b), float(c), d) for a, b, c, d in zip(*columns, strict=True)]


def _write_graph(network: Any, layer: str, folder: Path) -> dict[str, Any]:
    """Writes the folded graph as an .onnx file; returns what the rival has to know of it."""
    from tfinvert.comparison import known
    from tfinvert.networks import onnx as graphs
    from tfinvert.networks.conversion.request_graph import cut_graph, folded, with_weights

    request = dataclasses.replace(network.request, layers=(layer,))
    part, tensors = cut_graph(request)
    graph, preparation = folded(request, with_weights(request, part))
    known.check_operators(graph)
    graphs.write(graph, folder / "graph.onnx")
    return {"layers": tensors, "preparation": dataclasses.asdict(preparation)}


def main(folder: Path) -> None:
    """The work of the process."""
    import torch

    from tfinvert.comparison.pytorch.network import TorchNetwork
    from tfinvert.networks import onnx as graphs
    from tfinvert.networks.preprocessing import Preprocessing

    task = json.loads((folder / "task.json").read_text(encoding="utf-8"))
    torch.set_num_threads(1)
    torch.manual_seed(task["seed"])
    port = TorchNetwork(graphs.read(folder / "graph.onnx"), task["layers"], Preprocessing(**task["preparation"]))
    image = torch.tensor(np.load(folder / "image.npy", allow_pickle=False)).permute(0, 3, 1, 2).contiguous()
    clock = Clock(task["times"], task["limit"])
    with contextlib.suppress(TimeUpError):
        methods.find(task["method"]).run(methods.TorchTask(_module(port), image, task["seed"], clock))
    columns = {
        field.name: np.array([getattr(snapshot, field.name) for snapshot in clock.snapshots])
        for field in dataclasses.fields(Snapshot)
    }
    np.savez(folder / "result.npz", **columns)


def _module(port: Any) -> Any:
    """The port as a torch.nn.Module with channels before rows, as the rivals expect it."""
    import torch

    (layer,) = port.layers

    class Network(torch.nn.Module):
        def forward(self, image: Any) -> Any:
            features = port(image.permute(0, 2, 3, 1))[layer]
            return features.permute(0, 3, 1, 2) if features.ndim == 4 else features

    return Network().eval()


if __name__ == "__main__":
    child.end_with_parent(child.stop)
    os.environ.setdefault("MPLBACKEND", "agg")
    main(Path(sys.argv[1]))
