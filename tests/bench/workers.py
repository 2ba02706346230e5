"""Each side of a comparison runs in a process of its own. It computes steps only when it is asked for them.

`python -m tests.bench.workers ORDER` is such a process; ORDER is JSON, as `orders.steps` takes it.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from typing import Any

from tests.bench import ROOT, orders

REPEATS = 7
SECONDS = 1.0  # that each side runs in each repeat, roughly
QUICK = 0.3  # the same, where a table is to be there soon


class Worker:
    """One side of a comparison, in a process of its own.

    Args:
      seconds: that it computes in each call of `rate`, roughly.
      order: what it does, as `orders.steps` takes it.

    Attributes:
      first: seconds from its start to the end of its first step, known after `wait`.
      first_processor: seconds of processor time that this took, with the processes that it waited for.
      processor: seconds of processor time that a step took, for each call of `rate`.
    """

    def __init__(self, seconds: float = SECONDS, **order: Any):
        command = [sys.executable, "-m", "tests.bench.workers", json.dumps(order)]
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        self._process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, text=True
        )
        self._started, self._seconds, self._steps = time.perf_counter(), seconds, 0
        self.first = self.first_processor = 0.0
        self.processor: list[float] = []

    def wait(self) -> None:
        """Waits for its first step, and finds out how many it makes in a repeat. Raises RuntimeError where it fails."""
        if self._steps:
            return
        self.first_processor = self._answer()["processor"]
        self.first = time.perf_counter() - self._started
        self._steps = 1
        self._steps = max(round(self._seconds * min(self.rate() for _ in range(2))), 1)
        self.processor.clear()

    def rate(self) -> float:
        """Steps per second, over about a second."""
        self.wait()
        self._tell(self._steps)
        answer = self._answer()
        self.processor.append(answer["processor"] / self._steps)
        return self._steps / answer["seconds"]

    def close(self) -> float:
        """Ends the process; returns its peak memory in MB."""
        self._tell(0)
        memory = self._answer()["memory"]
        self._process.wait()
        return memory

    def _tell(self, steps: int) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{steps}\n")
        self._process.stdin.flush()

    def _answer(self) -> dict[str, float]:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("{"):
                return json.loads(line)
        code = self._process.wait()
        self._log.seek(0)
        said = self._log.read().decode(errors="replace").strip().splitlines()
        raise RuntimeError(f"a worker ended with {code}: {said[-1] if said else 'it said nothing'}")


def measure_in_turn(workers: dict[str, Worker]) -> dict[str, list[float]]:
    """The rates of each worker, measured in turn."""
    rates: dict[str, list[float]] = {name: [] for name in workers}
    for _ in range(REPEATS):
        for name, worker in workers.items():
            rates[name].append(worker.rate())
    return rates


def work(order: dict[str, Any]) -> None:
    """The work of a Worker's process: after its first step, as many steps as each line of its input says."""
    steps = orders.steps(order)
    next(steps)
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    print(json.dumps({"processor": sum(one.ru_utime + one.ru_stime for one in used)}), flush=True)
    for line in sys.stdin:
        count = int(line)
        if count == 0:
            from tfinvert.comparison.sides import peak_memory_mb

            print(json.dumps({"memory": peak_memory_mb()}), flush=True)
            return
        started, processor = time.perf_counter(), time.process_time()
        for _ in range(count):
            next(steps)
        taken = {"seconds": time.perf_counter() - started, "processor": time.process_time() - processor}
        print(json.dumps(taken), flush=True)


if __name__ == "__main__":
    work(json.loads(sys.argv[1]))
