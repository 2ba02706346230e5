"""A film of images that follow each other: the steps of an optimization, or the layers of a network."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from tfinvert.images import files as images
from tfinvert.system.errors import InputError
from tfinvert.system.files import replacing

KINDS = ("gif", "webp", "mp4")
SMALLEST_SIDE = 224  # pixels; smaller images are enlarged by a whole number, so that their pixels stay as they are
MOST_FRAMES = 150
SECONDS, LAST_SECONDS = 8.0, 2.0  # of the whole film at most, and of its last frame
FASTEST, SLOWEST = 0.04, 0.4  # seconds of a frame
STRIP, GAP, LINE = 30, 8, 4  # pixels
PAPER, INK, FAINT, ACCENT = "#ffffff", "#1a1a1a", "#dddddd", "#00578a"
QUALITY = 90  # of WebP
COLORS = 256  # of the one palette of a GIF


@dataclasses.dataclass(frozen=True)
class Frame:
    """An image of a film: its file, the words below it, and which part of the film is over."""

    path: Path
    caption: str
    part: float


def write(path: Path, kind: str, frames: Sequence[Frame], target: Path | None) -> None:
    """Writes a film. The same images give the same bytes.

    Args:
      path: the file to write.
      kind: "gif", "webp" or "mp4".
      frames: in order. Of more than 150, as many are taken, evenly.
      target: an image that stands beside all of them, or None.

    Raises:
      InputError: an image cannot be read, or a package for mp4 is missing.
    """
    part = max(-(-(len(frames) - 1) // (MOST_FRAMES - 1)), 1)
    chosen = [*frames[:-1:part], frames[-1]]
    beside = None if target is None else images.read(target)
    drawn = [_draw(frame, beside) for frame in chosen]
    seconds = min(max(SECONDS / len(drawn), FASTEST), SLOWEST)
    with replacing(path) as file:
        if kind == "mp4":
            _write_video(file, drawn, seconds)
        else:
            durations = [round(100 * seconds) * 10] * (len(drawn) - 1) + [round(1000 * LAST_SECONDS)]  # GIF counts in 10 ms
            if kind == "gif":
                drawn = _with_one_palette(drawn)
            options = {"quality": QUALITY, "method": 4} if kind == "webp" else {"optimize": False, "disposal": 1}
            drawn[0].save(file, kind.upper(), save_all=True, append_images=drawn[1:], duration=durations, loop=0, **options)


def _draw(frame: Frame, beside: Image.Image | None) -> Image.Image:
    """The images side by side, the words, and a line that grows to the whole width."""
    shown = [image for image in (beside, images.read(frame.path)) if image is not None]
    times = max(-(-SMALLEST_SIDE // min(min(image.size) for image in shown)), 1)
    shown = [image.resize((image.width * times, image.height * times), Image.Resampling.NEAREST) for image in shown]
    width = sum(image.width for image in shown) + GAP * (len(shown) - 1)
    height = max(image.height for image in shown) + LINE + STRIP
    canvas = Image.new("RGB", (width + width % 2, height + height % 2), PAPER)  # H.264 takes even sides alone
    left = 0
    for image in shown:
        canvas.paste(image, (left, 0))
        left += image.width + GAP
    draw = ImageDraw.Draw(canvas)
    top = height - STRIP - LINE
    draw.rectangle((0, top, width, top + LINE - 1), FAINT)
    draw.rectangle((0, top, max(round(frame.part * width), 1), top + LINE - 1), ACCENT)
    font = ImageFont.load_default(15)
    draw.text((4, height - STRIP + 5), frame.caption, INK, font)
    if beside is not None:
        text = "target | image"
        draw.text((width - 4 - draw.textlength(text, font), height - STRIP + 5), text, "#6a6a6a", font)
    return canvas


def _with_one_palette(frames: Sequence[Image.Image]) -> list[Image.Image]:
    """The frames in colors that suit all of them: with palettes of their own, what stands still would flicker."""
    sample = [frames[round(place)] for place in np.linspace(0, len(frames) - 1, min(len(frames), 12))]
    wall = Image.fromarray(np.concatenate([np.asarray(frame) for frame in sample], axis=0))
    palette = wall.quantize(COLORS, method=Image.Quantize.MEDIANCUT)
    return [frame.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG) for frame in frames]


def _write_video(path: Path, frames: Sequence[Image.Image], seconds: float) -> None:
    """Writes H.264, which every browser and every program for slides plays."""
    try:
        import av
    except ImportError:
        raise InputError("--format=mp4 needs PyAV: pip install av, or give --format=gif or webp") from None
    held = [frames[-1]] * round(LAST_SECONDS / seconds)
    with av.open(str(path), "w", format="mp4") as video:
        stream = video.add_stream("libx264", rate=round(1 / seconds), options={"crf": "16", "threads": "1"})
        stream.width, stream.height, stream.pix_fmt = *frames[0].size, "yuv420p"
        for frame in [*frames, *held]:
            video.mux(stream.encode(av.VideoFrame.from_image(frame)))
        video.mux(stream.encode())
