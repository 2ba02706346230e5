"""Disks that are full, folders that cannot be written any more or are gone: one line, and the last checkpoint goes on."""

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.soak import Row
from tests.soak.programs import PLAIN, TENSORBOARD, Case, Runs, check_same, end, has_checkpoint, lines, start, wait_until

KINDS = (PLAIN, "style, two scales", "decoder")
TIMES = 4


class CannotTryError(Exception):
    """What a fault needs is not permitted here."""


def soak(scale: float = 1.0) -> list[Row]:
    """Each fault for each kind of run, and for the cache."""
    times = max(1, round(TIMES * scale))
    with tempfile.TemporaryDirectory() as name:
        rig = Rig(Runs(Path(name)))
        return [
            _row("The disk is full in mid-run", rig.full_disk, (*KINDS, TENSORBOARD), times),
            _row("The folder cannot be written any more in mid-run", rig.read_only, KINDS, times),
            _row("The folder vanishes in mid-run", rig.vanishing, KINDS, times),
            _row("The cache is full, or cannot be written, in a conversion", rig.cache, ("full", "read-only"), times),
        ]


def _row(what: str, fault, kinds: tuple[str, ...], times: int) -> Row:
    said = set()
    for kind in kinds:
        for turn in range(times):
            try:
                said.add(fault(kind, turn))
            except CannotTryError as error:
                return Row(what, "not tried", str(error))
    outcome = "one line, exit code 1, and then "
    resumed = set(KINDS) <= set(kinds)
    outcome += "the same bytes with --resume" if resumed else "the run itself with a cache that can be written"
    example = min(filter(None, said), key=len)
    return Row(what, f"{times} times each: {'; '.join(kinds)}", f"{outcome}; it says for example: {example}")


class Rig:
    """The faults."""

    def __init__(self, runs: Runs):
        self.runs = runs

    def full_disk(self, kind: str, turn: int = 0) -> str:
        """A small disk fills up between two checkpoints; with room again the run goes on. Gives what was said."""
        case, whole = self._pair(kind)
        with tmpfs(self.runs.new("disk"), megabytes=64) as disk:
            folder, filler = disk / "run", disk / "filler"
            process = start(case, folder, self.runs.cache)
            self._until_under_way(process, folder, whole, turn)
            fill(filler)
            said = _one_line(*end(process), "No space left on device")
            filler.unlink()
            self._goes_on(case, folder, whole)
        return said.replace(str(folder), "out/run")

    def read_only(self, kind: str, turn: int = 0) -> str:
        """The permission to write is taken away in mid-run; with it back the run goes on. Gives what was said."""
        case, whole = self._pair(kind)
        folder = self.runs.new("run")
        within: tuple[str, ...] = ()
        if os.getuid() == 0:
            if shutil.which("setpriv") is None:
                raise CannotTryError("root may write everywhere, and setpriv is not there to change that")
            within = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")
        process = start(case, folder, self.runs.cache, within=within)
        self._until_under_way(process, folder, whole, turn)
        folders = [folder, *(path for path in folder.rglob("*") if path.is_dir() and not path.name.endswith("_temp"))]
        for one in folders:
            one.chmod(0o555)
        said = _one_line(*end(process), "Permission denied")
        for one in folders:
            one.chmod(0o755)
        self._goes_on(case, folder, whole)
        return said.replace(str(folder), "out/run")

    def vanishing(self, kind: str, turn: int = 0) -> str:
        """The folder is moved away in mid-run, and goes on where it has been moved to. Gives what was said."""
        case, whole = self._pair(kind)
        folder = self.runs.new("moved")
        process = start(case, folder, self.runs.cache)
        self._until_under_way(process, folder, whole, turn)
        away = folder.rename(folder.with_suffix(".away"))
        said = _one_line(*end(process), "")
        assert not (folder / "run.flags").exists(), list(folder.rglob("*"))  # TensorFlow makes the folder of its files again
        shutil.rmtree(folder, ignore_errors=True)
        self._goes_on(case, away, whole)
        return said.replace(str(folder), "out/run")

    def cache(self, kind: str, turn: int = 0) -> str:
        """A conversion whose cache has no room, or cannot be written: refused in one line, or kept elsewhere with a warning."""
        case, whole = self._pair(PLAIN)
        folder, disk = self.runs.new("run"), self.runs.new("cache")
        with tmpfs(disk, megabytes=1):
            filler = disk / "filler"
            if kind == "full":
                filler.write_bytes(bytes(2**20 - (8 * turn + 4) * 2**10))
                code, said = end(start(case, folder, disk))
                said = _one_line(code, said, "")
                filler.unlink()
                shutil.rmtree(disk / "converted", ignore_errors=True)
                subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
                code, after = end(start(case, folder, disk, *(["--resume"] * folder.exists())))
                assert (code, after) == (0, ""), after
            else:
                subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
                code, said = end(start(case, folder, disk, *case.resume))
                assert (code, said) == (0, ""), said  # the user's own cache is there too
            check_same(folder, whole)
        return said.strip().replace(str(disk), "CACHE")

    def _pair(self, kind: str) -> tuple[Case, Path]:
        case = self.runs.cases[kind]
        return case, self.runs.whole(case)

    def _until_under_way(self, process: subprocess.Popen, folder: Path, whole: Path, turn: int) -> None:
        wanted = max(1, lines(whole) * (turn + 1) // (TIMES + 4))
        assert wait_until(lambda: has_checkpoint(folder) and lines(folder) >= wanted, process), process.communicate()

    def _goes_on(self, case: Case, folder: Path, whole: Path) -> None:
        code, said = end(start(case, folder, self.runs.cache, *case.resume))
        assert code == 0, said
        check_same(folder, whole)


def _one_line(code: int, said: str, words: str) -> str:
    assert code == 1, (code, said)
    assert said.startswith("tfinvert: "), said
    assert said.count("\n") == 1, said
    assert words in said, said
    return said.strip()


def fill(filler: Path) -> None:
    """Leaves no room on a file's disk."""
    with contextlib.suppress(OSError), open(filler, "wb", buffering=0) as file:
        while True:
            file.write(bytes(2**12))


@contextlib.contextmanager
def tmpfs(folder: Path, megabytes: int) -> Iterator[Path]:
    """A small disk; raises CannotTryError where none can be mounted."""
    folder.mkdir(parents=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=777", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        raise CannotTryError("a small disk needs the right to mount one")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
