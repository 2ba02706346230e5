"""Make a page of any run directories."""

from __future__ import annotations

from pathlib import Path

from tfinvert.errors import InputError
from tfinvert.reports import page
from tfinvert.runs.directory import RunDirectory
from tfinvert.settings.config import CONFIGS, Config


def run(config: Config) -> None:
    """Writes report.html and report.json into the output folder."""
    for path in config.runs:
        if not RunDirectory(Path(path)).info.is_file():
            raise InputError(f"{path} is no run directory: there is no run.json in it")
        experiment = RunDirectory(Path(path)).read_info().get("experiment", "invert")
        if CONFIGS.get(experiment, Config) is not Config:
            raise InputError(f"{path} is a run of --experiment={experiment}, which has a sheet.png; expected inversions")
    folder = config.run_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        entries = [page.Entry(Path(path), Path(path).name) for path in config.runs]
        print(f"report: {page.write(folder, 'Inversions, side by side', entries)}")
    except OSError as error:
        raise InputError(f"cannot write to {folder}: {error.strerror or error}") from None
