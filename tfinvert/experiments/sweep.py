"""Invert every layer of a network, of one image or of many: images and errors by depth, as in the papers' figures."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfinvert import images, metrics
from tfinvert.experiments.invert import Settings as InvertSettings
from tfinvert.images.references import EVEN_GREY, MEAN_IMAGE
from tfinvert.settings.fields import changed, define, setting
from tfinvert.settings.groups import WorkerSettings
from tfinvert.system.errors import InputError

if TYPE_CHECKING:
    from tfinvert.networks.network import Network
    from tfinvert.runs.directory import RunDirectory
    from tfinvert.runs.executors import Connect
    from tfinvert.runs.tasks import TasksResult

ALL = ("all",)
FIGURES = ("psnr", "ssim", "normalized_feature_error", "seconds")


@define
class Settings(WorkerSettings, InvertSettings):
    """The sweep"""

    has_run_directory = False
    has_folder = True
    needs_tensorflow = False
    layers: tuple[str, ...] = changed(
        InvertSettings, "layers", default=ALL, doc="Layers to invert, one by one, or all of them."
    )
    resume: bool = changed(
        InvertSettings, "resume", default=False, doc="Has no effect: a sweep always continues what is not finished."
    )
    batch: int = setting(default=1, doc="Number of images that are inverted in one batch.", at_least=1, placement=True)

    def images_at_once(self) -> int:
        return self.batch

    def how_to_go_on(self) -> str:
        return "the same command goes on"

    def layers_needed(self) -> tuple[str, ...]:
        return () if self.layers == ALL else self.layers

    def one_run(self, image: str, layer: str, folder: Path) -> InvertSettings:
        """The settings of the inversion of one image from one layer, below a folder."""
        names = [field.name for field in dataclasses.fields(InvertSettings)]
        values = {name: getattr(self, name) for name in names} | {"layers": (layer,), "image": (image,)}
        run = InvertSettings(**values)
        return dataclasses.replace(run, output_dir=str(folder / run.layers_name()))


def prepare(settings: Settings, network: Network) -> None:
    """Checks that the runs can name the network and its layers; each converts it by itself."""
    if "onnx" not in network.settings():
        raise InputError("network is a Keras model; expected a name or an .onnx file, for runs in processes of their own")
    if settings.layers != ALL:
        network.check(settings.layers)


def run(settings: Settings, network: Network, executor: Connect) -> TasksResult:
    """Runs one inversion for each layer and image.

    The layers are those of the settings, or every layer that has a name of its own. Each is converted by itself, cut to what it
    needs: one model for all of them would run the deepest at every step. Writes sweep.png for each image, report.html,
    graph.json, which says what each layer reads, and with several images figures.json with the mean and the 95 % interval of
    each layer's figures.
    """
    from tfinvert.reports import page, sheet
    from tfinvert.runs import tasks
    from tfinvert.runs.directory import RunDirectory
    from tfinvert.system.files import write_text

    folder = settings.run_folder()
    files = images.expand(settings.image)
    # A single image has no folder of its own.
    places = {"": next(iter(files.values()))} if len(files) == 1 else files
    layers = distinct(network) if settings.layers == ALL else settings.layers
    runs = {(name, layer): settings.one_run(file, layer, folder / name) for name, file in places.items() for layer in layers}
    names = list(places)
    batches = [names[first : first + settings.batch] for first in range(0, len(names), settings.batch)]
    # Layer by layer, so that the images of a layer find its network and its traced functions in a worker.
    todo = [tasks.Task({_title(name, layer): runs[name, layer] for name in batch}) for layer in layers for batch in batches]
    tasks.check(todo)

    def write_page(outcomes: dict[str, tasks.Outcome]) -> Path:
        title = f"What the layers of {Path(settings.onnx).name if settings.onnx else settings.model} keep"
        finished = {
            key: RunDirectory(outcome.folder)
            for key in runs
            if (outcome := outcomes.get(_title(*key))) is not None and outcome.error is None
        }
        for name in places:
            by_layer = [directory for (image, _), directory in finished.items() if image == name]
            if by_layer:
                sheet.write_depth(folder / name / "sweep.png", title, by_layer)
        if len(places) > 1:
            _write_figures(folder / "figures.json", finished)
        errors = {name: outcome.error for name, outcome in outcomes.items()}
        entries = [page.Entry(run.run_folder(), _title(*key), error=errors.get(_title(*key))) for key, run in runs.items()]
        return page.write(folder, title, entries, by_depth=True)

    write_text(folder / "graph.json", json.dumps(network.connections(layers), indent=1) + "\n")
    return tasks.run_with_report(todo, executor, write_page)


def _title(image: str, layer: str) -> str:
    return f"{image} {layer}".strip()


def distinct(network: Network) -> tuple[str, ...]:
    """One name for each tensor, without the inside of modules."""
    first: dict[str, str] = {}
    for layer in network.layers.values():
        if "/" not in layer.name and not layer.name.startswith("features."):
            first.setdefault(layer.tensor, layer.name)
    return tuple(first.values())


def _write_figures(path: Path, finished: dict[tuple[str, str], RunDirectory]) -> None:
    """Writes mean and half the width of the 95 % interval of each layer's figures, and prints them."""
    from tfinvert.reports.entries import Entry, read_run
    from tfinvert.system.files import write_text

    figures: dict[str, dict[str, dict[str, Any]]] = {}
    for layer in dict.fromkeys(layer for _, layer in finished):
        runs = [read_run(Entry(directory.path, layer)) for (_, name), directory in finished.items() if name == layer]
        values = {figure: [run.info["result"][figure] for run in runs] for figure in FIGURES}
        for name in (EVEN_GREY, MEAN_IMAGE):
            values[f"psnr of {name}"] = [run.references[name] for run in runs if name in run.references]
        figures[layer] = {}
        for figure, numbers in values.items():
            mean, half = metrics.interval(numbers)
            # JSON has no NaN: a single image has no interval.
            figures[layer][figure] = {"mean": mean, "interval": half if len(numbers) > 1 else None, "images": len(numbers)}
        psnr, error = _words(figures[layer]["psnr"], ".2f"), _words(figures[layer]["normalized_feature_error"], ".3g")
        grey, mean_image = (figures[layer][f"psnr of {name}"]["mean"] for name in (EVEN_GREY, MEAN_IMAGE))
        references = f"{EVEN_GREY} has {grey:.2f}, {MEAN_IMAGE} {mean_image:.2f}"
        print(
            f"{layer}: PSNR {psnr} dB ({references}), normalized feature error {error}; "
            f"mean and 95 % interval of the mean over {len(runs)} images"
        )
    write_text(path, json.dumps(figures, indent=2) + "\n")


def _words(figure: dict[str, Any], form: str) -> str:
    interval = figure["interval"]
    return f"{figure['mean']:{form}}" + (f" +-{interval:{form}}" if interval is not None else "")
