"""Time to a first answer and to a network that is ready, memory of whole runs, and the converted network beside one by hand."""

import functools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tests.bench import ROOT
from tests.bench.orders import SEED
from tests.bench.workers import REPEATS

if TYPE_CHECKING:
    import keras

PREPARE = """
from tfinvert import cli
from tfinvert.networks.load import from_settings
from tfinvert.system.tensorflow import import_tensorflow
_, settings = cli.parse(['--weights=random', '--layers=conv3_1'])
network = from_settings(settings)
network.prepare(settings.layers)
import_tensorflow()
network.cut(settings.layers)
"""


def measure() -> dict[str, float]:
    """Every figure of this file, by name."""
    return {
        **measure_start(),
        **measure_runs(),
        **compare_by_hand("vgg16-bn", "conv3_1", "avg", 20),
        **compare_by_hand("resnet18", "res2", "max", 60),
    }


def measure_start() -> dict[str, float]:
    """Seconds to an answer, and to a network that is ready to be optimized."""
    _time("import tensorflow")  # the files are in memory from here on
    seconds: dict[str, list[float]] = {name: [] for name in ("help", "flag", "import", "first", "later")}
    for _ in range(5):
        seconds["help"].append(_time("from tfinvert import cli; cli.main(['x', '--help'])"))
        seconds["flag"].append(_time("from tfinvert import cli; cli.main(['x', '--steps=ten'])"))
        seconds["import"].append(_time("import tensorflow"))
        with tempfile.TemporaryDirectory() as cache:
            seconds["first"].append(_time(PREPARE, TFINVERT_CACHE=cache))
            seconds["later"].append(_time(PREPARE, TFINVERT_CACHE=cache))
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    return {
        "--help (s)": medians["help"],
        "a wrong flag (s)": medians["flag"],
        "import tensorflow (s)": medians["import"],
        "first run to a verified conv3_1, import included (s)": medians["first"],
        "later run to conv3_1, beyond the import (s)": medians["later"] - medians["import"],
    }


def _time(code: str, **environment: str) -> float:
    """Seconds of a Python process that runs the code."""
    command, started = [sys.executable, "-c", code], time.perf_counter()
    subprocess.run(command, check=True, cwd=ROOT, env={**os.environ, **environment}, capture_output=True)
    return time.perf_counter() - started


def measure_runs() -> dict[str, float]:
    """Peak memory of runs, the converting process included (MB), and the quickstart's figures."""
    figures = {}
    for layers in ("conv3_1", "conv3_1,fc6"):
        figures[f"peak memory, {layers} (MB)"] = _run(f"--layers={layers}", "--steps=20")["peak_memory_mb"]
    quickstart = _run(f"--flagfile={ROOT / 'flags' / 'quickstart.flags'}")
    return {**figures, "quickstart: seconds": quickstart["seconds"], "quickstart: PSNR (dB)": quickstart["psnr"]}


def _run(*flags: str) -> dict[str, float]:
    """The figures of a run."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(ROOT / "run_experiments.py"), "--weights=random", *flags, f"--output_dir={folder}/run"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return json.loads(Path(folder, "run", "run.json").read_text())["result"]


def compare_by_hand(model: str, layer: str, pool: str, steps: int) -> dict[str, float]:
    """Steps per second of the converted network and of the same layers written by hand in Keras."""
    import keras

    from tfinvert.images import parameterizations
    from tfinvert.networks.load import load
    from tfinvert.objectives import terms
    from tfinvert.optimization.solver import Solver
    from tfinvert.optimization.state import Problem, init

    models = {"converted": load(model, weights="random", pool=pool).cut(layer), "written by hand": write_by_hand(model, layer)}
    initial = np.random.default_rng(SEED).uniform(0, 1, (1, 224, 224, 3)).astype(np.float32)
    solvers = {}
    for name, built in models.items():
        target = built(np.zeros_like(initial))[layer]
        problem = Problem(
            built,
            tuple(terms.match({layer: target}, loss="mse")),
            parameterizations.parameterization("free", (224, 224)),
            functools.partial(keras.optimizers.Adam, 1e-3, epsilon=1e-8),
        )
        solvers[name] = Solver([problem], [init(problem, initial)])
    rates: dict[str, list[float]] = {name: [] for name in models}
    for repeat in range(REPEATS + 1):
        for name, solver in solvers.items():
            before, since = solver.step, time.perf_counter()
            for (snapshot,) in solver.run(before + steps, image_every=10**9):
                if snapshot.step == before + steps - 1:
                    break
            if repeat:  # the first builds the graph
                rates[name].append(steps / (time.perf_counter() - since))
    medians = {name: statistics.median(values) for name, values in rates.items()}
    ratio = statistics.median(a / b for a, b in zip(*rates.values(), strict=True))
    label = f"{model} {layer}"
    return {**{f"{label}, {name} (steps/s)": value for name, value in medians.items()}, f"{label}, ratio": ratio}


def write_by_hand(model: str, layer: str) -> "keras.Model":
    """The network up to the layer as one would write it in Keras, with batch norms folded."""
    import keras

    layers = keras.layers
    image = keras.Input((224, 224, 3))
    value = layers.Rescaling([1 / 0.229, 1 / 0.224, 1 / 0.225], [-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225])(image)
    if model == "vgg16-bn":
        for width, depth in ((64, 2), (128, 2), (256, 1)):
            for _ in range(depth):
                value = layers.Conv2D(width, 3, padding="same", activation="relu")(value)
            if width < 256:
                value = layers.AveragePooling2D(2)(value)
    else:
        value = layers.Conv2D(64, 7, strides=2, activation="relu")(layers.ZeroPadding2D(3)(value))
        value = layers.MaxPooling2D(3, 2)(layers.ZeroPadding2D(1)(value))
        for _ in range(2):
            branch = layers.Conv2D(64, 3, padding="same", activation="relu")(value)
            branch = layers.Conv2D(64, 3, padding="same")(branch)
            value = layers.ReLU()(layers.Add()([branch, value]))
    return keras.Model(image, {layer: value})
