"""What a report shows of runs that are no inversions, and the table of any runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tfinvert.reports.captions import caption, in_rows
from tfinvert.reports.entries import Run
from tfinvert.reports.sheet import spread
from tfinvert.runs.reading import is_number

SNAPSHOTS, MOST_IMAGES = 6, 60
MOST_ROWS, MOST_COLUMNS, LONGEST = 60, 14, 200  # of a table; characters of a cell
BESIDE = ("compare", "diagnose")  # whose images are beside their figures
SENTENCES = {
    "saliency": "Which pixels a class score depends on.",
    "fool": "The photograph, changed until the network takes it for something else.",
    "class_vis": "Images that make a class score, a channel or a neuron as large as they can.",
    "style": "The content of one image in the style of others.",
    "decode": "What a trained decoder makes of the features of an image.",
    "train_decoder": "A decoder that is trained to invert features in one pass.",
    "compare_decoders": "The same features, inverted in three ways.",
    "compare": "The same inversion in TensorFlow and in PyTorch.",
    "diagnose": "A port beside the reference, and the mistakes that give its numbers.",
}
NAMES = {
    "psnr": "PSNR (dB)",
    "ssim": "SSIM",
    "seconds": "time (s)",
    "peak_memory_mb": "peak memory (MB)",
    "seconds_to_first_step": "time to the first step (s)",
    "psnr_between": "PSNR between the two (dB)",
    "gflop_per_step": "GFLOP per step",
    "findings": "mistakes that give the port's numbers",
    "differences": "the port beside the reference",
    "rows": "each layer, image and way",
    "sides": "each side",
    "loss_gap_first_50_steps": "loss gap, first 50 steps",
    "l2_change": "change (L2)",
    "psnr_mean_image": "PSNR of the mean image (dB)",
    "psnr_gain": "PSNR above the mean image (dB)",
    "onnx_difference": "difference of decoder.onnx",
    "steps_to_psnr": "steps to the PSNR of optimization",
    "steps_to_feature_loss": "steps to its feature loss",
}
CHARTS = ("curves.png", "losses.png")
SHEETS = ("compare.png", "sheet.png")  # which show the other images again
IN_OVERVIEW = ("psnr", "ssim", "normalized_feature_error", "seconds", "steps_per_second", "peak_memory_mb")


def sentence(run: Run) -> str:
    """What an experiment shows."""
    return SENTENCES.get(run.experiment, "")


def images(run: Run) -> list[list[tuple[Path, str]]]:
    """The images of a run with their captions, in rows of what belongs together.

    The target, a few steps, and the result are in one row with all that belongs to no other, in the order in which it was
    written. Where there are other rows, each begins with the target.
    """
    directory = run.directory
    steps = directory.step_images()
    shown = [(directory.target, "target")] if directory.target.is_file() else []
    before = list(steps.items())[: -1 if directory.final.is_file() else None]  # the last step is the result, or nearly so
    shown += [(path, f"step {step}") for step, path in spread(before, SNAPSHOTS)]
    places = [*directory.images.glob("*.png"), *(directory.path.glob("*.png") if run.experiment in BESIDE else ())]
    known = {*steps.values(), directory.target, directory.final}
    others = sorted((p for p in places if p.is_file() and p not in known and p.name not in SHEETS), key=_written)
    shown += [(path, caption(path.stem, run.info)) for path in others[:MOST_IMAGES]]
    if directory.final.is_file():
        shown.append((directory.final, "result"))
    return in_rows(shown, lambda image: image[0].stem, run.info)


def figures(run: Run) -> list[tuple[str, str]]:
    """The single figures of a run, with their names."""
    result = run.info.get("result", {})
    return [(_name(name), _cell(value)) for name, value in result.items() if not isinstance(value, dict | list)][:MOST_COLUMNS]


def tables(run: Run) -> list[dict[str, Any]]:
    """The figures of a run that are lists: a title, the columns and the rows of each."""
    found = []
    for name, value in run.info.get("result", {}).items():
        rows = value if isinstance(value, list) else [value]
        if rows and all(isinstance(row, dict) for row in rows):
            columns = list(dict.fromkeys(key for row in rows for key in row))[:MOST_COLUMNS]
            cells = [[_cell(row.get(key, "")) for key in columns] for row in rows[:MOST_ROWS]]
            found.append({"title": _name(name), "columns": [_name(key) for key in columns], "rows": cells})
    return found


def overview(runs: Sequence[Run]) -> dict[str, Any] | None:
    """One row for each of several runs that are not all inversions; None for others, whose sections have tables."""
    if len(runs) < 2 or all(run.experiment == "invert" for run in runs):
        return None
    results = [run.info.get("result", {}) for run in runs]
    names = [name for name in IN_OVERVIEW if any(is_number(result.get(name)) for result in results)]
    rows = [
        [run.name, run.experiment.replace("_", " "), run.info.get("network", ""), ", ".join(run.layers)]
        + [_cell(result[name]) if is_number(result.get(name)) else "" for name in names]
        for run, result in zip(runs, results, strict=True)
    ]
    return {"columns": ["run", "experiment", "network", "layers", *map(_name, names)], "rows": rows}


def _written(path: Path) -> tuple[int, str]:
    return path.stat().st_mtime_ns, path.name


def _name(name: object) -> str:
    return NAMES.get(str(name), str(name)[:LONGEST].replace("_", " "))


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else str(value)[:LONGEST]
