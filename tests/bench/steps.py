"""Steps per second: TensorFlow beside PyTorch, JAX and plain arithmetic, and for more images, other sizes and one thread."""

import contextlib
import dataclasses
import importlib.util
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from tests.bench.cases import CASES, PLAIN, Case
from tests.bench.orders import GFLOP, HOMEWORK
from tests.bench.workers import QUICK, REPEATS, SECONDS, Worker, measure_in_turn

VARIANTS = ("eager", "channels_last", "compile", "max-autotune")
QUICK_VARIANTS = ("eager", "channels_last", "compile")
BUDGET = 660.0  # seconds after which no further case of the quick table is begun
OURS = "TensorFlow"
# Images in a step, pixels a side, threads (0 for all).
SCALE = [(1, 112, 0), (4, 112, 0), (16, 112, 0), (1, 224, 0), (4, 224, 0), (16, 224, 0), (1, 512, 0), (4, 512, 0), (1, 224, 1)]
Watch = Callable[[], contextlib.AbstractContextManager[Any]]  # what is done around a measurement
Figures = dict[str, dict[str, float]]


def has_bfloat16() -> bool:
    """Whether the processor multiplies in bfloat16, as Linux tells."""
    with contextlib.suppress(OSError):
        return any(flag in Path("/proc/cpuinfo").read_text() for flag in (" avx512_bf16", " amx_bf16", " bf16"))
    return False


def compare(case: Case, precisions: Iterable[str], watch: Watch = contextlib.nullcontext, threads: int = 0) -> Figures:
    """Each side at a layer, started one after the other, so that the time to its first step is its own."""
    sides = orders_of(case, precisions, VARIANTS, threads, stems=(True, False))
    workers = {}
    for name, order in {**sides, **_arithmetic(precisions, threads)}.items():
        workers[name] = Worker(SECONDS, **order)
        workers[name].wait()
    return measured(workers, watch, case)


def quick(already: dict[str, Figures]) -> dict[str, Figures]:
    """A table that is there in less than 12 minutes: shorter turns, and sides that start together.

    Args:
      already: figures of cases from before; those that there was no time for are kept.
    """
    precisions = ("float32", "bfloat16") if has_bfloat16() else ("float32",)
    started, found = time.monotonic(), dict(already)
    workers = {name: Worker(QUICK, **order) for name, order in _arithmetic(precisions, 0).items()}
    found["arithmetic"] = measured(workers, contextlib.nullcontext, None)
    for case in CASES:
        if missing := case.missing():
            print(f"not measured: {missing}", flush=True)
        elif time.monotonic() - started > BUDGET:
            print(f"not measured: {case.name}, for there was no time left", flush=True)
        else:
            sides = orders_of(case, precisions, QUICK_VARIANTS, 0, stems=(True,))
            workers = {name: Worker(QUICK, **order) for name, order in sides.items()}
            found[case.name] = measured(workers, contextlib.nullcontext, case)
            shown = {name: f"{row['steps/s']:.3g}" for name, row in found[case.name].items()}
            print(f"{time.monotonic() - started:4.0f} s  {case.name}: {shown}", flush=True)
    return found


