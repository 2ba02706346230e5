"""Figures of speed and memory, each beside what it is compared with: `make bench`. Never part of the tests.

Prints a table and keeps it in bench.json. Everything that is compared is measured in one run, in turn, several times;
medians are shown, because machines are shared and noisy.
"""

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
REPEATS = 7
SEED = 0


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TFINVERT_CACHE"] = folder
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
        figures = {"machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores", **start_up(), **memory()}
        figures.update(speed("vgg16-bn", "conv3_1", "avg", 20))
        figures.update(speed("resnet18", "res2", "max", 60))
    width = max(map(len, figures))
    for name, value in figures.items():
        print(f"{name:{width}}  {value if isinstance(value, str) else f'{value:.3g}'}")
    (ROOT / "bench.json").write_text(json.dumps(figures, indent=2) + "\n")


def wall(code: str) -> float:
    """Seconds of a Python process that runs the code."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT)
    return time.perf_counter() - start


PREPARE = """
from tfinvert import cli
from tfinvert.networks import convert
config = cli.parse(['x', '--weights=random', '--layers=conv3_1'])
with convert.Conversion(convert.request_for(config, config.layers)) as conversion:
    cli._import_tensorflow()
    from tfinvert.experiments import invert
    invert.load(conversion.result(), 'network')
"""


def start_up() -> dict[str, float]:
    """Seconds to an answer, and to a network that is ready to be optimised."""
    wall("import tensorflow")  # the files are in memory from here on
    runs: dict[str, list[float]] = {name: [] for name in ("help", "flag", "import", "first", "later")}
    for _ in range(5):
        runs["help"].append(wall("from tfinvert import cli; cli.main(['x', '--help'])"))
        runs["flag"].append(wall("from tfinvert import cli; cli.main(['x', '--steps=ten'])"))
        runs["import"].append(wall("import tensorflow"))
        with tempfile.TemporaryDirectory() as cache:
            os.environ["TFINVERT_CACHE"], kept = cache, os.environ["TFINVERT_CACHE"]
            runs["first"].append(wall(PREPARE))
            runs["later"].append(wall(PREPARE))
            os.environ["TFINVERT_CACHE"] = kept
    medians = {name: statistics.median(values) for name, values in runs.items()}
    return {
        "--help (s)": medians["help"],
        "a wrong flag (s)": medians["flag"],
        "import tensorflow (s)": medians["import"],
        "first run to a verified conv3_1, import included (s)": medians["first"],
        "later run to conv3_1, beyond the import (s)": medians["later"] - medians["import"],
    }


def memory() -> dict[str, float]:
    """Peak memory of a run, the converting process included (MB), and the quickstart's figures."""
    found = {}
    for layers in ("conv3_1", "conv3_1,fc6"):
        info = run(f"--layers={layers}", "--steps=20")
        found[f"peak memory, {layers} (MB)"] = info["peak_memory_mb"]
    info = run(f"--flagfile={ROOT / 'flags' / 'quickstart.flags'}")
    found["quickstart: seconds"] = info["seconds"]
    found["quickstart: PSNR (dB)"] = info["psnr"]
    return found


def run(*flags: str) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(ROOT / "run_experiments.py"), "--weights=random", *flags, f"--output_dir={folder}/run"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return json.loads(Path(f"{folder}/run/run.json").read_text())["result"]


def speed(model: str, layer: str, pool: str, steps: int) -> dict[str, float]:
    """Steps per second of the converted network and of the same layers written by hand in Keras."""
    import keras
    import numpy as np

    from tfinvert import terms
    from tfinvert.networks import convert, network
    from tfinvert.optimize import Optimization
    from tfinvert.parameterizations import PIXELS

    request = convert.request(model=model, onnx=None, weights="random", layers=(layer,), size=None, pool=pool)
    with convert.Conversion(request) as conversion:
        converted = network.load(conversion.result(), model).model
    models = {"converted": converted, "written by hand": hand_written(model, layer)}
    start = np.random.default_rng(SEED).uniform(0, 1, (1, 224, 224, 3)).astype(np.float32)
    optimizations = {}
    for name, built in models.items():
        target = built(np.zeros_like(start))[layer]
        optimizer = keras.optimizers.Adam(1e-3, epsilon=1e-8)
        optimizations[name] = Optimization(built, [terms.feature_term(layer, target)], PIXELS["free"], start, optimizer)
    rates: dict[str, list[float]] = {name: [] for name in models}
    for repeat in range(REPEATS + 1):
        for name, optimization in optimizations.items():
            before, since = optimization.step, time.perf_counter()
            for snapshot in optimization.run(before + steps, image_every=10**9):
                if snapshot.step == before + steps - 1:
                    break
            if repeat:  # the first builds the graph
                rates[name].append(steps / (time.perf_counter() - since))
    medians = {name: statistics.median(values) for name, values in rates.items()}
    ratio = statistics.median(a / b for a, b in zip(*rates.values(), strict=True))
    label = f"{model} {layer}"
    return {**{f"{label}, {name} (steps/s)": value for name, value in medians.items()}, f"{label}, ratio": ratio}


def hand_written(model: str, layer: str):
    """The network up to the layer as one would write it in Keras, batch norms folded."""
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


if __name__ == "__main__":
    main()
