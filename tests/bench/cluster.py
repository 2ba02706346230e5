"""What Dask adds to a task, and how long many tasks take on 100 workers: its own scheduler, with workers that only sleep."""

import heapq
import logging
import math
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from tests.runs import program
from tfinvert import worker
from tfinvert.experiments.invert import Settings
from tfinvert.runs import tasks
from tfinvert.settings.groups import WorkerSettings

NOTHING = 10_000  # tasks that do nothing
WORKERS = 100
SIMULATED = 1_000  # tasks that sleep on them
FEW = 10  # tasks of each of one or two workers
LAYERS = ("conv1", "fire2", "fire4", "fire6", "fire8")
SEED = 0
# What each of many workers in one process would do a hundred times a second, for which 100 processes have processors.
QUIET = {
    "distributed.worker.profile.enabled": False,
    "distributed.admin.system-monitor.interval": "10s",
    "distributed.admin.system-monitor.gil.enabled": False,
}


def measure() -> dict[str, Any]:
    """Milliseconds of a task that does nothing on two workers, seconds of real tasks, and the rows of the simulation."""
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        figures: dict[str, Any] = {"task of Dask that does nothing (ms)": _overhead(folder)}
        print(figures, flush=True)
        seconds = _task_seconds(folder)
        figures |= {"task of SqueezeNet, 50 steps (s)": sum(seconds) / len(seconds)}
        print(figures, flush=True)
        return figures | {"workers": _simulation(seconds)}


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
    """Seconds of some layers of SqueezeNet at 50 steps in one worker, which is this process, after the first of them."""
    flags = ["--experiment=invert", "--model=squeezenet1.1", "--weights=random", "--steps=50"]
    found = []
    for layer in (LAYERS[0], *LAYERS):
        place = f"--output_dir={folder / layer}-{len(found)}"
        answer = worker.work({"flags": [*flags, f"--layers={layer}", place], "own_process": True})
        assert not answer["results"][0].get("error"), answer
        found.append(answer["seconds"])
    return found[1:]


def _simulation(seconds: list[float]) -> dict[str, dict[str, float]]:
    """Tasks that sleep as long as ours take, on one worker, on two that are processes, and on WORKERS."""
    from tfinvert.runs.workers import connect

    times = np.random.default_rng(SEED).choice(seconds, SIMULATED)
    rows = {}
    for count in (1, 2):
        with connect(WorkerSettings(workers=count), program.sleep) as executor:
            rows[f"{count} workers"] = _row(executor, times[: FEW * count], count)
            print(rows, flush=True)
    return rows | {f"{WORKERS} workers": _on_many(times)}


def _on_many(times: np.ndarray) -> dict[str, float]:
    """The row of tasks that take so many seconds each, on WORKERS workers that are threads of this process.

    They have no limit of memory: each would take the whole process, TensorFlow included, for its own, and pause.
    """
    import dask
    from distributed import Client, LocalCluster

    from tfinvert.runs.dask_executor import Dask

    with (
        dask.config.set(QUIET),
        LocalCluster(
            n_workers=WORKERS, threads_per_worker=1, memory_limit=0, processes=False, dashboard_address=None
        ) as cluster,
        Client(cluster) as client,
    ):
        return _row(Dask(client, program.sleep), times, WORKERS)


def _row(executor: Any, times: np.ndarray, workers: int) -> dict[str, float]:
    """The seconds of tasks that take so long each: measured, by the model, and taken in turn without anything in between."""
    todo = [tasks.Task({"sleeps": Settings(steps=max(round(1000 * one), 1), output_dir="/none")}) for one in times]
    short = [tasks.Task({"sleeps": Settings(steps=1, output_dir="/none")})] * workers
    for _ in executor.submit(short):  # so that the workers are there
        pass
    started = time.perf_counter()
    for _ in executor.submit(todo):
        pass
    return {
        "tasks": len(times),
        "measured (s)": time.perf_counter() - started,
        "model (s)": math.ceil(len(times) / workers) * times.mean(),
        "in turn (s)": _in_turn(times, workers),
    }


def _in_turn(times: np.ndarray, workers: int) -> float:
    """When the last task ends if each worker takes the next one as soon as it is free, and nothing else takes time."""
    free = [0.0] * workers
    for one in times:
        heapq.heapreplace(free, free[0] + one)
    return max(free)
