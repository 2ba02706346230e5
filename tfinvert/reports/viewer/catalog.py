"""The run directories below a folder, found by looking at the file system again and again.

It looks at files alone. The programs that write them may run on another machine with a shared folder.
"""

from __future__ import annotations

import contextlib
import os
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tfinvert.reports.viewer import cards
from tfinvert.reports.viewer.paths import ROOT
from tfinvert.runs import reading

DEEPEST, MOST_FOLDERS = 8, 20_000  # how far a folder is searched for run directories
MARKS = ("run.json", "run.flags", *reading.OUTCOMES)  # one of these makes a folder a run directory
WATCHED = (
    "run.json",
    "run.flags",
    "metrics.jsonl",
    *reading.OUTCOMES,
    "images",
    "target.png",
    "final.png",
    "sheet.png",
    ".lock.holder",
)
BEGAN = WATCHED.index("run.flags")  # is written when a run begins, and never again
SCAN_SECONDS = 0.2  # the least time between two looks; a look takes a tenth of the time at most
Stamp = tuple[int, ...]


class Catalog:
    """The run directories below a folder.

    A run is named by its path below the folder, with "/" between the parts; the folder itself is ".".
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self._lock = threading.RLock()
        self._stamps: dict[str, Stamp] = {}
        self._cards: dict[str, tuple[Stamp, dict[str, Any]]] = {}
        self._changes: dict[str, int] = {}  # name -> the version in which it appeared, changed or went
        self._version = 0
        self._next_scan = 0.0

    def prepare(self) -> None:
        """Looks for the runs, so that the look of whoever asks first, which is still made, is a short one."""
        with self._lock:
            self._scan()
            self._next_scan = 0.0

    def changes(self, since: int) -> tuple[int, list[str]]:
        """The current version, and the runs that have appeared, changed or gone after version `since`."""
        with self._lock:
            self._scan()
            return self._version, [name for name, version in self._changes.items() if version > since]

    def names(self) -> list[str]:
        """Every run, the one that began last first: the order stays while runs go on."""
        with self._lock:
            self._scan()
            return sorted(self._stamps, key=lambda name: (-(self._stamps[name][BEGAN] or max(self._stamps[name])), name))

    def card(self, name: str) -> dict[str, Any] | None:
        """What a card shows of a run, as `cards.read` gives it; None where the run has gone."""
        with self._lock:
            self._scan()
            stamp = self._stamps.get(name)
            known = self._cards.get(name)
        if stamp is None:
            return None
        changed = max(stamp) / 1e9
        if known is None or known[0] != stamp:
            known = (stamp, cards.read(self.folder if name == ROOT else self.folder / name, name))
            with self._lock:
                self._cards[name] = known
        return {**known[1], "changed": changed, "state": cards.state(known[1], changed)}

    def _scan(self) -> None:
        """Looks at the file system, if the last look is not too young."""
        started = time.monotonic()
        if started < self._next_scan:
            return
        stamps = dict(self._find())
        changed = [name for name, stamp in stamps.items() if self._stamps.get(name) != stamp]
        gone = self._stamps.keys() - stamps.keys()
        if changed or gone:
            self._version += 1
            self._changes |= dict.fromkeys((*changed, *gone), self._version)
        for name in gone:
            self._cards.pop(name, None)
        self._stamps = stamps
        ended = time.monotonic()
        self._next_scan = ended + max(SCAN_SECONDS, 9 * (ended - started))

    def _find(self) -> Iterator[tuple[str, Stamp]]:
        """The names and stamps of the run directories."""
        pending, visited = [(ROOT, str(self.folder), 0)], 0
        while pending and visited < MOST_FOLDERS:
            name, path, depth = pending.pop()
            visited += 1
            if name in self._stamps and (stamp := _stamp(path)):
                yield name, stamp  # known before: its entries need not be listed
                continue
            with contextlib.suppress(OSError):
                entries = list(os.scandir(path))
                if any(entry.name in MARKS and entry.is_file(follow_symlinks=False) for entry in entries):
                    if stamp := _stamp(path):
                        yield name, stamp
                elif depth < DEEPEST:
                    folders = [entry for entry in entries if entry.is_dir(follow_symlinks=False) and _is_name(entry.name)]
                    above = "" if name == ROOT else f"{name}/"
                    pending += [(f"{above}{entry.name}", entry.path, depth + 1) for entry in folders]


def _is_name(name: str) -> bool:
    """Whether a name can stand in an address: it is not hidden, and it is text of one line."""
    try:
        return not name.startswith(".") and bool(name.encode()) and "\\" not in name and name.isprintable()
    except UnicodeEncodeError:
        return False


def _stamp(path: str) -> Stamp:
    """When the files of a run directory changed (nanoseconds) and their sizes; empty where it is none.

    A look at 2,000 runs asks for 20,000 files, so that paths are texts here.
    """
    times, sizes, marked = [], [], False
    for name in WATCHED:
        try:
            found = os.lstat(f"{path}{os.sep}{name}")
        except OSError:
            times.append(0)
            continue
        marked = marked or (name in MARKS and stat.S_ISREG(found.st_mode))
        times.append(found.st_mtime_ns)
        sizes.append(found.st_size)
    # Sizes are far smaller than times, so that the largest of all is the last change.
    return (*times, *sizes) if marked else ()
