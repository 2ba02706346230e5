"""From the cells of a benchmark to benchmark.json: means with intervals, and how often a method is better than another."""

from __future__ import annotations

import json
import math
import platform
import statistics
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tfinvert import metrics
from tfinvert.experiments.benchmark import photographs
from tfinvert.experiments.benchmark.methods import REFERENCES, find
from tfinvert.system.errors import InputError
from tfinvert.system.files import read_text

if TYPE_CHECKING:
    from tfinvert.experiments.benchmark.jobs import Plan

FORMAT = "tfinvert benchmark 1"
EQUAL, END = "equal time", "last step"
# Name -> (title, whether larger is better, format).
FIGURES: dict[str, tuple[str, bool, str]] = {
    "normalized_feature_error": ("feature error", False, ".2g"),
    "psnr": ("PSNR (dB)", True, ".1f"),
    "lpips": ("LPIPS", False, ".3f"),
    "ssim": ("SSIM", True, ".3f"),
    "feature_cosine": ("feature cosine", True, ".4f"),
    "image_error": ("image error", False, ".2f"),
    "top_1": ("top-1 agreement", True, ".2f"),
    "kl_divergence": ("KL of the classes", False, ".2g"),
}
LARGEST_FILE = 2**28  # bytes of a benchmark.json
Cells = Sequence[Mapping[str, Any]]


