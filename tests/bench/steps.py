"""Steps per second: TensorFlow beside PyTorch and plain arithmetic, and for more images, other sizes and one thread."""

import contextlib
import dataclasses
import os
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.bench.orders import GFLOP
from tests.bench.workers import REPEATS, Worker, measure_in_turn

# Network, layer, pooling.
CASES = [
    ("vgg16-bn", "conv1_1", "avg"),
    ("vgg16-bn", "conv3_1", "avg"),
    ("vgg16-bn", "pool5", "avg"),
    ("resnet18", "res2", "max"),
]
VARIANTS = ("eager", "channels_last", "compile")
# Images in a step, pixels a side, threads (0 for all).
SCALE = [(1, 112, 0), (4, 112, 0), (16, 112, 0), (1, 224, 0), (4, 224, 0), (16, 224, 0), (1, 512, 0), (4, 512, 0), (1, 224, 1)]
Watch = Callable[[], contextlib.AbstractContextManager[Any]]  # what is done around a measurement


def compare(
    model: str, layer: str, pool: str, watch: Watch = contextlib.nullcontext, threads: int = 0
) -> dict[str, dict[str, float]]:
    """TensorFlow and each way to run PyTorch at a layer, in both precisions, and plain arithmetic beside them."""
    from tfinvert.networks import onnx as graphs
    from tfinvert.networks.conversion.request_graph import cut_graph, folded, with_weights
    from tfinvert.networks.load import load

    network = load(model, weights="random", size=224, pool=pool)
    network.layer(layer)  # is converted, so that the workers find it in the cache
    request = dataclasses.replace(network.request, layers=(layer,))
    part, tensors = cut_graph(request)
    operations = 2 * graphs.operations(part) / 1e9
    part = with_weights(request, part)
    with tempfile.TemporaryDirectory() as folder:
        # It may be that PyTorch does better with the first convolution as it is.
        files = {"": f"{folder}/port.onnx", ", plain stem": f"{folder}/plain.onnx"}
        for name, file in files.items():
            graph, preparation = folded(request, part, stems=not name)
            graphs.write(graph, Path(file))
        variants = [(variant, name) for name in files for variant in VARIANTS if variant != VARIANTS[0] or not name]
        workers: dict[str, Worker] = {}
        gflop: dict[str, float] = {}
        for precision in ("float32", "bfloat16"):
            case = {"model": model, "layer": layer, "pool": pool, "precision": precision, "threads": threads}
            sides = {f"TensorFlow {precision}": Worker(side="tensorflow", **case)}
            for variant, name in variants:
                port = {"graph": files[name], "preparation": dataclasses.asdict(preparation), "layers": tensors}
                sides[f"PyTorch {variant}{name} {precision}"] = Worker(side="pytorch", variant=variant, **port, **case)
            gflop |= dict.fromkeys(sides, operations)
            for kind, count in GFLOP.items():
                sides[f"{kind} {precision}"] = Worker(side="arithmetic", kind=kind, precision=precision, threads=threads)
                gflop[f"{kind} {precision}"] = count
            workers |= sides
        with watch():
            rates = measure_in_turn(workers)
    return {
        name: {
            "steps/s": statistics.median(rates[name]),
            # Of each repeat by itself: what slows the machine down slows all of them down.
            "TensorFlow is faster by": statistics.median(
                ours / theirs for ours, theirs in zip(rates[f"TensorFlow {name.split()[-1]}"], rates[name], strict=True)
            ),
            "GFLOP/s": statistics.median(rates[name]) * gflop[name],
            "processor ms": 1000 * statistics.median(worker.processor),
            "GFLOP/s of processor time": gflop[name] / statistics.median(worker.processor),
            "first step (s)": worker.first,
            "memory (MB)": worker.close(),
        }
        for name, worker in workers.items()
    }


def scale(watch: Watch = contextlib.nullcontext) -> list[dict[str, float]]:
    """What a step to conv3_1 costs for more images at once, other sizes and one thread."""
    rows = []
    for batch, size, threads in SCALE:
        order = {"model": "vgg16-bn", "layer": "conv3_1", "pool": "avg", "batch": batch, "size": size, "threads": threads}
        worker = Worker(side="tensorflow", precision="float32", **order)
        with watch():
            rate = statistics.median(worker.rate() for _ in range(REPEATS))
        row = {"images": batch, "pixels a side": size, "threads": threads or os.cpu_count() or 1, "steps/s": rate}
        row["ms per image"] = 1000 / (rate * batch)
        row["processor ms per image"] = 1000 * statistics.median(worker.processor) / batch
        row["ns per image and pixel"] = 1e9 / (rate * batch * size**2)
        rows.append({**row, "memory (MB)": worker.close()})
    return rows
