"""Figures of speed and memory, each beside what it is compared with: `make bench`. Never part of the tests.

Prints tables and keeps their figures in bench.json, with a chart in bench.png. Everything that is compared is measured in
one run, in turn, several times; medians are shown, because machines are shared and noisy.

`python -m tests.bench start speed scale sweep` measures some of it. `python -m tests.bench one_thread` is for a machine that is
never quiet: it has each side run on one thread, where the processor time of a step does not depend on who else computes.
"""

import contextlib
import dataclasses
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
REPEATS = 7
SECONDS = 1.0  # that each side runs in each repeat, roughly
SEED = 0
# Network, layer, pooling.
CASES = [
    ("vgg16-bn", "conv1_1", "avg"),
    ("vgg16-bn", "conv3_1", "avg"),
    ("vgg16-bn", "pool5", "avg"),
    ("resnet18", "res2", "max"),
]
VARIANTS = ("eager", "channels_last", "compile")
# Pictures in a step, pixels a side, threads (0 for all).
BATCHES = (1, 4, 8)  # of the eight pictures of a sweep
SCALE = [(1, 112, 0), (4, 112, 0), (16, 112, 0), (1, 224, 0), (4, 224, 0), (16, 224, 0), (1, 512, 0), (4, 512, 0), (1, 224, 1)]