def collect(plan: Plan, folder: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """What benchmark.json holds, and the cells that failed with their errors."""
    cells, failed = [], {}
    for cell, key in plan.cells():
        figures = cell.read(folder)
        if figures is not None and figures.pop("key", None) == key:
            cells.append(figures)
        elif cell.file(folder).is_file():
            failed[f"{cell.network} {cell.layer} {cell.image} {cell.method}"] = _error(cell.file(folder))
    names = [method.name for method in plan.methods]
    licenses = {photograph.name: photograph.license for group in photographs.SETS.values() for photograph in group}
    data = {
        "format": FORMAT,
        "versions": {name: version(name) for name in ("tfinvert", "tensorflow", "onnxruntime")},
        "machine": {"processor": processor(), "system": platform.system()},
        "time": "processor seconds of the steps of one image; each process has one processor, where it can be bound to one",
        "networks": [network.provenance() for network in plan.networks.values()],
        "images": [{"name": name, "license": licenses.get(name)} for name in plan.files],
        "methods": [method.describe() for method in (*plan.methods, *map(find, REFERENCES))],
        "cells": cells,
    }
    return {**data, "rows": rows(cells, [*names, *REFERENCES]), "pairs": pairs(cells, names)}, failed


def rows(cells: Cells, methods: Sequence[str]) -> list[dict[str, Any]]:
    """For each network, layer and method: the mean of each figure over the images and its interval, at both times."""
    result = []
    for network, layer in dict.fromkeys((cell["network"], cell["layer"]) for cell in cells):
        group = [cell for cell in cells if (cell["network"], cell["layer"]) == (network, layer)]
        time = equal_times(cells, methods[0]).get((network, layer))
        for method in methods:
            own = [cell for cell in group if cell["method"] == method]
            if not own:
                continue
            row: dict[str, Any] = {"network": network, "layer": layer, "method": method, "images": len(own)}
            row |= {name: sum(name in cell for cell in own) for name in ("stopped", "cut")}
            for name, points in (
                (EQUAL, [cell["curve"][-1] if method == methods[0] else at_time(cell, time) for cell in own]),
                (END, [cell["curve"][-1] for cell in own]),
            ):
                figures = {figure: _mean([point[figure] for point in points if figure in point]) for figure in FIGURES}
                figures |= {
                    figure: _mean([point[figure] for point in points]) for figure in ("step", "seconds", "wall_seconds")
                }
                row[name] = {figure: value for figure, value in figures.items() if value is not None}
            result.append(row)
    return result


def pairs(cells: Cells, methods: Sequence[str]) -> list[dict[str, Any]]:
    """For each method beside the first: the share of cells in which the first is better, and a paired test over the images.

    The test has one value for each image, the mean over its networks and layers of the difference between the two methods (of
    logarithms for the feature error), because the layers of one image are not independent of each other.
    """
    first, *others = methods
    times = equal_times(cells, first)
    by_method: dict[str, dict[tuple, Mapping[str, Any]]] = {}
    for cell in cells:
        place = cell["network"], cell["layer"], cell["image"]
        by_method.setdefault(cell["method"], {})[place] = cell
    result = []
    for other in others:
        places = [place for place in by_method.get(first, {}) if place in by_method.get(other, {})]
        theirs = {place: by_method[other][place] for place in places}
        cut = sum("cut" in cell for cell in theirs.values())
        equal = {place: at_time(cell, times[place[:2]]) for place, cell in theirs.items()}
        ends = {place: cell["curve"][-1] for place, cell in theirs.items()}
        for name, points in ((EQUAL, equal), (END, ends)):
            if name == END and ends == equal:
                continue  # it ends before the first method
            figures = {}
            for figure, (_, larger, _) in FIGURES.items():
                differences: dict[str, list[float]] = {}
                for place, point in points.items():
                    ours = by_method[first][place]["curve"][-1]
                    if figure in ours and figure in point:
                        a, b = ours[figure], point[figure]
                        if figure == "normalized_feature_error":
                            a, b = math.log(max(a, 1e-12)), math.log(max(b, 1e-12))
                        differences.setdefault(place[2], []).append(a - b if larger else b - a)
                if differences:
                    figures[figure] = _compared(differences)
            if figures:
                counts = {"cells": len(places), "cut": cut if name == END else 0}
                result.append({"first": first, "other": other, "at": name, **counts, "figures": figures})
    return result


def equal_times(cells: Cells, first: str) -> dict[tuple[str, str], float]:
    """(network, layer) -> the time of the first method there, the median over the images."""
    ends: dict[tuple[str, str], list[float]] = {}
    for cell in cells:
        if cell["method"] == first:
            ends.setdefault((cell["network"], cell["layer"]), []).append(cell["curve"][-1]["seconds"])
    return {place: statistics.median(seconds) for place, seconds in ends.items()}


def at_time(cell: Mapping[str, Any], seconds: float | None) -> Mapping[str, Any]:
    """The point of a cell's curve that is nearest to a time, by their ratio; without a time the last.

    The curves have points at a sixteenth, an eighth, ... of the first method's time, so that there is one near it.
    """
    if not seconds:
        return cell["curve"][-1]
    return min(cell["curve"], key=lambda point: abs(math.log(max(point["seconds"], 1e-9) / seconds)))


def read(path: Path) -> dict[str, Any]:
    """Reads a benchmark.json; raises InputError for another file."""
    try:
        data = json.loads(read_text(path, LARGEST_FILE))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from None
    except ValueError:
        data = None
    if not isinstance(data, dict) or data.get("format") != FORMAT or not isinstance(data.get("cells"), list):
        raise InputError(f"{path} is no benchmark.json; expected a file that --experiment=benchmark wrote")
    return data


def as_json(data: Mapping[str, Any]) -> str:
    """The text of benchmark.json, with a line for each cell and row."""
    parts = []
    for name, value in data.items():
        if name in ("cells", "rows", "pairs"):
            lines = ",\n  ".join(json.dumps(_rounded(item)) for item in value)
            parts.append(f'"{name}": [\n  {lines}\n ]')
        else:
            parts.append(f'"{name}": {json.dumps(value)}')
    return "{\n " + ",\n ".join(parts) + "\n}\n"


def processor() -> str:
    """The processor's name, as the system has it."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name")), "")


def _error(path: Path) -> str:
    try:
        return str(json.loads(read_text(path)).get("error", "it is from other settings"))
    except (OSError, ValueError):
        return f"{path} cannot be read"


def _mean(values: Sequence[float]) -> dict[str, float] | None:
    if not values:
        return None
    mean, low, high = metrics.bootstrap_interval(values)
    return {"mean": mean, **({} if math.isnan(low) else {"low": low, "high": high})}


def _compared(differences: Mapping[str, Iterable[float]]) -> dict[str, float]:
    """The share of differences above 0, an equal pair counting half; and the p-value over the images' means."""
    every = np.concatenate([list(values) for values in differences.values()])
    means = [float(np.mean(list(values))) for values in differences.values()]
    share = float(np.mean((every > 0) + 0.5 * (every == 0)))
    return {"share": share, "mean": float(np.mean(every)), "p": metrics.paired_test(means, [0.0] * len(means))}


def _rounded(value: Any) -> Any:
    """Numbers with six digits, which are more than any of them has."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, Mapping):
        return {name: _rounded(item) for name, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list) else value
