"""Charts: the curves of a run as an image, and lines and bars as SVG for the report page."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from tfinvert.runs.directory import RunDirectory
from tfinvert.system.files import replacing

# Okabe & Ito's colors, which color-blind readers can tell apart, without the two that vanish on white or on black.
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
LONGEST_LABEL = 80
MOST_TERMS = 30  # curves in one chart; a reader can tell fewer apart
INK = "#808081"  # nothing else has this color; the page puts its own text color in its place
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "tfinvert",  # the same figures give the same file
    "font.size": 11,
    **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), INK),
}


def write_curves(run: RunDirectory) -> None:
    """Writes curves.png from metrics.jsonl: the loss and its terms, the PSNR, the learning rate. Without lines: nothing."""
    lines = [line for line in run.read_metrics() if "loss" in line]
    if not lines:
        return
    steps = [line["step"] for line in lines]
    has_target = "psnr" in lines[-1]
    figure = Figure(figsize=(13, 3.8), layout="constrained")
    FigureCanvasAgg(figure)
    loss, *quality, rate = figure.subplots(1, 3 if has_target else 2)
    known = {"step", "loss", "learning_rate", "psnr", "scale"}
    for name in [key for key in lines[-1] if key not in known][:MOST_TERMS]:
        loss.plot(steps, [line.get(name) for line in lines], label=_plain(name), linewidth=1)
    loss.plot(steps, [line["loss"] for line in lines], label="loss", color="black")
    if all(line["loss"] > 0 for line in lines):
        loss.set_yscale("log")
    loss.set_title("loss, and its terms without their weights")
    loss.legend()
    for axes in quality:
        axes.plot(steps, [line.get("psnr") for line in lines], color="black")
        axes.set_title("PSNR (dB)")
    rate.plot(steps, [line.get("learning_rate") for line in lines], color="black")
    rate.set_title("learning rate")
    for axes in (loss, *quality, rate):
        axes.set_xlabel("step")
        axes.grid(alpha=0.3)
    with replacing(run.curves) as part:
        figure.savefig(part, format="png", dpi=100, metadata={"Software": None})


def write_two_curves(path: Path, losses: Mapping[str, Sequence[float]]) -> None:
    """Writes the loss curves of two runs that should agree, and below them their relative gap.

    Args:
      path: the file to write.
      losses: label -> the loss of each step, of two runs with equally many steps. The gap is relative to the second.
    """
    figure = Figure(figsize=(8, 6.4), layout="constrained")
    FigureCanvasAgg(figure)
    above, below = figure.subplots(2, 1, sharex=True)
    for (label, values), style, color in zip(losses.items(), ("-", "--"), COLORS, strict=False):
        above.plot(range(len(values)), values, style, color=color, label=label, linewidth=1.8)
    first, second = losses.values()
    gaps = [max(abs(a - b) / max(abs(b), 1e-30), 1e-9) for a, b in zip(first, second, strict=True)]
    below.plot(range(len(gaps)), gaps, color="black")
    below.set_yscale("log")
    if min(*first, *second) > 0:
        above.set_yscale("log")
    above.set_title("loss")
    above.legend()
    below.set_title("relative gap")
    below.set_xlabel("step")
    for axes in (above, below):
        axes.grid(alpha=0.3)
    with replacing(path) as part:
        figure.savefig(part, format="png", dpi=100, metadata={"Software": None})


def lines(curves: Mapping[str, tuple[Sequence[float], Sequence[float]]], ylabel: str, *, log: bool = False) -> str:
    """Draws curves over the steps as SVG.

    Args:
      curves: label -> (steps, values). Values that are not finite are left out.
      ylabel: the label of the vertical axis.
      log: whether that axis is logarithmic, which leaves out values that are not positive.
    """
    with rc_context(STYLE):
        figure = Figure(figsize=(6.4, 3.2), layout="constrained")
        axes = figure.subplots()
        for index, (label, (steps, values)) in enumerate(curves.items()):
            points = [(x, y) for x, y in zip(steps, values, strict=True) if math.isfinite(y) and (y > 0 or not log)]
            style = ("-", "--", "-.", ":")[(index // len(COLORS)) % 4]
            color = COLORS[index % len(COLORS)]
            axes.plot([x for x, _ in points], [y for _, y in points], style, color=color, label=_plain(label), linewidth=1.8)
        if log:
            axes.set_yscale("log")
        axes.set_xlabel("step")
        axes.set_ylabel(ylabel)
        if len(curves) > 1:
            axes.legend(frameon=False)
        return _svg(figure, axes)


def bars(values: Mapping[str, float], xlabel: str) -> str:
    """Draws one bar for each label as SVG, from the top down, with its value at its end."""
    with rc_context(STYLE):
        figure = Figure(figsize=(6.4, 1.0 + 0.3 * len(values)), layout="constrained")
        axes = figure.subplots()
        drawn = axes.barh(list(map(_plain, values)), list(values.values()), color=COLORS[0], height=0.6)
        axes.bar_label(drawn, fmt="%.3g", padding=3)
        axes.invert_yaxis()
        axes.set_xlabel(xlabel)
        axes.margins(x=0.15)
        return _svg(figure, axes, grid="x")


def _plain(label: str) -> str:
    """Escapes a label, so that it is drawn as it is: Matplotlib reads TeX between dollars."""
    return label[:LONGEST_LABEL].replace("$", r"\$")


def _svg(figure: Figure, axes, grid: str = "y") -> str:
    axes.grid(alpha=0.25, axis=grid)
    axes.spines[["top", "right"]].set_visible(False)
    out = io.StringIO()
    figure.savefig(out, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = out.getvalue()
    svg = svg[svg.index("<svg") :].replace(INK, "currentColor")
    # The page sets the size; the figure's own in points would not shrink on a narrow screen.
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    head, bracket, rest = svg.partition(">")
    return re.sub(r' (?:width|height)="[^"]*"', "", head) + bracket + rest
