"""Hostile input, many cases of it: tried in a process with limits, watched for what no input may make the program do.

A part is a module of this package with `case(rng, folder) -> str`, which makes one input from a random generator, gives it to
the program and says in a word how that ended; InputError is an end of its own. Any other exception is a failure, and so are a
crash, more than SECONDS or MEMORY, a file that is changed outside the folder, a connection, a program that is started, an
object that is unpickled.

What the generator draws comes from a coverage-guided fuzzer (atheris, that is libFuzzer): draws that led through branches of
the program that no others had reached are kept, changed and tried again.

`python -m tests.soak.hostile PART DRAWS` tries one case again and shows its traceback; a failure names its draws.
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
from types import ModuleType

from tests.soak import Row
from tests.soak.draws import Drawn, changed
from tests.soak.guard import Guard
from tfinvert.system.errors import InputError

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 10  # of the clock and of the processor both, so that a machine that is busy with other things changes nothing
BLOCKED = 300  # seconds of the clock alone
MEMORY = 4 * 2**30  # bytes
SEED = 8
DRAWS = 128  # bytes
AT_RANDOM = 0.5  # share of the cases; the others are made of those that led somewhere new
INSTRUMENTED = ("tfinvert", "onnx", "PIL")  # where branches are counted
FOLDERS = ("home", "work", "elsewhere", "corpus")
SHOWN = 20  # failures


@dataclasses.dataclass
class Tally:
    """How cases ended, by kind, with what must not have happened.

    Attributes:
      memory: the most that a process took, in MB.
      branches: of the instrumented code that were reached.
    """

    ends: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    failures: list[str] = dataclasses.field(default_factory=list)
    memory: float = 0.0
    branches: int = 0

    def row(self, what: str) -> Row:
        """As a line of the table; AssertionError where there are failures."""
        count = self.ends.total()
        assert not self.failures, f"{len(self.failures)} of {count}:\n" + "\n".join(self.failures[:SHOWN])
        said = ", ".join(f"{number:,} {end}" for end, number in sorted(self.ends.items()))
        reached = f"; {self.branches:,} branches reached" if self.branches else ""
        return Row(what, f"{count:,} cases", f"{said}; at most {self.memory:,.0f} MB{reached}")


def tried(part: str, count: int) -> Tally:
    """Tries so many different cases of a part, in as many processes as it takes."""
    tally, seen = Tally(), set[str]()
    rng = random.Random(SEED)
    with tempfile.TemporaryDirectory(prefix="hostile-") as scratch:
        for name in FOLDERS:
            Path(scratch, name).mkdir()
        for _ in range(max(round(count * AT_RANDOM), 1)):
            data = rng.randbytes(DRAWS)
            _kept(Path(scratch), data.hex()).write_bytes(data)
        Path(scratch, "elsewhere", "kept.txt").write_text("as it was")
        before = _contents(Path(scratch, "elsewhere")), _contents(Path(scratch, "home"))
        while len(seen) < count and len(tally.failures) < SHOWN:
            _some(part, count, Path(scratch), tally, seen)
        if before != (_contents(Path(scratch, "elsewhere")), _contents(Path(scratch, "home"))):
            tally.failures.append("files outside the folder were changed")
        strange = sorted({path.name for path in Path(scratch).iterdir()} - set(FOLDERS))
        if strange:
            tally.failures.append(f"files outside the folder were made: {strange}")
    return tally


def _kept(scratch: Path, draws: str) -> Path:
    """Where draws lie that are tried first, and from which others are made; libFuzzer names its files in this way."""
    return scratch / "corpus" / hashlib.sha1(bytes.fromhex(draws)).hexdigest()


def _contents(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def _some(part: str, count: int, scratch: Path, tally: Tally, seen: set[str]) -> None:
    """Cases in one process, until it ends or `count` have been seen; those that were kept are tried again and not counted."""
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
    command = [sys.executable, "-m", "tests.soak.hostile", part, str(SEED + len(seen)), str(scratch)]
    draws, done = "", True
    with (
        tempfile.TemporaryFile() as said,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=said, env=environment, cwd=ROOT) as process,
    ):
        assert process.stdout is not None
        for line in process.stdout:
            event = json.loads(line)
            if "case" in event:
                draws, done = event["case"], False
                continue
            done = True
            tally.memory = max(tally.memory, event["memory"])
            if event["end"] == "failed":
                tally.failures.append(f"{part} {draws}: {event['why']}")
            if draws not in seen:
                tally.ends[event["end"]] += 1
            seen.add(draws)
            if len(seen) == count:
                process.kill()
                break
        code = process.wait()
        said.seek(0)
        words = said.read().decode(errors="replace").strip()
    tally.branches = max([tally.branches, *map(int, re.findall(r"^#\d+\s.* cov: (\d+) ", words, re.MULTILINE))])
    if len(seen) == count:
        return
    last_words = " | ".join(words.splitlines()[-12:])
    assert draws, f"{part}: the process ended with {code} before its first case: {last_words}"
    _kept(scratch, draws).unlink(missing_ok=True)  # or the next process would end there too
    if done:  # the process was full after this case
        assert code == FULL, f"{part}: the process ended with {code} after {draws}: {last_words}"
        return
    seen.add(draws)
    tally.ends["failed"] += 1
    kind = "took too long" if "Timeout" in last_words else f"crashed with {code}"
    tally.failures.append(f"{part} {draws}: {kind}: {last_words[:600]}")


FULL = 88  # exit code of a process that has grown, and goes on as another one


def _memory() -> float:
    """The most memory that this process has taken, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def _work(part: str, seed: str, scratch: Path) -> None:
    """Tries cases until it is killed: first those that were kept, then what the fuzzer makes of them."""
    import atheris

    events = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    with atheris.instrument_imports(include=INSTRUMENTED):
        module, folder, guard = _prepared(part, scratch)
        start, used = _memory(), dict[bytes, int]()

        def one(data: bytes) -> None:
            if not data:  # libFuzzer's own trial
                return
            print(json.dumps({"case": data.hex()}), file=events, flush=True)
            draws = Drawn(data)
            end, why = _one(module, draws, folder, guard)
            used[data] = min(draws.used, len(data))
            if _memory() * 2**20 > MEMORY:
                end, why = "failed", f"{_memory():.0f} MB"
            print(json.dumps({"end": end, "why": why, "memory": _memory()}), file=events, flush=True)
            if _memory() - start > 1000:
                os._exit(FULL)  # the next case starts from little memory again

        def another(data: bytes, _: int, seed: int) -> bytes:
            return changed(data, used.get(data, 0) or len(data), random.Random(seed))

        # Limits and crashes are the parent's to see.
        without = [f"-{name}=0" for name in ("rss_limit_mb", "malloc_limit_mb", "len_control", "reduce_inputs", "reload")]
        unhandled = [f"-handle_{name}=0" for name in ("segv", "bus", "abrt", "ill", "fpe", "int", "term", "xfsz")]
        options = [f"-seed={seed}", f"-max_len={DRAWS}", "-timeout=86400", "-report_slow_units=86400", *without, *unhandled]
        atheris.Setup([sys.argv[0], str(scratch / "corpus"), *options], one, custom_mutator=another)
        atheris.Fuzz()


def _prepared(part: str, scratch: Path) -> tuple[ModuleType, Path, Guard]:
    module = importlib.import_module(f"tests.soak.{part}")
    module.prepare()
    os.environ["HOME"] = str(scratch / "home")
    folder = scratch / "work"
    os.chdir(folder)
    if module.LIMITED:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    return module, folder, Guard(folder)


def _one(module, rng: random.Random, folder: Path, guard: Guard) -> tuple[str, str]:
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


def _again(part: str, draws: str) -> None:
    """One case, in this process."""
    global SHOW
    SHOW = True
    with tempfile.TemporaryDirectory(prefix="hostile-") as scratch, contextlib.chdir(ROOT):
        for name in FOLDERS:
            Path(scratch, name).mkdir()
        os.environ["TFINVERT_CACHE"] = str(Path(scratch, "work", "cache"))
        module, folder, guard = _prepared(part, Path(scratch))
        print(*_one(module, Drawn(bytes.fromhex(draws)), folder, guard))
        os.chdir(ROOT)


if __name__ == "__main__":
    if len(sys.argv) == 3:
        _again(sys.argv[1], sys.argv[2])
    else:
        _work(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
