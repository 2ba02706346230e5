"""The contact sheet: the target, images from the steps, the result, and its difference from the target."""

from __future__ import annotations

import bisect
import contextlib
import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from tfinvert.images import files as images
from tfinvert.images.maps import heat
from tfinvert.reports import differences
from tfinvert.runs.directory import RunDirectory
from tfinvert.runs.reading import is_number
from tfinvert.system.errors import InputError

COLUMNS, LONGEST_ROW = 4, 8
SNAPSHOTS = 6
MARGIN = 16
LINE, BAR = 18, 20  # pixels of a line of a caption, and of the bar of a difference
HEADER = 30
TITLE, WORDS = 19, 14  # pixels of letters
NARROWEST = 200  # pixels that the words below an image have at least, if they need them
WIDER = 1.1  # how much wider than its image a column may be, where all of its words then fit into a line
MOST_LINES = 30  # of a caption; it is wrapped, and cut only where it is a page of text
LONGEST_TEXT = 4000  # characters
BACKGROUND, INK, FAINT = "white", "#1a1a1a", "#6a6a6a"


@dataclasses.dataclass(frozen=True)
class Bar:
    """The scale of an image's colors: [height, width] -> its colors [height, width, 3], and what stands at its ends."""

    colors: Callable[[int, int], np.ndarray]
    low: str
    high: str


def difference_bar(limit: float = differences.LIMIT) -> Bar:
    """The scale of signed differences up to a limit."""
    return Bar(differences.bar, f"-{limit:g}", f"+{limit:g}")


def heat_bar(limit: float) -> Bar:
    """The scale of a map that `heat` has colored."""
    return Bar(lambda width, height: heat(np.tile(np.linspace(0, 1, width), (height, 1))), "0", f"{limit:.2g}")


@dataclasses.dataclass(frozen=True)
class Cell:
    """An image of a sheet, the words below it, and the scale of its colors where they stand for numbers."""

    image: Image.Image
    caption: str
    bar: Bar | None = None


def write(run: RunDirectory, info: Mapping[str, Any]) -> None:
    """Writes sheet.png from the files of a run, finished or not.

    Args:
      run: where the files are.
      info: what run.json holds, or is going to hold.
    """
    psnr = {line["step"]: line.get("psnr") for line in run.read_metrics()}
    result = info.get("result", {})
    parts = ["result"]
    if is_number(result.get("psnr")):
        parts.append(f"{result['psnr']:.1f} dB")
    if is_number(result.get("ssim")):
        parts.append(f"SSIM {result['ssim']:.3f}")
    first, last = _read([(run.target, "target")]), _read([(run.final, ", ".join(parts))])
    steps = list(run.step_images().items())
    if last and len(steps) > 1:
        del steps[-1]  # the result again, or nearly so
    if first and last and first[0].image.size == last[0].image.size:
        image, target = (np.asarray(cell.image, np.float32) / 255 for cell in (last[0], first[0]))
        shown = Image.fromarray(np.rint(255 * differences.signed(image, target)).astype(np.uint8))
        last.append(Cell(shown, "result - target", difference_bar()))
    # As many steps as fill the rows.
    count = min(len(steps), SNAPSHOTS)
    while count > 1 and (total := len(first) + count + len(last)) > COLUMNS and total % COLUMNS:
        count -= 1
    named = [
        (path, f"step {step}" + (f", {psnr[step]:.1f} dB" if psnr.get(step) is not None else ""))
        for step, path in spread(steps, count)
    ]
    cells = [*first, *_read(named), *last]
    if not cells:
        raise InputError(f"none of the images in {run.path} can be read")
    images.save(run.sheet, _compose(_header(info), cells, _columns(len(cells), COLUMNS)))


def write_depth(path: Path, title: str, runs: Sequence[RunDirectory]) -> None:
    """Writes the papers' figure: the photograph and what each layer keeps of it, by depth, with the errors.

    Args:
      path: the file.
      title: the first line.
      runs: finished inversions of one image, the shallowest layer first.
    """
    cells = [(runs[0].target, "target")]
    info: dict[str, Any] = {}
    for run in runs:
        info = run.read_info()
        result = info["result"]
        caption = f"{', '.join(info['layers'])}: {result['psnr']:.1f} dB, error {result['normalized_feature_error']:.2g}"
        cells.append((run.final, caption))
    second = f"{describe_network(info)}; PSNR and normalized feature error below each image"
    images.save(path, _compose([title, second], _found(cells), _columns(len(cells), LONGEST_ROW)))


def describe_network(info: Mapping[str, Any]) -> str:
    """The line of a sheet that says which weights a network had, and how it took its images."""
    return f"weights: {info.get('weights', '?')}; preprocessing {info.get('preprocessing', '?')}"


def write_side_by_side(
    path: Path,
    lines: Sequence[str],
    cells: Sequence[tuple[Path, str] | tuple[Path, str, Bar | None]],
    columns: int | None = None,
) -> None:
    """Writes images with captions under a title.

    Args:
      path: the file to write.
      lines: the title and what stands below it.
      cells: image files with their captions, and the scale of their colors where there is one. Files that cannot be read are
        left out.
      columns: images in a row; by default all of them.

    Raises:
      InputError: none of the images can be read.
    """
    images.save(path, _compose(lines, _found(cells), columns or len(cells)))


def _read(cells: Sequence[tuple]) -> list[Cell]:
    """The images that can be read, with their captions and scales."""
    found = []
    for path, *words in cells:
        with contextlib.suppress(InputError):
            found.append(Cell(images.read(path), *words))
    return found


