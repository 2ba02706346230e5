"""Make a film, a figure for a paper, or a page from a run or a sweep."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, ClassVar

from tfinvert.runs import reading
from tfinvert.runs.directory import RunDirectory
from tfinvert.settings.fields import Settings as AnySettings
from tfinvert.settings.fields import define, setting
from tfinvert.system.errors import InputError

FILMS, FIGURES = ("gif", "webp", "mp4"), ("png", "svg", "pdf")
SNAPSHOTS = {"single": 4, "double": 5}  # images of steps in a figure


@define
class Settings(AnySettings):
    """The file"""

    positional: ClassVar[tuple[str, ...]] = ("run",)
    arguments: ClassVar[tuple[str, ...]] = ("run",)
    needs_tensorflow = False
    run: str = setting(default="", doc="A run directory, or the folder of a sweep.", file=True)
    format: str = setting(
        default="gif",
        doc="gif, webp and mp4 are films: of the steps of a run, or of the layers of a sweep. png, svg and pdf are figures for "
        "a paper: the images, the curves, or a sweep by depth. html is a page that needs no other file.",
        choices=(*FILMS, *FIGURES, "html"),
    )
    width: str = setting(
        default="double", doc="The width of a figure: a single or a double column of a paper.", choices=("single", "double")
    )
    output_dir: str = setting(default="out/export", doc="The folder that the files are written to.")

    def check(self) -> None:
        super().check()
        if not self.run:
            raise InputError(
                "--run is empty; expected a run directory or the folder of a sweep, as in tfinvert export out/invert"
            )
        if not Path(self.run).is_dir():
            raise InputError(f"there is no folder {self.run!r}; expected a run directory or the folder of a sweep")


@dataclasses.dataclass(frozen=True)
class ExportResult:
    """The files that were written."""

    paths: tuple[Path, ...]

    def summary(self) -> str:
        """Where the files are."""
        return "\n".join(map(str, self.paths))


def run(settings: Settings) -> ExportResult:
    """Writes the files. The same run gives the same bytes."""
    folder = Path(settings.run)
    name = folder.absolute().name
    output = Path(settings.output_dir)
    directory = RunDirectory(folder)
    is_run = directory.info.is_file() or directory.flags.is_file()
    layers = [] if is_run else _sweep(folder)
    try:
        output.mkdir(parents=True, exist_ok=True)
        if settings.format in FILMS:
            paths = [_film(settings, directory, layers, output / f"{name}.{settings.format}")]
        elif settings.format == "html":
            paths = [_page(folder, layers, output / f"{name}.html")]
        else:
            paths = _figures(settings, directory, layers, output / name)
    except OSError as error:
        raise InputError(f"cannot write to {output}: {error.strerror or error}") from None
    return ExportResult(tuple(paths))


def _sweep(folder: Path) -> list[RunDirectory]:
    """The runs of a sweep, the shallowest layer first; raises InputError where there are none."""
    from tfinvert.reports.viewer import sweeps
    from tfinvert.reports.viewer.catalog import Catalog
    from tfinvert.reports.viewer.paths import ROOT

    sweep = sweeps.layers(Catalog(folder), ROOT)
    if sweep is None:
        raise InputError(f"{folder} is neither a run directory nor the folder of a sweep of one image")
    runs = [RunDirectory(folder / card["name"]) for card in sweep["runs"]]
    finished = [each for each in runs if each.final.is_file()]
    if not finished:
        raise InputError(f"no run of the sweep {folder} has a result yet")
    return finished


def _layer(directory: RunDirectory) -> str:
    return ", ".join(directory.read_info().get("layers", {})) or directory.path.name


def _result(directory: RunDirectory) -> dict[str, float]:
    return {name: value for name, value in directory.read_info().get("result", {}).items() if reading.is_number(value)}


def _film(settings: Settings, directory: RunDirectory, layers: list[RunDirectory], path: Path) -> Path:
    from tfinvert.reports import film

    if layers:
        parts = [(number + 1) / len(layers) for number in range(len(layers))]
        frames = [
            film.Frame(each.final, f"{_layer(each)}{_decibels(_result(each).get('psnr'))}", part)
            for each, part in zip(layers, parts, strict=True)
        ]
        target = layers[0].target
    else:
        psnr = {line["step"]: line.get("psnr") for line in directory.read_metrics()}
        steps = directory.step_images()
        if len(steps) < 2:
            raise InputError(f"{directory.path} has {len(steps)} images of steps, and a film needs 2; give another --format")
        last = max(steps)
        frames = [
            film.Frame(image, f"step {step:{len(str(last))}d} of {last}{_decibels(psnr.get(step))}", step / last)
            for step, image in steps.items()
        ]
        target = directory.target
    film.write(path, settings.format, frames, target if target.is_file() else None)
    return path


def _figures(settings: Settings, directory: RunDirectory, layers: list[RunDirectory], stem: Path) -> list[Path]:
    from tfinvert.reports import figures
    from tfinvert.reports.sheet import spread

    kind, width = settings.format, settings.width
    if layers:
        target = layers[0].target if layers[0].target.is_file() else None
        path = stem.with_name(f"{stem.name}-depth.{kind}")
        figures.write_depth(path, kind, width, target, [(_layer(each), each.final, _result(each)) for each in layers])
        return [path]
    steps = directory.step_images()
    has_target, has_final = directory.target.is_file(), directory.final.is_file()
    cells = [figures.Cell(directory.target, "target")] if has_target else []
    shown = list(steps.items())[: -1 if has_final else None]  # the last step is the result, or nearly so
    cells += [figures.Cell(image, f"step {step}") for step, image in spread(shown, SNAPSHOTS[width])]
    if has_final:
        cells.append(figures.Cell(directory.final, f"result{_decibels(_result(directory).get('psnr'))}"))
    if not has_final and not steps:
        others = sorted(directory.images.glob("*.png"), key=lambda path: (path.stat().st_mtime_ns, path.name))
        cells += [figures.Cell(image, image.stem.partition("-")[2].replace("_", " ") or image.stem) for image in others[:40]]
    paths = []
    if cells:
        paths.append(stem.with_name(f"{stem.name}-images.{kind}"))
        pair = (directory.final, directory.target) if has_target and has_final else None
        figures.write_sheet(paths[-1], kind, width, cells, pair)
    if lines := directory.read_metrics():
        paths.append(stem.with_name(f"{stem.name}-curves.{kind}"))
        figures.write_curves(paths[-1], kind, width, lines)
    if not paths:
        raise InputError(f"{directory.path} has neither images nor metrics yet")
    return paths


def _page(folder: Path, layers: list[RunDirectory], path: Path) -> Path:
    from tfinvert.reports import page
    from tfinvert.system.files import write_text

    entries = [page.Entry(each.path, _layer(each)) for each in layers] or [page.Entry(folder, path.stem)]
    html, _ = page.render(path.stem, entries, by_depth=bool(layers))
    write_text(path, html)
    return path


def _decibels(value: Any) -> str:
    return f", {value:.1f} dB" if reading.is_number(value) else ""
