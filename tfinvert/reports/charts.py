"""Charts: the curves of a run as an image, and lines and bars as SVG for the report page."""

from __future__ import annotations

import contextlib
import io
import math
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from tfinvert.runs.directory import RunDirectory
from tfinvert.system.files import replacing

# Okabe & Ito's colors, which color-blind readers can tell apart, without the two that vanish on white or on black.
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
MOST_LINES = 4  # of a label
LONGEST_LABEL = 40  # characters; of a longer one the beginning and the end are shown
MOST_CURVES = 8  # in one chart: a reader can tell no more apart
LEGEND_WIDTH = 76  # characters in a row of a legend
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
    with _drawing({}):
        figure = Figure(figsize=(13, 3.8), layout="constrained")
        FigureCanvasAgg(figure)
        loss, *quality, rate = figure.subplots(1, 3 if has_target else 2)
        known = {"step", "loss", "learning_rate", "psnr", "scale"}
        names = [key for key in lines[-1] if key not in known]
        for name in names[:MOST_CURVES]:
            loss.plot(steps, [line.get(name) for line in lines], label=_plain(name), linewidth=1)
        loss.plot(steps, [line["loss"] for line in lines], label="loss", color="black")
        if all(line["loss"] > 0 for line in lines):
            loss.set_yscale("log")
        shown = f"{MOST_CURVES} of its {len(names)} terms" if len(names) > MOST_CURVES else "its terms"
        loss.set_title(f"loss, and {shown} without weights")
        loss.legend(fontsize="small" if len(names) > MOST_CURVES // 2 else None)
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
    with _drawing({}):
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


def lines(
    curves: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    ylabel: str,
    *,
    log: bool = False,
    xlabel: str = "step",
    log_x: bool = False,
) -> list[str]:
    """Draws curves as SVG.

    Args:
      curves: label -> (steps or what else is across, values). Values that are not finite are left out.
      ylabel: the label of the vertical axis.
      log: whether that axis is logarithmic, which leaves out values that are not positive.
      xlabel: the label of the other axis.
      log_x: as `log`, for the other axis.

    Returns:
      A chart for every `MOST_CURVES` curves, all with the same axes.
    """
    lowest = 0 if log_x else -math.inf
    points = {
        label: [(x, y) for x, y in zip(steps, values, strict=True) if math.isfinite(y) and (y > 0 or not log) and x > lowest]
        for label, (steps, values) in curves.items()
    }
    limits = _limits([y for each in points.values() for _, y in each], log) if len(points) > MOST_CURVES else None
    labels = list(points)
    parts = [labels[first : first + MOST_CURVES] for first in range(0, len(labels), MOST_CURVES)]
    return [_draw_lines({label: points[label] for label in part}, (xlabel, ylabel), (log_x, log), limits) for part in parts]


def _draw_lines(
    points: Mapping[str, Sequence[tuple[float, float]]],
    names_of_axes: tuple[str, str],
    logs: tuple[bool, bool],
    limits: tuple[float, float] | None,
) -> str:
    names = [_plain(" ".join(label.split())) for label in points]  # a row of the legend is a line
    longest = max(map(len, names), default=0)
    columns = max(1, min(len(points), LEGEND_WIDTH // (longest + 6)))
    rows = -(-len(points) // columns) if len(points) > 1 else 0
    with _drawing(STYLE):
        figure = Figure(figsize=(6.4, 3.0 + 0.24 * rows), layout="constrained")
        axes = figure.subplots()
        for index, (name, pairs) in enumerate(zip(names, points.values(), strict=True)):
            style = ("-", "--", "-.", ":")[(index // len(COLORS)) % 4]
            color = COLORS[index % len(COLORS)]
            axes.plot([x for x, _ in pairs], [y for _, y in pairs], style, color=color, label=name, linewidth=1.8)
        axes.set(**{f"{axis}scale": "log" for axis, log in zip("xy", logs, strict=True) if log})
        if limits is not None:
            axes.set_ylim(limits)
        axes.set(xlabel=names_of_axes[0], ylabel=names_of_axes[1])
        if len(points) > 1:
            figure.legend(loc="outside lower center", ncols=columns, frameon=False, fontsize=9)
        return _svg(figure, axes)


def _limits(values: Sequence[float], log: bool) -> tuple[float, float] | None:
    """The ends of an axis that several charts share; None where there is nothing to show."""
    if not values or min(values) == max(values):
        return None
    low, high = min(values), max(values)
    if log:
        margin = (high / low) ** 0.05
        return low / margin, high * margin
    return low - 0.05 * (high - low), high + 0.05 * (high - low)


def bars(labels: Sequence[str], values: Sequence[float], xlabel: str, halves: Sequence[float] = ()) -> str:
    """Draws one bar for each label as SVG, from the top down, with its value at its end.

    Args:
      labels: what stands beside each bar; several may be equal.
      values: the length of each bar.
      xlabel: the label of the horizontal axis.
      halves: half the width of the interval around each value, which is drawn on its bar.
    """
    names = [_plain(label) for label in labels]
    rows = sum(name.count("\n") + 1 for name in names)
    with _drawing(STYLE):
        figure = Figure(figsize=(6.4, 0.9 + 0.12 * len(names) + 0.2 * rows), layout="constrained")
        axes = figure.subplots()
        options: dict[str, Any] = {"xerr": list(halves), "ecolor": INK, "capsize": 3} if any(halves) else {}
        places = range(len(names))  # not the names, which may be equal
        drawn = axes.barh(places, list(values), color=COLORS[0], height=0.6, **options)
        axes.set_yticks(places, names)
        axes.bar_label(drawn, fmt="%.3g", padding=3)
        axes.invert_yaxis()
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.set_xlabel(xlabel)
        axes.margins(x=0.15)
        return _svg(figure, axes, grid="x")


@contextlib.contextmanager
def _drawing(style: Mapping[Any, Any]) -> Iterator[None]:
    """Within it, Matplotlib draws in a style, and warns nobody: a letter that its font lacks is no concern of a user's."""
    with rc_context(dict(style)), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield


def _shortened(label: str) -> str:
    """The first lines of a label, each with at most `LONGEST_LABEL` characters: its beginning and its end."""
    half = LONGEST_LABEL // 2 - 2
    lines = label.split("\n")
    lines = lines if len(lines) <= MOST_LINES else [*lines[: MOST_LINES - 1], f"... ({len(lines)} lines)"]
    return "\n".join(line if len(line) <= LONGEST_LABEL else f"{line[:half]}...{line[-half:]}" for line in lines)


def _plain(label: str) -> str:
    """Shortens and escapes a label, so that it is drawn as it is: Matplotlib reads TeX between dollars."""
    label = _shortened(label).replace("$", r"\$")
    return f" {label}" if label.startswith("_") else label  # a legend leaves out what begins with an underscore


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
