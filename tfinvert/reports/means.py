"""The layers of one network over several images: means, never one photograph's PSNR beside another's."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from tfinvert import metrics
from tfinvert.images.references import EVEN_GREY, MEAN_IMAGE
from tfinvert.reports import charts, judging
from tfinvert.reports.entries import Run

INTERVAL = "95 % interval of the mean"  # by Student's t over the images (`metrics.interval`)
FIGURES = {  # name in the result -> its name in the table, and how it is written
    "psnr": ("PSNR", "{:.2f} dB"),
    "ssim": ("SSIM", "{:.4f}"),
    "normalized_feature_error": ("normalized feature error", "{:.3g}"),
    "seconds": ("seconds", "{:.1f}"),
}


def by_layer(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """Layer -> its runs, in the order of the layers."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault("+".join(run.layers), []).append(run)
    return groups


def list_means(runs: Sequence[Run]) -> dict[str, list[tuple[str, str]]]:
    """Layer -> the names and texts of its figures: means over the images, with their interval and the number of images."""
    table = {}
    for layer, group in by_layer(runs).items():
        cells = [("images", str(len(group)))]
        for figure, (name, form) in FIGURES.items():
            mean, half = metrics.interval([run.result[figure] for run in group])
            cells += [(f"mean {name}", form.format(mean))]
            cells += [(INTERVAL, f"+-{form.format(half)}" if len(group) > 1 else "-")] if figure != "seconds" else []
            if figure == "psnr":
                cells += [
                    (f"mean PSNR of {name}", f"{_mean_reference(group, name):.2f} dB") for name in (EVEN_GREY, MEAN_IMAGE)
                ]
        table[layer] = cells
    return table


def _mean_reference(group: Sequence[Run], name: str) -> float:
    return metrics.interval([run.references.get(name, float("nan")) for run in group])[0]


def draw_means(runs: Sequence[Run]) -> list[tuple[str, str]]:
    """Bars of the mean PSNR and feature error by layer, with their intervals: pairs of a caption and an SVG."""
    drawn = []
    for figure, axis in (("psnr", "PSNR (dB)"), ("normalized_feature_error", "normalized feature error")):
        groups = by_layer(runs)
        means, halves = zip(
            *(metrics.interval([run.result[figure] for run in group]) for group in groups.values()), strict=True
        )
        whiskers = [0.0 if math.isnan(half) else half for half in halves]
        caption = f"Mean {axis.partition(' (')[0]} by depth, with the {INTERVAL}"
        drawn.append((caption, charts.bars(list(groups), means, axis, whiskers)))
    return drawn


def answer_means(runs: Sequence[Run]) -> str:
    """What the means say about depth. Layers are compared on the images that both have, by the differences on each image."""
    groups = by_layer(runs)
    parts = []
    for layer, group in groups.items():
        mean, half = metrics.interval([run.result["psnr"] for run in group])
        parts.append(f"{layer}: {mean:.1f} dB" + (f" +-{half:.1f}" if len(group) > 1 else "") + f" ({len(group)} images)")
    text = f"Mean PSNR by layer, with the {INTERVAL} by Student's t: {'; '.join(parts)}."
    if len(groups) < 2:
        return text
    steps = [_difference(a, b) for a, b in itertools.pairwise(groups.values())]
    if all(step < 0 for step in steps):
        return text + " The deeper the layer, the less of the images comes back."
    if rises := [pair for pair, step in zip(itertools.pairwise(groups), steps, strict=True) if step > 0]:
        return text + f" PSNR does not fall with every layer: it rises from {rises[0][0]} to {rises[0][1]}."
    first, *_, last = groups
    if _difference(groups[first], groups[last]) < 0:
        return text + f" Less comes back from {last} than from {first}; not every layer differs from the next."
    return text + " PSNR does not tell these layers apart."


def _difference(first: Sequence[Run], second: Sequence[Run]) -> float:
    """The mean difference of the PSNRs above the floor, image by image, in dB; 0 where its interval reaches what seeds make."""
    before, after = ({run.target: run for run in group} for group in (first, second))
    shared = [target for target in before if target in after]
    if len(shared) < 2:
        return 0.0
    mean, half = metrics.interval([judging.level(after[target]) - judging.level(before[target]) for target in shared])
    least = judging.SPREAD / len(shared) ** 0.5  # the seeds of several images make up for each other
    return mean if abs(mean) - half > 0 and abs(mean) > least else 0.0
