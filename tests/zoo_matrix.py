"""Tries files of networks, each in a process of its own, and writes a table.

`python -m tests.zoo_matrix FILE... [--table=FILE]` converts each file at all layers that have a name, and inverts an early, a
middle and a late layer for 30 steps. `--converter=keras` or `onnx2tf` takes one converter alone.

`python -m tests.zoo_matrix --make=FOLDER NAME...` first exports networks of torchvision by name, with random weights, by both
of PyTorch's exporters. torchvision is not among the requirements of the tests.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SECONDS = 900  # for one file
STEPS = 30
COLUMNS = ("file", "converter", "layers", "largest error", "inverted", "steps/s", "seconds", "MB")


def make(folder: Path, names: list[str]) -> list[Path]:
    """Exports networks of torchvision; returns the files."""
    import torch
    import torchvision

    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for name in names:
        torch.manual_seed(0)
        options = {"init_weights": True} if name in ("googlenet", "inception_v3") else {}
        module = torchvision.models.get_model(name, weights=None, **options).eval()
        side = 299 if name == "inception_v3" else 224
        for exporter in ("old", "new"):
            path = folder / f"{name}.{exporter}.onnx"
            if not path.exists():
                torch.onnx.export(module, (torch.zeros(1, 3, side, side),), str(path), dynamo=exporter == "new")
            made.append(path)
    return made


def one(path: str, converter: str) -> dict:
    """Converts and inverts a network; returns what the table says of it."""
    import numpy as np

    import tfinvert

    network = tfinvert.load(path, converter=converter)
    names = [name for name, layer in network.layers.items() if layer.stride is not None] or list(network.layers)
    layers = [network.layer(name) for name in network.layers] if network.prepare(network.layers) is None else []
    chosen = [names[0], names[len(names) // 2], names[-1]]
    fell, rates = 0, []
    for name in dict.fromkeys(chosen):
        started = time.monotonic()
        result = tfinvert.invert("astronaut", network, layers=name, steps=STEPS, save_every=1, progress=False)
        losses = [line["loss"] for line in result.history]
        fell += bool(np.isfinite(losses).all() and losses[-1] < losses[0])
        rates.append(STEPS / (time.monotonic() - started))
    return {
        "converter": network.provenance()["converter"],
        "layers": len(layers),
        "largest error": f"{max(layer.error for layer in layers):.1e}",
        "inverted": f"{fell} of {len(dict.fromkeys(chosen))}",
        "steps/s": f"{np.mean(rates):.1f}",
    }


def tried(path: Path, converter: str) -> dict:
    """The row of a file, by a process of its own."""
    command = [sys.executable, "-m", "tests.zoo_matrix", "--one", f"--converter={converter}", str(path)]
    started = time.monotonic()
    with tempfile.TemporaryFile("w+") as said, tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(command, cwd=ROOT, stdout=said, stderr=log)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        log.seek(0)
        row = (
            json.loads(said.read().splitlines()[-1])
            if process.returncode == 0
            else {"converter": f"refused: {_last(log.read())}"}
        )
    return {"file": path.name, **row, "seconds": f"{time.monotonic() - started:.0f}", "MB": f"{used.ru_maxrss / 2**10:.0f}"}


def _last(text: str) -> str:
    return (text.strip().splitlines() or ["no message"])[-1][:200]


def table(rows: list[dict]) -> str:
    """The rows in Markdown."""
    lines = [COLUMNS, ("---",) * len(COLUMNS), *([str(row.get(column, "-")) for column in COLUMNS] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="+")
    parser.add_argument("--make")
    parser.add_argument("--one", action="store_true")
    parser.add_argument("--table")
    parser.add_argument("--converter", default="auto")
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(one(arguments.names[0], arguments.converter)))
        return
    paths = (
        make(Path(arguments.make), arguments.names) if arguments.make else [Path(name).absolute() for name in arguments.names]
    )
    rows = []
    for path in paths:
        rows.append(tried(path, arguments.converter))
        print(rows[-1], file=sys.stderr, flush=True)
        if arguments.table:
            Path(arguments.table).write_text(table(rows), encoding="utf-8")
    print(table(rows))


if __name__ == "__main__":
    main()
