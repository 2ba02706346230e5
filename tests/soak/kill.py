"""Runs that are killed at random moments, resumed, killed again, and must end as if nothing had happened."""

import json
import random
import signal
import statistics
import subprocess
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.soak import Row
from tests.soak.programs import (
    PLAIN,
    Case,
    Runs,
    check_images,
    check_same,
    end,
    has_checkpoint,
    lines,
    start,
    wait_until,
    writing_checkpoint,
)

KILLS = 66
SIGNALS = 18
AGAIN = 0.4  # how likely a resumed run is killed again
MOMENTS = {"anywhere from the start": 1, "between steps": 3, "while a checkpoint is written": 4, "at the end": 3}


class Harness:
    """Kills and signals, and what they hit."""

    def __init__(self, runs: Runs, seed: int = 0):
        self.runs = runs
        self.random = random.Random(seed)
        self.killed: Counter[str] = Counter()
        self.by_case: Counter[str] = Counter()
        self.resumed = 0
        self.images = 0
        self.endings: list[float] = []

    def kill(self, case: Case, moment: str | None = None) -> None:
        """Starts a run, kills it and what it is resumed with until a draw says that it is enough, and compares the end.

        Args:
          case: which run.
          moment: of the first kill, one of MOMENTS; else drawn, as those of the others are.
        """
        whole, folder = self.runs.whole(case), self.runs.new("run")
        process = start(case, folder, self.runs.cache, start_new_session=True)
        self._strike(process, case, folder, moment or self._draw())
        while self.random.random() < AGAIN:
            process = start(case, folder, self.runs.cache, *case.resume, start_new_session=True)
            self._strike(process, case, folder, self._draw())
        code, said = end(start(case, folder, self.runs.cache, *case.resume))
        assert code == 0, (case.name, folder, said)
        self.resumed += 1
        check_same(folder, whole)

    def stop(self, case: Case, number: signal.Signals) -> None:
        """Ends a run with a signal between steps, notes how long that took, and goes on to the same bytes."""
        whole, folder = self.runs.whole(case), self.runs.new("run")
        process = start(case, folder, self.runs.cache)
        wanted = self.random.randrange(1, lines(whole))
        wait_until(lambda: lines(folder) >= wanted, process)
        time.sleep(self.random.uniform(0, 0.05))
        sent = time.monotonic()
        process.send_signal(number)
        code, said = end(process)
        took = time.monotonic() - sent
        if code == 0:  # it was at its last step
            check_same(folder, whole)
            return
        self.endings.append(took)
        assert code == 128 + number, (case.name, code, said)
        assert said.endswith("--resume goes on\n"), said
        assert said.count("\n") == 1 or "bfloat16" in case.name, said
        assert has_checkpoint(folder), case.name
        code, said = end(start(case, folder, self.runs.cache, *case.resume))
        assert code == 0, (case.name, folder, said)
        check_same(folder, whole)

    def kill_conversion(self) -> None:
        """Kills a run while its network is being converted; nothing of that may be left, and the next one converts it."""
        case = self.runs.cases[PLAIN]
        whole, folder = self.runs.whole(case), self.runs.new("run")
        cache = folder.with_suffix(".cache")
        process = start(case, folder, cache, start_new_session=True)
        wait_until(lambda: any((cache / "converted").glob(".making-*")), process)
        time.sleep(self.random.uniform(0, 3.5))
        self._kill(process, case, "during a conversion")
        deadline = time.monotonic() + 60
        while any((cache / "converted").glob(".making-*")):
            assert time.monotonic() < deadline, "a conversion that nobody waits for goes on"
            time.sleep(0.05)
        code, said = end(start(case, folder, cache, "--resume"))
        assert (code, said) == (0, ""), (code, said)
        self.resumed += 1
        check_same(folder, whole)

    def _draw(self) -> str:
        return self.random.choices(list(MOMENTS), list(MOMENTS.values()))[0]

    def _strike(self, process: subprocess.Popen, case: Case, folder: Path, moment: str) -> None:
        count, there = lines(self.runs.whole(case)), lines(folder)
        if moment == "anywhere from the start":
            time.sleep(self.random.uniform(0, self.runs.seconds[case.name]))
        elif moment == "at the end":
            wait_until(lambda: lines(folder) >= count, process)
            time.sleep(self.random.uniform(0, 1.0))
        else:
            wanted = self.random.randint(min(there, count - 1), count - 1)
            wait_until(lambda: lines(folder) >= wanted and lines(folder) != there, process)
            if moment == "while a checkpoint is written":
                wait_until(lambda: writing_checkpoint(folder), process)
                time.sleep(self.random.choice((0, 0.0005, 0.002)))
            else:
                time.sleep(self.random.uniform(0, 0.05))
        self._kill(process, case, moment)
        self.images += check_images(folder)

    def _kill(self, process: subprocess.Popen, case: Case, moment: str) -> None:
        process.kill()
        process.communicate()
        if process.returncode == -signal.SIGKILL:
            self.killed[moment] += 1
            self.by_case[case.name] += 1


def soak(scale: float = 1.0) -> list[Row]:
    """Kills and signals at random moments, over all cases in turn."""
    with tempfile.TemporaryDirectory() as name:
        harness = Harness(Runs(Path(name)))
        kinds = list(harness.runs.cases.values())
        turn = 0
        while sum(harness.killed.values()) < KILLS * scale:
            harness.kill(kinds[turn % len(kinds)])
            turn += 1
            if turn % 10 == 0:
                harness.kill_conversion()
            print(json.dumps({**harness.killed, "kills": sum(harness.killed.values())}), flush=True)
        numbers = (signal.SIGINT, signal.SIGTERM)
        for turn in range(max(2, round(SIGNALS * scale))):
            harness.stop(kinds[turn % (len(kinds) - 1)], numbers[turn % 2])
        moments = ", ".join(f"{count} {moment}" for moment, count in sorted(harness.killed.items()))
        return [
            Row(
                "A run that is killed goes on to the same bytes",
                f"{sum(harness.killed.values())} times SIGKILL in {harness.resumed} runs of {len(harness.by_case)} kinds "
                f"({', '.join(harness.by_case)}): {moments}; then resumed, and compared with a run that was not killed",
                f"{harness.resumed} of {harness.resumed} runs resumed and finished: the same files, the same bytes in every "
                f"image and in metrics.jsonl; {harness.images:,} images found right after a kill, all whole; "
                "nothing left over",
            ),
            Row(
                "SIGINT and SIGTERM end a run with a checkpoint within 3 s",
                f"{len(harness.endings)} signals between steps, then resumed and compared",
                f"{statistics.median(harness.endings):.1f} s in the median, {max(harness.endings):.1f} s at most; "
                "all resumed to the same bytes",
            ),
        ]
