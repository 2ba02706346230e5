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
        with convert.Conversion(dataclasses.replace(convert.request_for(config), layers=())) as conversion:
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
    outcomes: list[series.Outcome] = []
    try:
        for outcome in series.run_all(jobs):
            outcomes.append(outcome)  # noqa: PERF402 - kept as far as it got
    finally:
        errors = {outcome.name: outcome.error for outcome in outcomes}
        entries = [page.Entry(jobs[name].run_folder(), name, error=errors.get(name)) for name in jobs]
        folder.mkdir(parents=True, exist_ok=True)
        title = f"What the layers of {Path(config.onnx).name if config.onnx else config.model} keep"
        page.write(folder, title, entries, by_depth=True)
        finished = [RunDirectory(outcome.folder) for outcome in outcomes if outcome.error is None]
        if finished:
            sheet.write_depth(folder / "sweep.png", title, finished)
    failed = [outcome.name for outcome in outcomes if outcome.error]
    print(f"report: {folder / 'report.html'}" + (f"; failed: {', '.join(failed)}" if failed else ""))
    return 1 if failed else 0


def _distinct(layers: tuple[convert.Layer, ...]) -> tuple[str, ...]:
    """One name for each tensor, without a module's inside."""
    first: dict[str, str] = {}
    for layer in layers:
        if "/" not in layer.name and not layer.name.startswith("features."):
            first.setdefault(layer.tensor, layer.name)
    return tuple(first.values())
