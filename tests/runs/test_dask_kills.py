"""Workers and schedulers of Dask that are killed while many runs go on; `python -m tests.soak cluster` has real runs."""

import contextlib
import functools
import random
import threading
import time

import pytest

from tests.runs import program
from tests.runs.dask_processes import Processes, orphans
from tfinvert.experiments.invert import Settings
from tfinvert.runs import tasks, workers
from tfinvert.runs.directory import RunDirectory
from tfinvert.settings import flagfiles
from tfinvert.settings.groups import WorkerSettings
from tfinvert.system.errors import InputError

WORKER_KILLS, SCHEDULER_KILLS = 3, 1
RUNS, STEPS = 24, 40


@pytest.mark.slow
def test_what_is_killed_is_done_by_others(tmp_path):
    pytest.importorskip("distributed")
    todo = [
        tasks.Task({str(number): Settings(steps=STEPS, output_dir=str(tmp_path / "runs" / str(number)))})
        for number in range(RUNS)
    ]
    mark = f"{tmp_path}/of-this-test"
    processes = Processes(tmp_path / "cluster", TFINVERT_CACHE=mark)
    for _ in range(2):
        processes.add_worker()
    kills = ["worker"] * WORKER_KILLS + ["scheduler"] * SCHEDULER_KILLS
    random.Random(0).shuffle(kills)
    killer = threading.Thread(target=_kill, args=(processes, kills, tmp_path / "runs"), daemon=True)
    killer.start()
    given = 0
    while not all(task.is_finished() for task in todo):
        given += 1
        assert given < 20
        connect = functools.partial(workers.connect, WorkerSettings(scheduler=str(processes.file), retries=5), program.count)
        with contextlib.suppress(InputError, OSError):  # the scheduler is gone, or not there yet
            list(tasks.run_all(todo, connect))
    killer.join()
    assert kills == [], "the runs were finished before all kills"
    for task in todo:
        run = RunDirectory(task.first.run_folder())
        assert run.is_finished(flagfiles.text(task.first))
        assert [line["step"] for line in run.read_metrics()] == list(range(STEPS))
    assert not [path for path in (tmp_path / "runs").rglob("*") if ".part" in path.name]
    processes.close()
    assert orphans(mark) == []
    print(f"{WORKER_KILLS} workers and {SCHEDULER_KILLS} schedulers were killed; the command was given {given} times")


def _kill(processes, kills, folder):
    """Kills, each as soon as a run has gone on after the kill before it."""
    draw = random.Random(1)
    while kills:
        there = _lines(folder)
        while _lines(folder) <= there:
            time.sleep(0.02)
        time.sleep(draw.uniform(0, 0.5))
        if kills.pop() == "scheduler":
            processes.kill_scheduler()
        else:
            processes.kill_worker(draw.randrange(2), parent=draw.random() < 0.3)


def _lines(folder):
    return sum(path.read_bytes().count(b"\n") for path in folder.glob("*/metrics.jsonl"))
