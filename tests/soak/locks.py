"""Two at once: runs into one folder, conversions of one network, suites; and locks that a killed process has left."""

import re
import signal
import tempfile
import time
from pathlib import Path

from tests.soak import Row
from tests.soak.programs import PLAIN, Runs, check_same, end, lines, start, wait_until

TIMES = 4


def soak(scale: float = 1.0) -> list[Row]:
    """Each pair some times, with another delay between the two."""
    times = max(1, round(TIMES * scale))
    with tempfile.TemporaryDirectory() as name:
        pairs = Pairs(Runs(Path(name)))
        refused = _anywhere([pairs.two_runs() for _ in range(times)])
        taken = [pairs.after_a_kill(turn) for turn in range(times)]
        same = [pairs.two_conversions(delay=0.4 * turn) for turn in range(times)]
        suites = _anywhere([pairs.two_suites() for _ in range(times)])
    return [
        Row("Two runs into one folder", f"{times} times", f"the first ends right, the second says: {refused}"),
        Row("The lock of a run that was killed", f"{times} times", f"taken over at once {sum(taken)} times"),
        Row(
            "Two conversions of one network at once",
            f"{times} times, up to {0.4 * (times - 1):.1f} s apart",
            f"both end right with the same bytes {sum(same)} times; one entry in the cache, nothing left over",
        ),
        Row("Two runs of a suite in one folder", f"{times} times", f"the first ends right, the second says: {suites}"),
    ]


def _anywhere(said: list[str]) -> str:
    """What was said first, without the process and the host that it happened to be."""
    return re.sub(r"process \d+ on \S+", "process PID on HOST", said[0])


class Pairs:
    """The pairs."""

    def __init__(self, runs: Runs):
        self.runs = runs

    def two_runs(self, kind: str = PLAIN) -> str:
        """The second of two runs into a folder is refused while the first holds it; gives what it says."""
        case, folder = self.runs.cases[kind], self.runs.new("run")
        whole = self.runs.whole(case)
        first = start(case, folder, self.runs.cache)
        wait_until(lambda: lines(folder) > 0, first)
        first.send_signal(signal.SIGSTOP)  # it holds the folder for as long as it takes
        try:
            code, said = end(start(case, folder, self.runs.cache, *case.resume))
        finally:
            first.send_signal(signal.SIGCONT)
        assert code == 2, (code, said)
        assert re.fullmatch(rf"tfinvert: process {first.pid} on \S+ is writing into \S+; .*\n", said), said
        code, more = end(first)
        assert (code, more) == (0, ""), more
        check_same(folder, whole)
        return said.strip().replace(str(folder), "out/run")

    def two_suites(self) -> str:
        """Likewise of two suites."""
        return self.two_runs("suite of two")

    def after_a_kill(self, turn: int) -> bool:
        """A folder whose run was killed is free at once."""
        case, folder = self.runs.cases[PLAIN], self.runs.new("run")
        whole = self.runs.whole(case)
        first = start(case, folder, self.runs.cache)
        wait_until(lambda: lines(folder) > 10 * turn, first)
        first.kill()
        first.communicate()
        assert (folder / ".lock.holder").exists()
        code, said = end(start(case, folder, self.runs.cache, "--resume"))
        assert (code, said) == (0, ""), said
        check_same(folder, whole)
        return True

    def two_conversions(self, delay: float) -> bool:
        """Two runs that begin with the same conversion, a little apart, into an empty cache."""
        case, cache = self.runs.cases[PLAIN], self.runs.new("cache")
        whole = self.runs.whole(case)
        folders = [self.runs.new("run"), self.runs.new("run")]
        processes = [start(case, folders[0], cache)]
        time.sleep(delay)
        processes.append(start(case, folders[1], cache))
        for process, folder in zip(processes, folders, strict=True):
            code, said = end(process)
            assert (code, said) == (0, ""), said
            check_same(folder, whole)
        (entry,) = [path.name for path in (cache / "converted").iterdir() if path.name != ".lock"]
        return not entry.startswith(".")
