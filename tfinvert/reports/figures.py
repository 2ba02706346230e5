"""Figures for papers: images and charts in the widths and sizes of type that journals ask for, as PNG, SVG or PDF."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator

from tfinvert.images import files as images
from tfinvert.reports import differences
from tfinvert.system.files import replacing

KINDS = ("png", "svg", "pdf")
WIDTHS = {"single": 3.5, "double": 7.16}  # inches, of one and of both columns (IEEE)
COLUMNS = {"single": 4, "double": 8}  # images in a row
DOTS = 300  # an inch, of PNG
CURVES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")  # Okabe & Ito
MOST_CURVES = 6
SMALL = ("xtick.labelsize", "ytick.labelsize", "legend.fontsize")
THIN = ("axes.linewidth", "xtick.major.width", "ytick.major.width")
STYLE: dict[Any, Any] = {
    "font.family": "serif",
    "font.serif": ["STIXGeneral"],  # comes with Matplotlib, and has the letters of Times
    "mathtext.fontset": "stix",
    **dict.fromkeys(("font.size", "axes.titlesize", "axes.labelsize"), 8),
    **dict.fromkeys(SMALL, 7),
    **dict.fromkeys(THIN, 0.6),
    **dict.fromkeys(("axes.spines.top", "axes.spines.right"), False),
    "lines.linewidth": 1.1,
    "image.interpolation": "nearest",
    "svg.fonttype": "path",
    "svg.hashsalt": "tfinvert",  # the same figures give the same file
    "pdf.fonttype": 42,
    "savefig.dpi": DOTS,
}


@dataclasses.dataclass(frozen=True)
class Cell:
    """An image of a figure, and the words below it."""

    path: Path
    caption: str


def write_sheet(path: Path, kind: str, width: str, cells: Sequence[Cell], pair: tuple[Path, Path] | None) -> None:
    """Writes images in rows, and the signed difference of two of them with its bar.

    Args:
      path: the file to write.
      kind: "png", "svg" or "pdf".
      width: "single" or "double", in columns of a page.
      cells: the images, at least one.
      pair: an image and its target, whose difference comes last; or None.

    Raises:
      InputError: an image cannot be read.
    """
    count = len(cells) + (pair is not None)
    columns = _columns(count, COLUMNS[width])
    side = WIDTHS[width] / columns
    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTHS[width], (side + 0.22) * -(-count // columns)), layout=_close())
        axes = figure.subplots(-(-count // columns), columns, squeeze=False).ravel()
        for place, cell in zip(axes, cells, strict=False):
            _show(place, np.asarray(images.read(cell.path)), cell.caption)
        if pair is not None:
            _show_difference(axes[len(cells)], *pair)
        for place in axes[count:]:
            place.remove()
        _save(figure, path, kind)


def write_curves(path: Path, kind: str, width: str, lines: Sequence[Mapping[str, Any]]) -> None:
    """Writes the loss with its terms and, where there is one, the PSNR over the steps.

    Args:
      path, kind, width: as for `write_sheet`.
      lines: of metrics.jsonl, at least one.
    """
    steps = [line["step"] for line in lines]
    names = [name for name in lines[-1] if name not in ("step", "psnr", "learning_rate", "scale")][:MOST_CURVES]
    with_psnr = "psnr" in lines[-1]
    shape = (1, 1 + with_psnr) if width == "double" else (1 + with_psnr, 1)
    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTHS[width], 2.1 * shape[0]), layout="constrained")
        axes = figure.subplots(*shape, squeeze=False).ravel()
        for name, color in zip(names, CURVES, strict=False):
            axes[0].plot(steps, [line.get(name, math.nan) for line in lines], color=color, label=_plain(name))
        if all(line.get(name, 0) > 0 for line in lines for name in names):
            axes[0].set_yscale("log")
        axes[0].set_ylabel("loss, and its terms without weights")
        if len(names) > 1:
            axes[0].legend(frameon=False)
        if with_psnr:
            axes[1].plot(steps, [line.get("psnr", math.nan) for line in lines], color=CURVES[0])
            axes[1].set_ylabel("PSNR (dB)")
        for each in axes:
            each.set_xlabel("step")
            each.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        _save(figure, path, kind)


def write_depth(
    path: Path, kind: str, width: str, target: Path | None, layers: Sequence[tuple[str, Path, Mapping[str, float]]]
) -> None:
    """Writes the figure of the papers: what each layer keeps, and the PSNR and the feature error by depth.

    Args:
      path, kind, width: as for `write_sheet`.
      target: the image that was inverted, or None.
      layers: (name, image, figures of run.json), the shallowest first.

    Raises:
      InputError: an image cannot be read.
    """
    cells = [Cell(image, f"{name}\n{figures['psnr']:.1f} dB" if "psnr" in figures else name) for name, image, figures in layers]
    cells = [*([Cell(target, "target\n")] if target is not None else []), *cells]
    columns = _columns(len(cells), COLUMNS[width])
    rows = -(-len(cells) // columns)
    side = WIDTHS[width] / columns
    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTHS[width], (side + 0.3) * rows + 1.9), layout=_close())
        parts: Any = figure.subfigures(2, 1, height_ratios=[(side + 0.3) * rows, 1.9])
        above, below = parts
        axes = above.subplots(rows, columns, squeeze=False).ravel()
        for place, cell in zip(axes, cells, strict=False):
            _show(place, np.asarray(images.read(cell.path)), cell.caption)
        for place in axes[len(cells) :]:
            place.remove()
        psnr = below.subplots()
        places = range(len(layers))
        psnr.plot(places, [figures.get("psnr", math.nan) for *_, figures in layers], "o-", color=CURVES[0], markersize=3)
        psnr.set_ylabel("PSNR (dB)", color=CURVES[0])
        psnr.set_xticks(list(places), [_plain(name) for name, *_ in layers], rotation=60, ha="right", rotation_mode="anchor")
        errors = [figures.get("normalized_feature_error", math.nan) for *_, figures in layers]
        if any(error > 0 for error in errors):
            error = psnr.twinx()
            error.spines.right.set_visible(True)
            error.plot(places, errors, "s--", color=CURVES[1], markersize=2.5)
            error.set_yscale("log")
            error.set_ylabel("normalized feature error", color=CURVES[1])
        _save(figure, path, kind)


def _close() -> ConstrainedLayoutEngine:
    """Images that stand close to each other."""
    return ConstrainedLayoutEngine(w_pad=0.02, h_pad=0.02, wspace=0.02, hspace=0.02)


def _columns(count: int, most: int) -> int:
    """How many images are in a row, so that the last row is full or nearly so."""
    rows = -(-count // most)
    return -(-count // rows)


def _show(axes: Axes, image: np.ndarray, caption: str) -> None:
    axes.imshow(image)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    axes.set_xlabel(_plain(caption), labelpad=2, fontsize=7)


def _show_difference(axes: Axes, image: Path, target: Path) -> None:
    first, second = (np.asarray(images.read(each), np.float32) / 255 for each in (image, target))
    if first.shape != second.shape:
        axes.remove()
        return
    _show(axes, differences.signed(first, second), "result − target")
    bar = axes.inset_axes((0.0, -0.2, 1.0, 0.05))
    bar.imshow(differences.bar(256, 1), aspect="auto", extent=(-differences.LIMIT, differences.LIMIT, 0, 1))
    bar.set_yticks([])
    bar.set_xticks([-differences.LIMIT, 0, differences.LIMIT])
    bar.tick_params(labelsize=6, length=1.5, pad=1)
    axes.xaxis.set_label_coords(0.5, -0.02)


def _plain(text: str) -> str:
    """Escapes dollars, between which Matplotlib reads TeX, and cuts what is far too long for a figure."""
    return "\n".join(line if len(line) <= 40 else f"{line[:26]}…{line[-12:]}" for line in text[:500].split("\n")).replace(
        "$", r"\$"
    )


def _save(figure: Figure, path: Path, kind: str) -> None:
    """Writes a figure without the time and the program in it, so that the same run gives the same bytes."""
    FigureCanvasAgg(figure)
    metadata: dict[str, Any] = {
        "png": {"Software": None},
        "svg": {"Date": None, "Creator": None},
        "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    }[kind]
    with replacing(path) as part:
        figure.savefig(part, format=kind, metadata=metadata, bbox_inches="tight", pad_inches=0.02)
