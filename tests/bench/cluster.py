"""What Dask adds to a task, and how long many tasks take on 100 workers: its own scheduler, with workers that only sleep."""

import logging
import math
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from tests.conftest import tiny_graph, write_onnx
from tests.runs import program
from tfinvert import worker
from tfinvert.experiments.invert import Settings
from tfinvert.runs import tasks
from tfinvert.settings.groups import WorkerSettings

NOTHING = 10_000  # tasks that do nothing
WORKERS = 100
SIMULATED = 2_000  # tasks of the simulation
SHORTER = 20  # the simulation's tasks take this many times less time than ours
SEED = 0


def measure() -> dict[str, Any]:
    """Milliseconds of a task that does nothing on two workers; the measured and the modeled time of the simulation."""
    logging.getLogger("distributed").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        seconds = _task_seconds(folder)
        return {"ms per task": _overhead(folder), "task seconds": seconds, **_simulation(seconds)}


def _overhead(folder: Path) -> float:
    """Milliseconds from submitting NOTHING tasks to the last answer, for each of them."""
    from tfinvert.runs.workers import connect

    # The same settings again and again: a task's name and folder are of no account for its way.
    todo = [tasks.Task({"nothing": Settings(output_dir=str(folder / "nothing"))})] * NOTHING
    with connect(WorkerSettings(workers=2), program.nothing) as executor:
        for _ in executor.submit(todo[:100]):
            pass
        started = time.perf_counter()
        count = sum(1 for _ in executor.submit(todo))
        assert count == NOTHING
        return 1000 * (time.perf_counter() - started) / NOTHING


def _task_seconds(folder: Path) -> list[float]:
    """Seconds of each layer of SqueezeNet at 50 steps, in one worker, which is this process; without the first."""
    flags = ["--experiment=invert", "--model=squeezenet1.1", "--weights=random", "--steps=50"]
    found = []
    for layer in ("conv1", "conv1", "pool1", "fire2", "fire3", "pool3", "fire4", "fire5", "pool5", "fire6", "fire9"):
        place = f"--output_dir={folder / layer}-{len(found)}"
        answer = worker.work({"flags": [*flags, f"--layers={layer}", place], "own_process": True})
        assert not answer["results"][0].get("error"), answer
        found.append(answer["seconds"])
    return found[1:]


def _simulation(seconds: list[float]) -> dict[str, float]:
    """SIMULATED tasks on WORKERS workers of Dask, which sleep as long as ours take, SHORTER times shorter."""
    from distributed import Client, LocalCluster

    times = np.random.default_rng(SEED).choice(seconds, SIMULATED) / SHORTER
    with (
        LocalCluster(WORKERS, threads_per_worker=1, processes=False, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        client.gather(client.map(time.sleep, [0.001] * WORKERS, pure=False))
        started = time.perf_counter()
        client.gather(client.map(time.sleep, times.tolist(), pure=False))
        measured = time.perf_counter() - started
    mean = statistics.mean(times)
    return {
        "simulated s": SHORTER * measured,
        "model s": SHORTER * math.ceil(SIMULATED / WORKERS) * mean,
        "at best s": SHORTER * SIMULATED / WORKERS * mean,
    }


def memory(count: int = 200) -> list[float]:
    """MB of this process after each of `count` tasks of a tiny network, whose layer, loss and number of steps change."""
    sizes = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        onnx = write_onnx(tiny_graph(size=32), folder / "net.onnx")
        for number in range(count):
            layer = ("conv1_1", "pool1", "conv2_1", "fc2")[number % 4]
            flags = [f"--onnx={onnx}", "--preprocessing=none", f"--layers={layer}", f"--steps={5 + number % 3}"]
            flags += [f"--seed={number}", f"--tv_weight={0.1 * (number % 5)}", f"--output_dir={folder / str(number)}"]
            answer = worker.work({"flags": flags, "own_process": True})
            assert not answer["results"][0].get("error"), answer
            sizes.append(int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20)
    return sizes
