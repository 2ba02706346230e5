"""The contact sheet: the target, the way there, the result, at the pictures' own size and range."""

from __future__ import annotations

from PIL import Image, ImageDraw, ImageFont

from tfinvert import images
from tfinvert.rundir import RunDirectory

COLUMNS = 4
MARGIN = 16
CAPTION = 26
HEADER = 30
BACKGROUND, INK, FAINT = "white", "#1a1a1a", "#6a6a6a"


def write(run: RunDirectory) -> None:
    """Writes sheet.png from the files of a run, finished or not."""
    info = run.read_info()
    psnr = {line["step"]: line.get("psnr") for line in run.read_metrics()}
    cells = [(run.target, "target")]
    for step, path in _chosen(run):
        cells.append((path, f"step {step}" + (f", {psnr[step]:.1f} dB" if psnr.get(step) is not None else "")))
    if run.final.exists():
        result = info.get("result", {})
        parts = ["result"]
        if result.get("psnr") is not None:
            parts.append(f"{result['psnr']:.1f} dB")
        if result.get("ssim") is not None:
            parts.append(f"SSIM {result['ssim']:.3f}")
        cells.append((run.final, ", ".join(parts)))
    pictures = [(Image.open(path).convert("RGB"), caption) for path, caption in cells]
    width = max(picture.width for picture, _ in pictures)
    height = max(picture.height for picture, _ in pictures)
    columns = min(COLUMNS, len(pictures))
    rows = -(-len(pictures) // columns)
    lines = _header(info)
    top = MARGIN + HEADER * len(lines)
    sheet = Image.new(
        "RGB",
        (max(MARGIN + columns * (width + MARGIN), 720), top + rows * (height + CAPTION + MARGIN)),
        BACKGROUND,
    )
    draw = ImageDraw.Draw(sheet)
    for row, line in enumerate(lines):
        size = 19 if row == 0 else 14
        text = _fitting(draw, line, ImageFont.load_default(size), sheet.width - 2 * MARGIN)
        draw.text((MARGIN, MARGIN + row * HEADER - 4), text, INK if row == 0 else FAINT, ImageFont.load_default(size))
    for index, (picture, caption) in enumerate(pictures):
        left = MARGIN + (index % columns) * (width + MARGIN)
        above = top + (index // columns) * (height + CAPTION + MARGIN)
        sheet.paste(picture, (left, above))
        draw.text((left, above + height + 4), caption, INK, ImageFont.load_default(14))
    images.save(run.sheet, _as_array(sheet))


def _as_array(sheet: Image.Image):
    import numpy as np

    return np.asarray(sheet, np.float32) / 255


def _header(info: dict) -> list[str]:
    layers = ", ".join(info.get("layers", {}))
    first = f"{info.get('network', '?')}: {layers}"
    second = f"weights: {info.get('weights', '?')}; {info.get('pool', '?')} pooling; image: {info.get('image', '?')}"
    stopped = info.get("stopped")
    return [first, second, *([f"stopped: {stopped}"] if stopped else [])]


def _chosen(run: RunDirectory) -> list:
    """Up to six pictures from the start to the end, nearer together at the start, where most happens."""
    steps = list(run.pictures().items())
    if len(steps) <= 6:
        return steps
    last = len(steps) - 1
    places = sorted({round(last * (i / 5) ** 2) for i in range(6)})
    return [steps[place] for place in places]


def _fitting(draw: ImageDraw.ImageDraw, text: str, font, width: float) -> str:
    if draw.textlength(text, font) <= width:
        return text
    while text and draw.textlength(text + "...", font) > width:
        text = text[:-1]
    return text + "..."
