"""Make a page that shows run directories side by side."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import ClassVar

from tfinvert.errors import InputError
from tfinvert.runs.directory import RunDirectory
from tfinvert.settings.fields import define, setting
from tfinvert.settings.groups import FolderSettings

INVERSIONS = ("invert",)


@define
class Settings(FolderSettings):
    """The page"""

    positional: ClassVar[tuple[str, ...]] = ("runs",)
    runs: tuple[str, ...] = setting(default=(), doc="Run directories of inversions, separated by commas.", placement=True)

    def check(self) -> None:
        super().check()
        if not self.runs:
            raise InputError("--runs is empty; --experiment=report expects run directories, such as --runs=out/q1,out/q4")


@dataclasses.dataclass(frozen=True)
class ReportResult:
    """A page. `path` is its report.html; report.json, with the figures, is beside it."""

    path: Path

    def summary(self) -> str:
        """Where the page is."""
        return f"report: {self.path}"


def run(settings: Settings) -> ReportResult:
    """Writes report.html and report.json into the output folder."""
    for path in settings.runs:
        directory = RunDirectory(Path(path))
        if not directory.info.is_file():
            raise InputError(f"{path} is no run directory: there is no run.json in it")
        experiment = directory.read_info().get("experiment", "invert")
        if experiment not in INVERSIONS:
            raise InputError(f"{path} is a run of --experiment={experiment}, which has a sheet.png; expected inversions")
    from tfinvert.reports import page  # imports Matplotlib, which a wrong --runs need not wait for

    folder = settings.run_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        entries = [page.Entry(Path(path), Path(path).name) for path in settings.runs]
        return ReportResult(page.write(folder, "Inversions, side by side", entries))
    except OSError as error:
        raise InputError(f"cannot write to {folder}: {error.strerror or error}") from None
