"""Run directories as programs write them, step by step and in large numbers.

python -m tests.reports.viewer.writing FOLDER [COUNT]    # COUNT runs (2000), some of them damaged, for a look at the viewer
"""

import json
import os
import sys
import time
from pathlib import Path

import numpy as np

from tfinvert.images import files as images
from tfinvert.runs.directory import RunDirectory

SIDE = 32  # pixels
TARGET = np.random.default_rng(0).uniform(0, 1, (SIDE, SIDE, 3)).astype(np.float32)


def begin(folder, *, layer="res2", network="resnet18", steps=100, experiment="invert", stride=4, **flags):
    """Begins a run: its settings, run.json and its target."""
    run = RunDirectory(Path(folder))
    flags = {"experiment": experiment, "model": network, "layers": layer, "image": "chelsea", "steps": steps, **flags}
    about = {"name": layer, "shape": [SIDE // stride, SIDE // stride, 64], "stride": [stride] * 2}
    info = {
        "experiment": experiment,
        "network": network,
        "weights": "random",
        "pool": "max",
        "image": "chelsea",
        "layers": {layer: {**about, "receptive_field": [8 * stride] * 2}},
        "versions": {"tfinvert": "0.2.0", "python": "3.11"},
    }
    run.create("".join(f"--{name}={value}\n" for name, value in flags.items()), info, resume=False)
    images.save(run.target, TARGET)
    return run


def step(run, number, steps=100):
    """Writes the line and the image of a step: the target comes out of gray."""
    part = number / steps
    images.save(run.image_path(number), part * TARGET + (1 - part) * 0.5)
    line = {"step": number, "loss": 2 - part, "res2": 1.5 - part, "tv": 0.5, "learning_rate": 0.1, "psnr": 10 + 20 * part}
    run.append_metrics(line)


def end(run, psnr=30.0):
    """Writes the result."""
    images.save(run.final, TARGET)
    figures = {"psnr": psnr, "ssim": psnr / 50, "normalized_feature_error": 1 / psnr, "seconds": 3.5}
    run.write_info({**run.read_info(), "result": figures})


def whole(folder, *, psnr=30.0, count=3, **options):
    """A finished run with a few steps."""
    run = begin(folder, **options)
    for number in np.linspace(0, 100, count).astype(int):
        step(run, int(number))
    end(run, psnr)
    return run


def sweep(folder, network="resnet18", layers=("conv1", "res1", "res2", "res3")):
    """A sweep whose deeper layers keep less, and which layers read which."""
    for place, layer in enumerate(layers):
        whole(Path(folder) / layer, layer=layer, network=network, stride=2**place, psnr=40.0 - 8 * place)
    reads = {layer: list(layers[max(place - 2, 0) : place]) for place, layer in enumerate(layers)}
    (Path(folder) / "graph.json").write_text(json.dumps(reads))


DAMAGES = (
    lambda run: run.info.write_bytes(b'{"experiment": "inv'),
    lambda run: run.info.write_text('{"layers": [1], "network": 3, "result": {"psnr": NaN, "x": [[[[[[[[1]]]]]]]]}}'),
    lambda run: run.info.write_text("[" * 100_000),
    lambda run: run.metrics.write_text('{"step": 1, "psnr": Infinity}\n{"step": "x"}\n\x00\xff{"step'),
    lambda run: run.final.write_bytes(b"\x89PNG damaged"),
    lambda run: (run.info.unlink(), run.info.mkdir()),
    lambda run: (run.target.unlink(), run.target.symlink_to("/etc/passwd")),
    lambda run: (run.metrics.unlink(), os.mkfifo(run.metrics)),
    lambda run: run.flags.write_bytes(b"--\xff=\xfe\n--steps=1e9999\n--layers=\n=\n"),
    lambda run: run.info.write_text(json.dumps({"network": "<img src=x onerror=alert(1)>", "stopped": "</script><b>" * 9})),
)


def many(folder, count=2000):
    """Many runs in folders of a hundred, one in twenty of them damaged. The files of the first are shared by links."""
    model = whole(Path(folder) / "model", count=5)
    files = [path for path in model.path.rglob("*") if path.is_file() and not path.name.startswith(".")]
    for number in range(count - 1):
        run = RunDirectory(Path(folder) / f"group-{number // 100}" / f"run-{number:04d}")
        run.images.mkdir(parents=True)
        for path in files:
            place = run.path / path.relative_to(model.path)
            if path.suffix == ".png":
                os.link(path, place)
            else:
                place.write_bytes(path.read_bytes())
        if number % 20 == 0:
            for path in (run.target, run.final):
                path.unlink()
                path.write_bytes(model.final.read_bytes())
            DAMAGES[number // 20 % len(DAMAGES)](run)


def slowly(folder, steps=40, seconds=0.15):
    """A run that goes on for a while."""
    run = begin(folder)
    for number in range(0, 100, max(100 // steps, 1)):
        time.sleep(seconds)
        step(run, number)
    end(run)


if __name__ == "__main__":
    many(sys.argv[1], *map(int, sys.argv[2:]))
