"""Invert every layer of a network from the same start: pictures and errors by depth, as in the papers' figures."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from tfinvert import series
from tfinvert.config import Config
from tfinvert.networks import convert
from tfinvert.report import page, sheet
from tfinvert.rundir import RunDirectory


def run(config: Config) -> int:
    """Runs one inversion for each layer, then writes sweep.png and report.html; gives 1 if a layer failed, else 0.

    The layers are `config.layers`, or with "all" every one that has a name of its own. Each is converted by itself,
    cut to what it needs: one model for all of them would run the deepest at every step.
    """
    folder = config.run_folder()
    if config.layers == ("all",):
        with convert.Conversion(convert.request_for(config, ())) as conversion:
            layers = _distinct(conversion.result().layers)
    else:
        layers = config.layers
    jobs = {
        layer: dataclasses.replace(
            config, experiment="invert", layers=(layer,), output_dir=str(folder / layer.replace("/", "_"))
        )
        for layer in layers
    }
    series.check(jobs)

    def write_report(outcomes: dict[str, series.Outcome]) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        title = f"What the layers of {Path(config.onnx).name if config.onnx else config.model} keep"
        finished = [RunDirectory(outcome.folder) for outcome in outcomes.values() if outcome.error is None]
        if finished:
            sheet.write_depth(folder / "sweep.png", title, finished)
        errors = {name: outcome.error for name, outcome in outcomes.items()}
        entries = [page.Entry(jobs[name].run_folder(), name, error=errors.get(name)) for name in jobs]
        return page.write(folder, title, entries, by_depth=True)

    return series.run_with_report(jobs, write_report)


def _distinct(layers: tuple[convert.Layer, ...]) -> tuple[str, ...]:
    """One name for each tensor, without a module's inside."""
    first: dict[str, str] = {}
    for layer in layers:
        if "/" not in layer.name and not layer.name.startswith("features."):
            first.setdefault(layer.tensor, layer.name)
    return tuple(first.values())
