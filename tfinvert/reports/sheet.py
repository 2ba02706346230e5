"""The contact sheet: the target, images from the steps, and the result, at their own size and range."""

from __future__ import annotations

import bisect
import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from tfinvert.errors import InputError
from tfinvert.images import files as images
from tfinvert.runs.directory import RunDirectory
from tfinvert.runs.reading import is_number

COLUMNS, LONGEST_ROW = 4, 8
SNAPSHOTS = 6
MARGIN = 16
CAPTION = 26
HEADER = 30
LONGEST_TEXT = 4000  # characters
BACKGROUND, INK, FAINT = "white", "#1a1a1a", "#6a6a6a"


def write(run: RunDirectory, info: Mapping[str, Any]) -> None:
    """Writes sheet.png from the files of a run, finished or not.

    Args:
      run: where the files are.
      info: what run.json holds, or is going to hold.
    """
    psnr = {line["step"]: line.get("psnr") for line in run.read_metrics()}
    cells = [(run.target, "target")]
    for step, path in spread(list(run.step_images().items()), SNAPSHOTS):
        cells.append((path, f"step {step}" + (f", {psnr[step]:.1f} dB" if psnr.get(step) is not None else "")))
    if run.final.exists():
        result = info.get("result", {})
        parts = ["result"]
        if is_number(result.get("psnr")):
            parts.append(f"{result['psnr']:.1f} dB")
        if is_number(result.get("ssim")):
            parts.append(f"SSIM {result['ssim']:.3f}")
        cells.append((run.final, ", ".join(parts)))
    images.save(run.sheet, _compose(_header(info), cells, COLUMNS))


def write_depth(path: Path, title: str, runs: Sequence[RunDirectory]) -> None:
    """Writes the papers' figure: the photograph and what each layer keeps of it, by depth, with the errors.

    Args:
      path: the file.
      title: the first line.
      runs: finished inversions of one image, the shallowest layer first.
    """
    cells = [(runs[0].target, "target")]
    weights = preprocessing = ""
    for run in runs:
        info = run.read_info()
        weights, preprocessing = info.get("weights", weights), info.get("preprocessing", preprocessing)
        result = info["result"]
        caption = f"{', '.join(info['layers'])}: {result['psnr']:.1f} dB, error {result['normalized_feature_error']:.2g}"
        cells.append((run.final, caption))
    second = f"weights: {weights}; preprocessing {preprocessing}; PSNR and normalized feature error below each image"
    rows = -(-len(cells) // LONGEST_ROW)
    columns = -(-len(cells) // rows)  # rows of equal length
    images.save(path, _compose([title, second], cells, columns))


def write_side_by_side(path: Path, lines: Sequence[str], cells: Sequence[tuple[Path, str]], columns: int | None = None) -> None:
    """Writes images with captions under a title.

    Args:
      path: the file to write.
      lines: the title and what stands below it.
      cells: pairs of an image file and its caption. Files that cannot be read are left out.
      columns: images in a row; by default all of them.

    Raises:
      InputError: none of the images can be read.
    """
    images.save(path, _compose(lines, cells, columns or len(cells)))


def _compose(lines: Sequence[str], cells: Sequence[tuple[Path, str]], columns: int) -> np.ndarray:
    """A sheet of images with captions under a title, [height, width, 3] in [0, 1]."""
    captioned = []
    for path, caption in cells:
        with contextlib.suppress(InputError):
            captioned.append((images.read(path), caption))
    if not captioned:
        raise InputError(f"none of the images in {cells[0][0].parent} can be read")
    width = max(image.width for image, _ in captioned)
    height = max(image.height for image, _ in captioned)
    columns = min(columns, len(captioned))
    rows = -(-len(captioned) // columns)
    top = MARGIN + HEADER * len(lines)
    size = (max(MARGIN + columns * (width + MARGIN), 720), top + rows * (height + CAPTION + MARGIN))
    sheet = Image.new("RGB", size, BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    for row, line in enumerate(lines):
        font = ImageFont.load_default(19 if row == 0 else 14)
        text = _shorten(draw, line, font, sheet.width - 2 * MARGIN)
        draw.text((MARGIN, MARGIN + row * HEADER - 4), text, INK if row == 0 else FAINT, font)
    for index, (image, caption) in enumerate(captioned):
        left = MARGIN + (index % columns) * (width + MARGIN)
        above = top + (index // columns) * (height + CAPTION + MARGIN)
        sheet.paste(image, (left, above))
        font = ImageFont.load_default(14)
        draw.text((left, above + height + 4), _shorten(draw, caption, font, width + MARGIN - 4), INK, font)
    return np.asarray(sheet, np.float32) / 255


def _header(info: Mapping[str, Any]) -> list[str]:
    layers = ", ".join(info.get("layers", {}))
    first = f"{info.get('network', '?')}: {layers}"
    network = f"{info.get('pool', '?')} pooling; preprocessing {info.get('preprocessing', '?')}"
    second = f"weights: {info.get('weights', '?')}; {network}; image: {info.get('image', '?')}"
    stopped = info.get("stopped")
    return [first, second, *([f"stopped: {stopped}"] if stopped else [])]


def spread(items: Sequence[Any], count: int) -> list[Any]:
    """Chooses up to `count` items from the first to the last, closer together at the beginning, where most happens."""
    if len(items) <= count:
        return list(items)
    last = len(items) - 1
    return [items[place] for place in sorted({round(last * (i / (count - 1)) ** 2) for i in range(count)})]


def _shorten(draw: ImageDraw.ImageDraw, text: str, font, width: float) -> str:
    """The text in one line, or as much of its beginning as fits into `width` pixels."""
    text = " ".join(text.split())[:LONGEST_TEXT]
    if draw.textlength(text, font) <= width:
        return text
    fitting = bisect.bisect(range(len(text)), width, key=lambda count: draw.textlength(f"{text[:count]}...", font))
    return f"{text[: max(fitting - 1, 0)]}..."