def _found(cells: Sequence[tuple]) -> list[Cell]:
    """As `_read`. Raises InputError where there is none."""
    found = _read(cells)
    if not found:
        raise InputError(f"none of the images in {cells[0][0].parent} can be read")
    return found


def _columns(count: int, most: int) -> int:
    """How many images are in a row: as many as leave the fewest places of the last row empty, in as few rows as possible."""
    if count <= most:
        return count
    return min(range(most, most // 2, -1), key=lambda columns: (-count % columns, -columns))


def _compose(lines: Sequence[str], cells: Sequence[Cell], columns: int) -> np.ndarray:
    """A sheet of images with captions under a title, [height, width, 3] in [0, 1]."""
    small = ImageFont.load_default(WORDS)
    ruler = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    longest = max(ruler.textlength(_one_line(cell.caption), small) for cell in cells)
    width = max(cell.image.width for cell in cells)
    width = max(width, min(math.ceil(longest) + 1, NARROWEST if longest >= WIDER * width else round(WIDER * width)))
    height = max(cell.image.height for cell in cells)
    columns = min(columns, len(cells))
    rows = [cells[first : first + columns] for first in range(0, len(cells), columns)]
    captions = [[_wrap(ruler, cell.caption, small, width) for cell in row] for row in rows]
    bars = [BAR * any(cell.bar is not None for cell in row) for row in rows]
    below = [max(map(len, texts)) * LINE + bar for texts, bar in zip(captions, bars, strict=True)]
    wide = max(MARGIN + columns * (width + MARGIN), 720)
    sizes = [TITLE, *[WORDS] * (len(lines) - 1)]
    fonts = [ImageFont.load_default(size) for size in sizes]
    header = [_wrap(ruler, line, font, wide - 2 * MARGIN) for line, font in zip(lines, fonts, strict=True)]
    leading = [size + 4 for size in sizes]
    top = MARGIN + sum(HEADER + pixels * (len(texts) - 1) for texts, pixels in zip(header, leading, strict=True))
    sheet = Image.new("RGB", (wide, top + sum(height + each + MARGIN + 8 for each in below)), BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    place = MARGIN - 4
    for parts, font, pixels in zip(header, fonts, leading, strict=True):
        for number, words in enumerate(parts):
            draw.text((MARGIN, place + number * pixels), words, INK if font is fonts[0] else FAINT, font)
        place += HEADER + pixels * (len(parts) - 1)
    for row, texts, space in zip(rows, captions, below, strict=True):
        for place, (cell, text) in enumerate(zip(row, texts, strict=True)):
            left = MARGIN + place * (width + MARGIN)
            sheet.paste(cell.image, (left, top))
            for number, words in enumerate(text):
                draw.text((left, top + height + 4 + number * LINE), words, INK, small)
            if cell.bar is not None:
                _draw_bar(sheet, cell.bar, left, top + height + 6 + len(text) * LINE, cell.image.width)
        top += height + space + MARGIN + 8
    return np.asarray(sheet, np.float32) / 255


def _draw_bar(sheet: Image.Image, bar: Bar, left: int, top: int, width: int) -> None:
    """Draws a scale with its ends."""
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)
    begin = left + math.ceil(draw.textlength(bar.low, font)) + 5
    end = max(left + width - math.ceil(draw.textlength(bar.high, font)) - 5, begin + 8)
    colors = np.rint(255 * bar.colors(end - begin, 9)).astype(np.uint8)
    draw.text((left, top), bar.low, INK, font)
    sheet.paste(Image.fromarray(colors), (begin, top + 3))
    draw.text((end + 5, top), bar.high, INK, font)


def _header(info: Mapping[str, Any]) -> list[str]:
    layers = ", ".join(info.get("layers", {}))
    first = f"{info.get('network', '?')}: {layers}"
    second = f"{describe_network(info)}; {info.get('pool', '?')} pooling; image: {info.get('image', '?')}"
    stopped = info.get("stopped")
    return [first, second, *([f"stopped: {stopped}"] if stopped else [])]


def spread(items: Sequence[Any], count: int) -> list[Any]:
    """Chooses up to `count` items from the first to the last, closer together at the beginning, where most happens."""
    if len(items) <= count:
        return list(items)
    last = len(items) - 1
    places: list[int] = []
    for i in range(count):
        place = max(round(last * (i / max(count - 1, 1)) ** 2), places[-1] + 1 if places else 0)
        places.append(min(place, last - (count - 1 - i)))
    return [items[place] for place in places]


def _one_line(text: str) -> str:
    return " ".join(text[: 4 * LONGEST_TEXT].split())[:LONGEST_TEXT]


def _wrap(draw: ImageDraw.ImageDraw, text: str, font, width: float) -> list[str]:
    """The text in lines of at most `width` pixels, broken at spaces; a longer word is broken where it must be."""
    lines: list[str] = []
    rest = _one_line(text)
    while rest and len(lines) < MOST_LINES:
        fitting = max(bisect.bisect(range(1, len(rest) + 1), width, key=lambda count: draw.textlength(rest[:count], font)), 1)
        if fitting < len(rest):
            fitting = rest.rfind(" ", 1, fitting + 1) if " " in rest[1 : fitting + 1] else fitting
        lines.append(rest[:fitting].strip())
        rest = rest[fitting:].strip()
    return lines or [""]