def orders_of(
    case: Case, precisions: Iterable[str], variants: Iterable[str], threads: int, stems: Iterable[bool]
) -> dict[str, dict[str, Any]]:
    """Name -> order of each side of a case. What they read is written into a folder that stays until this process ends."""
    from tfinvert.networks import onnx as graphs
    from tfinvert.networks.conversion.request_graph import cut_graph, folded, with_weights
    from tfinvert.networks.load import load

    folder = Path(_folder())
    source = case.source(folder)
    networks = {
        p: load(source, weights="auto" if case.is_exported else "random", pool=case.pool, precision=p) for p in precisions
    }
    for network in networks.values():
        network.layer(case.layer)  # is converted, so that the workers find it in the cache
    request = dataclasses.replace(next(iter(networks.values())).request, layers=(case.layer,))
    part, tensors = cut_graph(request)
    _operations[case.name] = 2 * graphs.operations(part) / 1e9
    ports: dict[str, dict[str, Any]] = {"": {"module": case.model}}
    if not case.is_exported:
        part = with_weights(request, part)
        # It may be that a rival does better with the first convolution as it is.
        for stem in stems:
            graph, preparation = folded(request, part, stems=stem)
            file = folder / f"{case.model}-{case.layer}-{stem}.onnx"
            graphs.write(graph, file)
            port = {"graph": str(file), "preparation": dataclasses.asdict(preparation), "layers": tensors}
            ports["" if stem else ", plain stem"] = port
    sides: dict[str, dict[str, Any]] = {}
    for precision, network in networks.items():
        shared = {"settings": case.order(network, precision), "threads": threads}
        sides[f"{OURS} {precision}"] = {"side": "tensorflow", "model": source, "pool": case.pool, **shared}
        for name, port in ports.items():
            for variant in variants:
                if variant != "eager" or not name:
                    sides[f"PyTorch {variant}{name} {precision}"] = {"side": "pytorch", "variant": variant, **port, **shared}
        if importlib.util.find_spec("jax") and (case.settings, case.is_exported, precision) == (PLAIN, False, "float32"):
            sides[f"JAX {precision}"] = {"side": "jax", **ports[""], **shared}
    return sides


_operations: dict[str, float] = {}  # GFLOP of a step, by the name of its case
_folders: list[tempfile.TemporaryDirectory] = []


def _folder() -> str:
    if not _folders:
        _folders.append(tempfile.TemporaryDirectory())
    return _folders[0].name


def _arithmetic(precisions: Iterable[str], threads: int) -> dict[str, dict[str, Any]]:
    kinds = [(kind, precision) for precision in precisions for kind in GFLOP]
    return {f"{k} {p}": {"side": "arithmetic", "kind": k, "precision": p, "threads": threads} for k, p in kinds}


def measured(workers: dict[str, Worker], watch: Watch, case: Case | None) -> Figures:
    """The figures of sides that take turns. One that fails is left out, and said."""
    ready = {}
    for name, worker in workers.items():
        try:
            worker.wait()
            ready[name] = worker
        except RuntimeError as error:
            print(f"not measured: {name} ({error})", flush=True)
    with watch():
        rates = measure_in_turn(ready)
    figures = {}
    for name, worker in ready.items():
        kind, precision = name.rsplit(" ", 1)
        ours = rates.get(f"{OURS} {precision}", rates[name])
        gflop = GFLOP[kind] if kind in GFLOP else _operations[case.name] if case else 0.0
        figures[name] = {
            "steps/s": statistics.median(rates[name]),
            # Of each repeat by itself: what slows the machine down slows all of them down.
            "TensorFlow is faster by": statistics.median(a / b for a, b in zip(ours, rates[name], strict=True)),
            "GFLOP/s": statistics.median(rates[name]) * gflop,
            "processor ms": 1000 * statistics.median(worker.processor),
            "first step (s)": worker.first,
            "memory (MB)": worker.close(),
        }
    return figures


def scale(watch: Watch = contextlib.nullcontext) -> list[dict[str, float]]:
    """What a step to conv3_1 costs for more images at once, other sizes and one thread."""
    rows = []
    settings = {**HOMEWORK, "layers": ("conv3_1",), "precision": "float32"}
    for batch, size, threads in SCALE:
        order = {"model": "vgg16-bn", "pool": "avg", "batch": batch, "size": size, "threads": threads}
        worker = Worker(side="tensorflow", settings=settings, **order)
        with watch():
            rate = statistics.median(worker.rate() for _ in range(REPEATS))
        row = {"images": batch, "pixels a side": size, "threads": threads or os.cpu_count() or 1, "steps/s": rate}
        row["ms per image"] = 1000 / (rate * batch)
        row["processor ms per image"] = 1000 * statistics.median(worker.processor) / batch
        row["ns per image and pixel"] = 1e9 / (rate * batch * size**2)
        rows.append({**row, "memory (MB)": worker.close()})
    return rows
