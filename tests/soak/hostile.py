"""Hostile input, many cases of it: tried in a process with limits, watched for what no input may make the program do.

A part is a module of this package with `case(rng, folder) -> str`, which makes one input from a random generator, gives it to
the program and says in a word how that ended; InputError is an end of its own. Any other exception is a failure, and so are a
crash, more than SECONDS or MEMORY, a file that is changed outside the folder, a connection, a program that is started, an
object that is unpickled.

`python -m tests.soak.hostile PART SEED NUMBER` tries one case again and shows its traceback.
"""

import collections
import contextlib
import dataclasses
import faulthandler
import hashlib
import importlib
import json
import os
import random
import re
import resource
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

from tests.soak import Row
from tfinvert.errors import InputError

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 10  # of the clock and of the processor both, so that a machine that is busy with other things changes nothing
BLOCKED = 300  # seconds of the clock alone
MEMORY = 4 * 2**30  # bytes
SEED = 8
SHOWN = 20  # failures
STARTED = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "pty.spawn", "pickle.find_class")
CONNECTED = ("socket.connect", "socket.getaddrinfo", "socket.sendto", "socket.bind", "urllib.Request")
CHANGED = ("os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.chmod", "os.chown", "os.truncate")


@dataclasses.dataclass
class Tally:
    """How cases ended, by kind, with what must not have happened and the most memory (MB) that a process took."""

    ends: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    failures: list[str] = dataclasses.field(default_factory=list)
    memory: float = 0.0

    def row(self, what: str) -> Row:
        """As a line of the table; AssertionError where there are failures."""
        count = self.ends.total()
        assert not self.failures, f"{len(self.failures)} of {count}:\n" + "\n".join(self.failures[:SHOWN])
        said = ", ".join(f"{number:,} {end}" for end, number in sorted(self.ends.items()))
        return Row(what, f"{count:,} cases", f"{said}; at most {self.memory:,.0f} MB")


def tried(part: str, count: int, seed: int = SEED) -> Tally:
    """Tries the first `count` cases of a part, in as many processes as it takes."""
    tally, first = Tally(), 0
    with tempfile.TemporaryDirectory(prefix="hostile-") as scratch:
        for name in ("home", "work", "elsewhere"):
            Path(scratch, name).mkdir()
        Path(scratch, "elsewhere", "kept.txt").write_text("as it was")
        before = _contents(Path(scratch, "elsewhere")), _contents(Path(scratch, "home"))
        while first < count:
            first = _some(part, seed, first, count, Path(scratch), tally)
        if before != (_contents(Path(scratch, "elsewhere")), _contents(Path(scratch, "home"))):
            tally.failures.append("files outside the folder were changed")
        strange = sorted({path.name for path in Path(scratch).iterdir()} - {"home", "work", "elsewhere"})
        if strange:
            tally.failures.append(f"files outside the folder were made: {strange}")
    return tally


