"""Workers and schedulers of Dask that are killed at random moments during sweeps, which must end as if nothing had happened."""

import random
import subprocess
import tempfile
import time
from pathlib import Path

from tests.runs.dask_processes import Processes, orphans
from tests.soak import Row
from tests.soak.programs import HANG_SECONDS, Case, check_same, end, start

WORKER_KILLS, SCHEDULER_KILLS = 20, 5
MOST_AGAIN = 10  # how often a command is given again
IMAGES, STEPS = 2, 100


class Harness:
    """A cluster, and sweeps on it."""

    def __init__(self, base: Path, seed: int = 0):
        self.base, self.random = base, random.Random(seed)
        self.workers = self.schedulers = self.sweeps = self.given_again = 0
        self.cache = base / "cache"
        self.case = sweep(base)
        self.whole = base / "whole"
        code, said = end(start(self.case, self.whole, self.cache))
        assert code == 0, said
        self.processes = Processes(base / "cluster", "tests.soak.often", TFINVERT_CACHE=str(self.cache))
        for _ in range(2):
            self.processes.add_worker()

    def run(self, workers: int, schedulers: int) -> None:
        """A sweep during which so many workers and schedulers are killed; the command is given again until it is finished."""
        folder = self.base / f"sweep-{self.sweeps}"
        self.sweeps += 1
        kills = ["worker"] * workers + ["scheduler"] * schedulers
        self.random.shuffle(kills)
        for _ in range(MOST_AGAIN):
            process = start(self.case, folder, self.cache, f"--scheduler={self.processes.file}")
            while kills and process.poll() is None:
                self._strike(kills, process, folder)
            code, said = end(process)
            if code == 0:
                break
            self.given_again += 1
        assert code == 0, said
        check_same(folder, self.whole)

    def _strike(self, kills: list[str], process: subprocess.Popen, folder: Path) -> None:
        """Waits until the sweep has gone on for a moment, and kills."""
        there = written(folder)
        deadline = time.monotonic() + HANG_SECONDS
        while written(folder) <= there and process.poll() is None:
            assert time.monotonic() < deadline, "nothing goes on"
            time.sleep(0.01)
        time.sleep(self.random.uniform(0, 1))
        if process.poll() is not None:
            return
        if kills.pop() == "scheduler":
            self.processes.kill_scheduler()
            self.schedulers += 1
        else:
            self.processes.kill_worker(self.random.randrange(2), parent=self.random.random() < 0.3)
            self.workers += 1

    def close(self) -> list[str]:
        """Ends the cluster; returns what of it still runs."""
        self.processes.close()
        return orphans(str(self.cache))


def sweep(folder: Path) -> Case:
    """A sweep of a tiny network over two images and its four layers."""
    import numpy as np
    from PIL import Image

    from tests.conftest import tiny_graph, write_onnx

    onnx = write_onnx(tiny_graph(size=32), folder / "net.onnx")
    (folder / "images").mkdir()
    rng = np.random.default_rng(0)
    for number in range(IMAGES):
        Image.fromarray(rng.integers(0, 255, (32, 32, 3), np.uint8)).save(folder / "images" / f"{number}.png")
    flags = ("--experiment=sweep", f"--onnx={onnx}", "--preprocessing=none", f"--image={folder / 'images'}")
    return Case("sweep", (*flags, f"--steps={STEPS}", "--save_every=5"), resume=())


def written(folder: Path) -> int:
    """The number of images that are there."""
    return sum(1 for _ in folder.glob("*/*/images/*.png"))


def soak(scale: float = 1.0) -> list[Row]:
    """Kills, until there were as many as are asked for."""
    with tempfile.TemporaryDirectory() as name:
        harness = Harness(Path(name))
        try:
            while harness.workers < WORKER_KILLS * scale or harness.schedulers < SCHEDULER_KILLS * scale:
                harness.run(workers=4, schedulers=1)
                print(f"{harness.sweeps} sweeps, {harness.workers} workers, {harness.schedulers} schedulers", flush=True)
        finally:
            left = harness.close()
        assert left == [], left
    return [
        Row(
            "Workers and schedulers of Dask that are killed lose nothing",
            f"{harness.workers} times SIGKILL of a worker or its parent, and {harness.schedulers} times of the scheduler, at "
            f"random moments of {harness.sweeps} sweeps of {4 * IMAGES} runs on 2 workers",
            f"{harness.sweeps} of {harness.sweeps} sweeps finished, the command given {harness.given_again} times more: the "
            "same files, the same bytes in every image and in metrics.jsonl; nothing left over, and no process",
        ),
    ]
