"""Make a page that shows run directories side by side."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from tfinvert.runs import reading
from tfinvert.runs.directory import RunDirectory
from tfinvert.settings.fields import define, setting
from tfinvert.settings.groups import FolderSettings
from tfinvert.system.errors import InputError


@define
class Settings(FolderSettings):
    """The page"""

    positional: ClassVar[tuple[str, ...]] = ("runs",)
    has_folder = True
    runs: tuple[str, ...] = setting(default=(), doc="Run directories of any experiments, separated by commas.", file=True)

    def check(self) -> None:
        super().check()
        if not self.runs:
            raise InputError("--runs is empty; --experiment=report expects run directories, such as --runs=out/q1,out/q4")

    def name_parts(self) -> list[str]:
        return ["+".join(Path(path).name for path in self.runs)]


@dataclasses.dataclass(frozen=True)
class ReportResult:
    """A page. `path` is its report.html; report.json, with the figures, is beside it."""

    path: Path

    def summary(self) -> str:
        """Where the page is."""
        return f"report: {self.path}"


def check(settings: Settings) -> None:
    """Refuses folders that hold no inversion."""
    for path in settings.runs:
        directory = RunDirectory(Path(path))
        if not (directory.info.is_file() or any((directory.path / name).is_file() for name in reading.OUTCOMES)):
            raise InputError(f"{path} is no run directory: there is no run.json in it")


def run(settings: Settings) -> ReportResult:
    """Writes report.html and report.json into the output folder."""
    from tfinvert.reports import page  # imports Matplotlib, which a wrong --runs need not wait for

    folder = settings.run_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        entries = [
            page.Entry(Path(path), name) for path, name in zip(settings.runs, distinct_names(settings.runs), strict=True)
        ]
        return ReportResult(page.write(folder, "Runs, side by side", entries))
    except OSError as error:
        raise InputError(f"cannot write to {folder}: {error.strerror or error}") from None


def distinct_names(paths: Sequence[str]) -> list[str]:
    """The last part of each path, or as many of its last parts as tell it from the others.

    Example:
      >>> distinct_names(["out/a/res2", "out/b/res2"])
      ['a/res2', 'b/res2']
    """
    parts = [Path(path).absolute().parts for path in dict.fromkeys(paths)]
    for length in range(1, max(map(len, parts), default=1) + 1):
        names = ["/".join(each[-length:]) for each in parts]
        if len(set(names)) == len(names):
            break
    by_path = dict(zip(dict.fromkeys(paths), names, strict=True))
    return [by_path[path] for path in paths]