def _contents(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def _some(part: str, seed: int, first: int, last: int, scratch: Path, tally: Tally) -> int:
    """Cases from `first` on in one process; gives the number of the next."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "PYTHONDONTWRITEBYTECODE": "1",
        "TFINVERT_CACHE": str(scratch / "work" / "cache"),
        "TMPDIR": str(scratch / "work"),
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "CUDA_VISIBLE_DEVICES": "-1",
        "OMP_NUM_THREADS": "2",
    }
    command = [sys.executable, "-m", "tests.soak.hostile", part, str(seed), str(first), str(last), str(scratch)]
    number, done = first - 1, True
    with (
        tempfile.TemporaryFile() as said,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=said, env=environment, cwd=ROOT) as process,
    ):
        assert process.stdout is not None
        for line in process.stdout:
            event = json.loads(line)
            if "case" in event:
                number, done = event["case"], False
                continue
            done = True
            tally.memory = max(tally.memory, event["memory"])
            tally.ends[event["end"]] += 1
            if event["end"] == "failed":
                tally.failures.append(f"{part} {seed} {number}: {event['why']}")
        code = process.wait()
        said.seek(0)
        last_words = " | ".join(said.read().decode(errors="replace").strip().splitlines()[-12:])
    if code == 0:
        return last
    assert number >= first, f"{part}: the process ended with {code} before its first case: {last_words}"
    if done:  # the process was full after this case
        assert code == FULL, f"{part}: the process ended with {code} after case {number}: {last_words}"
        return number + 1
    tally.ends["failed"] += 1
    kind = "took too long" if "Timeout" in last_words else f"crashed with {code}"
    tally.failures.append(f"{part} {seed} {number}: {kind}: {last_words[:600]}")
    return number + 1


FULL = 77  # exit code of a process that has grown, and goes on as another one


class _Guard:
    """Keeps what the interpreter says it is about to do and no input may make it do."""

    def __init__(self, allowed: Path):
        self.allowed = str(allowed.resolve())
        self.found: list[str] = []
        self.on = False
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple) -> None:
        if not self.on:
            return
        if event in STARTED or event in CONNECTED:
            self.found.append(f"{event} {arguments!r:.200}")
        elif event == "open" and self._writes(arguments):
            self._path(event, arguments[0])
        elif event in CHANGED:
            paths = {"os.rename": arguments[:2], "os.symlink": arguments[1:2], "os.link": arguments[1:2]}
            for path in paths.get(event, arguments[:1]):
                self._path(event, path)

    @staticmethod
    def _writes(arguments: tuple) -> bool:
        _, mode, flags = arguments
        if isinstance(mode, str):
            return bool(set(mode) & set("wax+"))
        return bool((flags or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC))

    def _path(self, event: str, path: object) -> None:
        if isinstance(path, int) or path is None:
            return
        whole = os.path.abspath(os.fsdecode(path))  # type: ignore[arg-type]
        if whole != os.devnull and not os.path.realpath(whole).startswith(self.allowed):
            self.found.append(f"{event} {whole}")


def _memory() -> float:
    """The most memory that this process has taken, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def _work(part: str, seed: str, first: int, last: int, scratch: Path) -> None:
    events = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    module = importlib.import_module(f"tests.soak.{part}")
    module.prepare()
    os.environ["HOME"] = str(scratch / "home")
    folder = scratch / "work"
    os.chdir(folder)
    if module.LIMITED:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    guard = _Guard(folder)
    start = _memory()
    for number in range(first, last):
        print(json.dumps({"case": number}), file=events, flush=True)
        end, why = _one(module, random.Random(f"{part} {seed} {number}"), folder, guard)
        if _memory() * 2**20 > MEMORY:
            end, why = "failed", f"{_memory():.0f} MB"
        print(json.dumps({"end": end, "why": why, "memory": _memory()}), file=events, flush=True)
        if _memory() - start > 1000 and number + 1 < last:
            events.flush()
            os._exit(FULL)  # the next case starts from little memory again


def _one(module, rng: random.Random, folder: Path, guard: _Guard) -> tuple[str, str]:
    guard.found.clear()
    faulthandler.dump_traceback_later(getattr(module, "BLOCKED", BLOCKED), exit=True)
    clock, processor = time.perf_counter(), time.process_time()
    guard.on = True
    end, why = "failed", ""
    try:
        end = module.case(rng, folder)
    except InputError as error:
        end = "refused"
        if not str(error).strip():
            end, why = "failed", "an InputError that says nothing"
    except BaseException:
        why = traceback.format_exc()
        where = re.findall(r'File "[^"]*/(tfinvert/[^"]*)", line (\d+)', why)[-1:]
        why = f"{' '.join(map(':'.join, where))} {why.strip().splitlines()[-1][:300]}\n{why[-3000:] if SHOW else ''}"
    finally:
        guard.on = False
        faulthandler.cancel_dump_traceback_later()
    seconds = min(time.perf_counter() - clock, time.process_time() - processor)
    if seconds > getattr(module, "SECONDS", SECONDS):
        end, why = "failed", f"{seconds:.1f} s of the processor"
    if guard.found:
        end, why = "failed", f"it did {guard.found[:3]}"
    return end, why


SHOW = False  # whole tracebacks


def _again(part: str, seed: str, number: int) -> None:
    """One case, in this process."""
    global SHOW
    SHOW = True
    with tempfile.TemporaryDirectory(prefix="hostile-") as scratch, contextlib.chdir(ROOT):
        for name in ("home", "work", "elsewhere"):
            Path(scratch, name).mkdir()
        _work(part, seed, number, number + 1, Path(scratch))
        os.chdir(ROOT)


if __name__ == "__main__":
    if len(sys.argv) == 4:
        _again(sys.argv[1], sys.argv[2], int(sys.argv[3]))
    else:
        _work(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), Path(sys.argv[5]))
