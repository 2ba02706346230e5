"""The contact sheet: the target, the way there, the result, at the pictures' own size and range."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from tfinvert.errors import InputError
from tfinvert.images import files as images
from tfinvert.runs.directory import RunDirectory, is_number

COLUMNS = 4
MARGIN = 16
CAPTION = 26
HEADER = 30
BACKGROUND, INK, FAINT = "white", "#1a1a1a", "#6a6a6a"


def write(run: RunDirectory, info: Mapping[str, Any]) -> None:
    """Writes sheet.png from the files of a run, finished or not; `info` is what run.json holds, or is going to hold."""
    psnr = {line["step"]: line.get("psnr") for line in run.read_metrics()}
    cells = [(run.target, "target")]
    for step, path in spread(list(run.pictures().items()), 6):
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
    """Writes the papers' figure: the photograph and what each layer keeps of it, by depth, with the errors."""
    cells = [(runs[0].target, "target")]
    weights = ""
    for run in runs:
        info = run.read_info()
        weights = info.get("weights", weights)
        result = info["result"]
        caption = f"{', '.join(info['layers'])}: {result['psnr']:.1f} dB, error {result['normalized_feature_error']:.2g}"
        cells.append((run.final, caption))
    second = f"weights: {weights}; PSNR and normalized feature error below each picture"
    columns = -(-len(cells) // -(-len(cells) // 8))  # rows of equal length, of eight at the most
    images.save(path, _compose([title, second], cells, columns))


def write_side_by_side(path: Path, lines: Sequence[str], cells: Sequence[tuple[Path, str]], columns: int | None = None) -> None:
    """Writes captioned pictures under a title, in one row or in rows of `columns`."""
    images.save(path, _compose(lines, cells, columns or len(cells)))


def _compose(lines: Sequence[str], cells: Sequence[tuple[Path, str]], columns: int) -> np.ndarray:
    """A page of captioned pictures under a title, [height, width, 3] in [0, 1]; those that cannot be read are left out."""
    pictures = []
    for path, caption in cells:
        with contextlib.suppress(InputError):
            pictures.append((images.read(path), caption))
    if not pictures:
        raise InputError(f"none of the pictures of {cells[0][0].parent} can be read")
    width = max(picture.width for picture, _ in pictures)
    height = max(picture.height for picture, _ in pictures)
    columns = min(columns, len(pictures))
    rows = -(-len(pictures) // columns)
    top = MARGIN + HEADER * len(lines)
    size = (max(MARGIN + columns * (width + MARGIN), 720), top + rows * (height + CAPTION + MARGIN))
    sheet = Image.new("RGB", size, BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    for row, line in enumerate(lines):
        font = ImageFont.load_default(19 if row == 0 else 14)
        text = _fitting(draw, line, font, sheet.width - 2 * MARGIN)
        draw.text((MARGIN, MARGIN + row * HEADER - 4), text, INK if row == 0 else FAINT, font)
    for index, (picture, caption) in enumerate(pictures):
        left = MARGIN + (index % columns) * (width + MARGIN)
        above = top + (index // columns) * (height + CAPTION + MARGIN)
        sheet.paste(picture, (left, above))
        font = ImageFont.load_default(14)
        draw.text((left, above + height + 4), _fitting(draw, caption, font, width + MARGIN - 4), INK, font)
    return np.asarray(sheet, np.float32) / 255


def _header(info: Mapping[str, Any]) -> list[str]:
    layers = ", ".join(info.get("layers", {}))
    first = f"{info.get('network', '?')}: {layers}"
    second = f"weights: {info.get('weights', '?')}; {info.get('pool', '?')} pooling; image: {info.get('image', '?')}"
    stopped = info.get("stopped")
    return [first, second, *([f"stopped: {stopped}"] if stopped else [])]


def spread(items: Sequence[Any], count: int) -> list[Any]:
    """Up to `count` items from the first to the last, nearer together at the start, where most happens."""
    if len(items) <= count:
        return list(items)
    last = len(items) - 1
    return [items[place] for place in sorted({round(last * (i / (count - 1)) ** 2) for i in range(count)})]


def _fitting(draw: ImageDraw.ImageDraw, text: str, font, width: float) -> str:
    if draw.textlength(text, font) <= width:
        return text
    while text and draw.textlength(text + "...", font) > width:
        text = text[:-1]
    return text + "..."