def main(parts: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TFINVERT_CACHE"] = folder
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
        file = ROOT / "bench.json"
        figures = json.loads(file.read_text()) if parts and file.exists() else {}
        figures["machine"] = f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores"
        if not parts or "start" in parts:
            figures.update({**start_up(), **memory()})
            figures.update(by_hand("vgg16-bn", "conv3_1", "avg", 20))
            figures.update(by_hand("resnet18", "res2", "max", 60))
        if not parts or "speed" in parts:
            for case in CASES:
                figures[" ".join(case)] = speed(*case)
        if "one_thread" in parts:
            for case in CASES:
                figures[f"{' '.join(case)}, one thread"] = speed(*case, threads=1)
        if not parts or "scale" in parts:
            figures["scale"] = scale()
            draw(figures["scale"])
        if not parts or "sweep" in parts:
            figures["sweep"] = sweep()
        show(figures)
        file.write_text(json.dumps(figures, indent=2) + "\n")


def show(figures: dict) -> None:
    """Prints plain figures, then a table for each part."""
    plain = {name: value for name, value in figures.items() if not isinstance(value, (dict, list))}
    width = max(map(len, plain))
    for name, value in plain.items():
        print(f"{name:{width}}  {value if isinstance(value, str) else f'{value:.3g}'}")
    for name, value in figures.items():
        if isinstance(value, dict):
            value = [{"": row, **cells} for row, cells in value.items()]
        if isinstance(value, list):
            print(f"\n{name}\n{table(value)}")


def table(rows: list[dict]) -> str:
    """Rows as Markdown."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = [names, ["---"] * len(names)]
    lines += [[f"{v:.4g}" if isinstance(v, float) else str(v) for v in (row.get(n, "") for n in names)] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def wall(code: str) -> float:
    """Seconds of a Python process that runs the code."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT)
    return time.perf_counter() - start


PREPARE = """
from tfinvert import cli
from tfinvert.networks.conversion import convert
config = cli.parse(['x', '--weights=random', '--layers=conv3_1'])
with convert.Conversion(convert.request_for(config, config.layers)) as conversion:
    cli._import_tensorflow()
    from tfinvert.experiments import invert
    invert.load(conversion.result(), 'network')
"""


def start_up() -> dict[str, float]:
    """Seconds to an answer, and to a network that is ready to be optimized."""
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


def by_hand(model: str, layer: str, pool: str, steps: int) -> dict[str, float]:
    """Steps per second of the converted network and of the same layers written by hand in Keras."""
    import keras

    from tfinvert.images import parameterizations
    from tfinvert.networks import network
    from tfinvert.networks.conversion import convert
    from tfinvert.objectives import terms
    from tfinvert.optimization.step import Optimization

    request = convert.request(model=model, onnx=None, weights="random", layers=(layer,), size=None, pool=pool)
    with convert.Conversion(request) as conversion:
        converted = network.load(conversion.result(), model).model
    models = {"converted": converted, "written by hand": hand_written(model, layer)}
    start = np.random.default_rng(SEED).uniform(0, 1, (1, 224, 224, 3)).astype(np.float32)
    optimizations = {}
    for name, built in models.items():
        target = built(np.zeros_like(start))[layer]
        optimizer = keras.optimizers.Adam(1e-3, epsilon=1e-8)
        optimizations[name] = Optimization(
            built, [terms.feature_term(layer, target)], parameterizations.parameterization("free", (224, 224)), start, optimizer
        )
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


# ------------------------------------------------------------------------------------------- sides in their processes


class Worker:
    """One side of a comparison in a process of its own, which computes only while it is asked to.

    Attributes:
      first: seconds from its start to the end of its first step.
      processor: seconds of processor time that a step took, for each `rate`.
    """

    def __init__(self, **order):
        command = [sys.executable, "-m", "tests.bench", "worker", json.dumps(order)]
        self.process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        start = time.perf_counter()
        self._answer()
        self.first = time.perf_counter() - start
        self.processor: list[float] = []
        self.steps = 1
        self.steps = max(round(SECONDS * min(self.rate() for _ in range(2))), 1)
        self.processor.clear()

    def rate(self) -> float:
        """Steps per second, over about a second."""
        self.process.stdin.write(f"{self.steps}\n")
        self.process.stdin.flush()
        answer = self._answer()
        self.processor.append(answer["processor"] / self.steps)
        return self.steps / answer["seconds"]

    def close(self) -> float:
        """Ends the process; gives its peak memory in MB."""
        self.process.stdin.write("0\n")
        self.process.stdin.flush()
        memory = self._answer()["memory"]
        self.process.wait()
        return memory

    def _answer(self) -> dict:
        for line in self.process.stdout:
            if line.startswith("{"):
                return json.loads(line)
        raise RuntimeError(f"a worker ended with {self.process.wait()}: {self.process.args[-1]}")


def worker(order: dict) -> None:
    """The work of a Worker's process: after its first step, so many steps as each line of its input says."""
    steps = plain_arithmetic(order) if order["side"] == "peak" else inversion(order)
    next(steps)
    print("{}", flush=True)
    for line in sys.stdin:
        count = int(line)
        if count == 0:
            from tfinvert.experiments.compare import _peak_memory_mb

            print(json.dumps({"memory": _peak_memory_mb()}), flush=True)
            return
        start, processor = time.perf_counter(), time.process_time()
        for _ in range(count):
            next(steps)
        taken = {"seconds": time.perf_counter() - start, "processor": time.process_time() - processor}
        print(json.dumps(taken), flush=True)


def inversion(order: dict):
    """An endless inversion, a step at a time, as `--experiment=compare` runs it."""
    from tfinvert.images import files as images
    from tfinvert.networks.conversion import convert
    from tfinvert.settings.config import Config

    size = (order.get("size", 224),) * 2
    settings = {name: order[name] for name in ("model", "pool", "precision") if name in order}
    homework = {"learning_rate": 1e-3, "schedule": "constant", "feature_loss": "mse", "tv_weight": 0.0, "init": "noise"}
    config = Config(**settings, **homework, layers=(order["layer"],), weights="random", size=size, steps=10**9)
    config = dataclasses.replace(config, parameterization="free", regularizer_final=1.0)
    request = convert.request_for(config, config.layers)
    start = np.random.default_rng(SEED).uniform(0, 1, (1, *size, 3)).astype(np.float32)
    initial = np.repeat(start, order.get("batch", 1), axis=0)
    target = images.load("astronaut", size)
    if order["side"] == "pytorch":
        import torch

        from tfinvert.comparison import pytorch as torch_port
        from tfinvert.networks.onnx import graph

        if order.get("threads"):
            torch.set_num_threads(order["threads"])
        folded, prepare = convert.folded(request, graph.read(Path(order["graph"])), stems=order["stems"])
        network = torch_port.TorchNetwork(folded, order["layers"], prepare, order["variant"] != "eager")
        wanted = torch_port.features(network, target)
        reduced = 0 if config.precision == "float32" else config.steps
        compiled = order["variant"] == "compile"
        run = torch_port.optimize(config, network, wanted, initial, steps=config.steps, reduced=reduced, compiled=compiled)
        next(run)  # the loss before the first update
        yield from run
    import tensorflow as tf

    from tfinvert.networks.network import load
    from tfinvert.optimization import precision
    from tfinvert.optimization.step import run_optimization

    use_threads(order)
    precision.pack_weights_once()
    with convert.Conversion(request) as conversion:
        model = load(conversion.result(), "network").model
    wanted = {name: tf.constant(value) for name, value in model(tf.constant(target), training=False).items()}
    optimization = run_optimization(config, model, wanted, initial)
    with precision.arithmetic(config):
        yield from optimization.run(config.steps, config.steps)


def use_threads(order: dict) -> None:
    """TensorFlow's threads, where the order says how many."""
    import tensorflow as tf

    if order.get("threads"):
        tf.config.threading.set_intra_op_parallelism_threads(order["threads"])
        tf.config.threading.set_inter_op_parallelism_threads(order["threads"])


def plain_arithmetic(order: dict):
    """Endless matrix products or convolutions, of 2 x 2048^3 or 2 x 3^2 x 256^2 x 56^2 operations."""
    import tensorflow as tf

    use_threads(order)
    dtype = order["precision"]
    if order["kind"] == "matrix product":
        values = tf.cast(tf.random.normal([2048, 2048]), dtype), tf.cast(tf.random.normal([2048, 2048]), dtype)
        function = tf.function(tf.matmul)
    else:
        values = tf.cast(tf.random.normal([1, 56, 56, 256]), dtype), tf.cast(tf.random.normal([3, 3, 256, 256]), dtype)
        function = tf.function(lambda image, kernel: tf.nn.conv2d(image, kernel, 1, "SAME"))
    while True:
        yield function(*values)


PLAIN = {"matrix product": 2 * 2048**3 / 1e9, "convolution": 2 * 9 * 256**2 * 56**2 / 1e9}  # GFLOP


def speed(model: str, layer: str, pool: str, measured=contextlib.nullcontext, threads: int = 0) -> dict[str, dict[str, float]]:
    """TensorFlow and each way to run PyTorch at a layer, in both precisions, and the best plain arithmetic beside them."""
    from tfinvert.networks.conversion import convert
    from tfinvert.networks.onnx import graph

    request = convert.request(model=model, onnx=None, weights="random", layers=(layer,), size=(224, 224), pool=pool)
    with convert.Conversion(request) as conversion, tempfile.TemporaryDirectory() as folder:
        conversion.result()
        part, layers = convert.cut_graph(request)
        gflop = 2 * graph.operations(part) / 1e9
        part = convert.with_weights(request, part)
        file = Path(folder, "port.onnx")
        graph.write(part, file)
        # It may be that PyTorch does better with the convolution of the picture as it is.
        variants = {variant: (variant, True) for variant in VARIANTS}
        variants |= {f"{variant}, plain stem": (variant, False) for variant in VARIANTS[1:]}
        workers, work = {}, {}
        for precision in ("float32", "bfloat16"):
            case = {"model": model, "layer": layer, "pool": pool, "precision": precision, "threads": threads}
            workers[f"TensorFlow {precision}"] = Worker(side="tensorflow", **case)
            for name, (variant, stems) in variants.items():
                port = {"variant": variant, "stems": stems, "graph": str(file), "layers": layers}
                workers[f"PyTorch {name} {precision}"] = Worker(side="pytorch", **port, **case)
            work.update(dict.fromkeys(workers, gflop) | work)
            for kind, count in PLAIN.items():
                workers[f"{kind} {precision}"] = Worker(side="peak", kind=kind, precision=precision, threads=threads)
                work[f"{kind} {precision}"] = count
        with measured():
            rates = alternating(workers)
    return {
        name: {
            "steps/s": statistics.median(rates[name]),
            # Of each repeat by itself: what slows the machine down slows all of them down.
            "TensorFlow is faster by": statistics.median(
                ours / theirs for ours, theirs in zip(rates[f"TensorFlow {name.split()[-1]}"], rates[name], strict=True)
            ),
            "GFLOP/s": statistics.median(rates[name]) * work[name],
            "processor ms": 1000 * statistics.median(one.processor),
            "GFLOP/s of processor time": work[name] / statistics.median(one.processor),
            "first step (s)": one.first,
            "memory (MB)": one.close(),
        }
        for name, one in workers.items()
    }


def alternating(workers: dict[str, Worker]) -> dict[str, list[float]]:
    """Rates of each in turn."""
    rates: dict[str, list[float]] = {name: [] for name in workers}
    for _ in range(REPEATS):
        for name, one in workers.items():
            rates[name].append(one.rate())
    return rates


def scale(measured=contextlib.nullcontext) -> list[dict[str, float]]:
    """What a step to conv3_1 costs for more pictures at once, other sizes and one thread."""
    rows = []
    for batch, size, threads in SCALE:
        order = {"model": "vgg16-bn", "layer": "conv3_1", "pool": "avg", "batch": batch, "size": size, "threads": threads}
        one = Worker(side="tensorflow", precision="float32", **order)
        with measured():
            rate = statistics.median(one.rate() for _ in range(REPEATS))
        row = {"pictures": batch, "pixels a side": size, "threads": threads or os.cpu_count(), "steps/s": rate}
        row["ms per picture"] = 1000 / (rate * batch)
        row["processor ms per picture"] = 1000 * statistics.median(one.processor) / batch
        row["ns per picture and pixel"] = 1e9 / (rate * batch * size**2)
        rows.append({**row, "memory (MB)": one.close()})
    return rows


def sweep() -> list[dict[str, float]]:
    """What a picture of a whole sweep costs, processes and all, for more pictures in a batch."""
    from tfinvert.images import files as images

    network = ("--model=resnet18", "--weights=random", "--layers=res2", "--pool=max", "--steps=100")
    found: dict[int, list[tuple[float, ...]]] = {batch: [] for batch in BATCHES}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "pictures").mkdir()
        for sample in images.SAMPLES:
            whole = images.load(sample, (448, 448))
            for number, part in enumerate((whole[0, :224, :224], whole[0, 224:, 224:])):
                images.save(folder / "pictures" / f"{sample}-{number}.png", part)
        flags = ("--experiment=sweep", *network, f"--images={folder / 'pictures'}", "--overwrite")
        for turn in range(1 + 3):  # the first converts
            for batch in BATCHES if turn else BATCHES[-1:]:
                start = time.perf_counter()
                command = [sys.executable, str(ROOT / "run_experiments.py"), *flags, f"--batch={batch}"]
                command.append(f"--output_dir={folder / f'batch-{batch}'}")
                subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
                took = time.perf_counter() - start
                runs = [json.loads(path.read_text())["result"] for path in folder.glob(f"batch-{batch}/*/res2/run.json")]
                if turn:
                    steps = statistics.median(run["seconds"] for run in runs)
                    found[batch].append((took / len(runs), steps, max(run["peak_memory_mb"] for run in runs)))
    rows = []
    for batch, measured in found.items():
        whole, steps, memory = (statistics.median(values) for values in zip(*measured, strict=True))
        rows.append({"pictures in a batch": batch, "s per picture": whole, "its steps (s)": steps, "memory (MB)": memory})
    return rows


def draw(rows: list[dict[str, float]]) -> None:
    """The chart of `scale`: cost and memory over pictures in a step, a line for each size."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    axes = figure.subplots(1, 2)
    for name, place in (("ns per picture and pixel", axes[0]), ("memory (MB)", axes[1])):
        for key in dict.fromkeys((row["pixels a side"], row["threads"]) for row in rows):
            line = [row for row in rows if (row["pixels a side"], row["threads"]) == key]
            label = f"{key[0]} x {key[0]} pixels, {key[1]} thread{'s' if key[1] > 1 else ''}"
            place.plot([row["pictures"] for row in line], [row[name] for row in line], "o-", label=label)
        place.set_xscale("log", base=2)
        place.set_xticks([1, 4, 16], ["1", "4", "16"])
        place.set_xlabel("pictures in a step")
        place.set_title(name)
        place.set_ylim(bottom=0)
        place.grid(alpha=0.3)
    axes[0].legend()
    figure.savefig(ROOT / "bench.png", dpi=100)


if __name__ == "__main__":
    if sys.argv[1:2] == ["worker"]:
        worker(json.loads(sys.argv[2]))
    else:
        main(sys.argv[1:])
