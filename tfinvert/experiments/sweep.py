"""Invert every layer of a network from the same start: pictures and errors by depth, as in the papers' figures."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from tfinvert import metrics
from tfinvert.errors import InputError
from tfinvert.images import files as images
from tfinvert.networks.conversion import convert
from tfinvert.reports import page, sheet
from tfinvert.runs import many as series
from tfinvert.runs.directory import RunDirectory
from tfinvert.settings.config import Config, pictures_by_name
from tfinvert.system.files import write_text
from tfinvert.system.locks import locked


def run(config: Config) -> int:
    """Runs one inversion for each layer, of each picture; gives 1 if one failed, else 0.

    The layers are `config.layers`, or with "all" every one that has a name of its own. Each is converted by itself,
    cut to what it needs: one model for all of them would run the deepest at every step. The pictures are `config.image`, or
    those in the folder `config.images`, `config.batch` of them in each step. Writes sweep.png for each picture, report.html,
    and with several pictures figures.json with the mean and the 95 % interval of each layer's figures over them.
    """
    folder = config.run_folder()
    pictures = _pictures(config)
    if config.layers == ("all",):
        with convert.Conversion(convert.request_for(config, ())) as conversion:
            layers = _distinct(conversion.result().layers)
    else:
        layers = config.layers
    runs, groups = {}, {}
    for picture, image in pictures.items():
        below = folder / picture
        for layer in layers:
            name = _name(picture, layer)
            one = dataclasses.replace(config, experiment="invert", layers=(layer,), image=image, images=None, batch=1)
            runs[name] = dataclasses.replace(one, output_dir=str(below / one.layers_name()))
            groups[name] = (below, layer)
    names = list(pictures)
    batches = [names[first : first + config.batch] for first in range(0, len(names), config.batch)]
    jobs = [{(name := _name(picture, layer)): runs[name] for picture in batch} for batch in batches for layer in layers]
    series.check(jobs)

    def write_report(outcomes: dict[str, series.Outcome]) -> Path:
        title = f"What the layers of {Path(config.onnx).name if config.onnx else config.model} keep"
        finished = {name: RunDirectory(outcome.folder) for name, outcome in outcomes.items() if outcome.error is None}
        for below in {groups[name][0] for name in finished}:
            by_layer = [finished[name] for name in runs if name in finished and groups[name][0] == below]
            sheet.write_depth(below / "sweep.png", title, by_layer)
        if len(pictures) > 1:
            _write_figures(folder / "figures.json", {name: groups[name][1] for name in finished}, finished)
        errors = {name: outcome.error for name, outcome in outcomes.items()}
        entries = [page.Entry(one.run_folder(), name, error=errors.get(name)) for name, one in runs.items()]
        return page.write(folder, title, entries, by_depth=len(pictures) == 1)

    with locked(folder):
        return series.run_with_report(jobs, write_report)


def _name(picture: str, layer: str) -> str:
    return f"{picture} {layer}".strip()


def _pictures(config: Config) -> dict[str, str]:
    """Name -> file of the pictures to invert; a single one has no name."""
    if config.images is None:
        return {"": config.image}
    folder = Path(config.images)
    if not folder.is_dir():
        raise InputError(f"--images is {config.images!r}; expected a folder of pictures")
    files = sorted(
        path for path in folder.iterdir() if path.suffix.lower() in images.SUFFIXES and not path.name.startswith(".")
    )
    if not files:
        raise InputError(f"there is no picture in {folder}; expected files such as {', '.join(images.SUFFIXES[:3])}")
    for path in files:
        images.check(path)
    return pictures_by_name(map(str, files), str(folder))


def _write_figures(path: Path, layers: dict[str, str], finished: dict[str, RunDirectory]) -> None:
    """Mean and half the width of the 95 % interval of each layer's figures, in figures.json and on standard output."""
    found: dict[str, dict[str, dict[str, float | None]]] = {}
    for layer in dict.fromkeys(layers.values()):
        results = [run.read_info()["result"] for name, run in finished.items() if layers[name] == layer]
        found[layer] = {}
        for figure in ("psnr", "ssim", "normalized_feature_error", "seconds"):
            mean, half = metrics.interval([result[figure] for result in results])
            # JSON has no NaN: a single picture has no interval.
            found[layer][figure] = {"mean": mean, "interval": half if len(results) > 1 else None, "pictures": len(results)}
        psnr, error = found[layer]["psnr"], found[layer]["normalized_feature_error"]
        print(f"{layer}: PSNR {_said(psnr, '.2f')} dB, normalized feature error {_said(error, '.3g')}, {len(results)} pictures")
    write_text(path, json.dumps(found, indent=2) + "\n")


def _said(figure: dict[str, float | None], form: str) -> str:
    interval = figure["interval"]
    return f"{figure['mean']:{form}}" + (f" +-{interval:{form}}" if interval is not None else "")


def _distinct(layers: tuple[convert.Layer, ...]) -> tuple[str, ...]:
    """One name for each tensor, without a module's inside."""
    first: dict[str, str] = {}
    for layer in layers:
        if "/" not in layer.name and not layer.name.startswith("features."):
            first.setdefault(layer.tensor, layer.name)
    return tuple(first.values())
