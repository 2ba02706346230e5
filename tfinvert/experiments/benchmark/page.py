"""The page of a benchmark: its tables, quality against time, and images beside their targets."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from tfinvert.experiments.benchmark import tables
from tfinvert.experiments.benchmark.cells import Cell
from tfinvert.experiments.benchmark.methods import REFERENCES
from tfinvert.experiments.benchmark.summary import FIGURES
from tfinvert.reports import charts
from tfinvert.system.files import write_text

WIDTH = 112  # pixels of an image on the page
SECONDS = "processor seconds"
MOST_IMAGES = 3  # of each layer
STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem}"
    "table{border-collapse:collapse;margin:1rem 0}td,th{padding:.15rem .6rem;text-align:left;border-bottom:1px solid #8884}"
    f"figure{{display:inline-block;vertical-align:top;width:{WIDTH}px;margin:.3rem}}figcaption{{font-size:.8rem}}"
    "img{display:block}.charts{display:flex;flex-wrap:wrap}svg{max-width:34rem;width:100%}"
    ":root{color-scheme:light dark}.wide{overflow-x:auto}"
)


def write(folder: Path, data: Mapping[str, Any]) -> Path:
    """Writes benchmark.html, which holds its images; returns its path."""
    parts = ["<h1>How well each method inverts</h1>"]
    if data["pairs"]:
        parts += [f"<h2>How often {html.escape(data['pairs'][0]['first'])} is better</h2>", _table(*tables.shares(data))]
    parts += ["<h2>Means over the images</h2>", _table(*tables.means(data))]
    for network, layer in dict.fromkeys((row["network"], row["layer"]) for row in data["rows"]):
        cells = [cell for cell in data["cells"] if (cell["network"], cell["layer"]) == (network, layer)]
        parts.append(f"<h2>{html.escape(f'{network} {layer}')}</h2>")
        drawn = [
            chart
            for figure, log in (("normalized_feature_error", True), ("psnr", False))
            for chart in charts.lines(mean_curves(cells, figure), FIGURES[figure][0], log=log, xlabel=SECONDS, log_x=True)
        ]
        parts.append(f'<div class="charts">{"".join(f"<div>{chart}</div>" for chart in drawn)}</div>')
        for image in list(dict.fromkeys(cell["image"] for cell in cells))[:MOST_IMAGES]:
            own = [cell for cell in cells if cell["image"] == image and cell["method"] not in REFERENCES]
            parts.append(f"<div>{''.join(_figures(folder, own))}</div>")
    path = folder / "benchmark.html"
    head = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Benchmark</title><style>{STYLE}</style>'
    write_text(path, head + "\n".join(parts) + "\n")
    return path


def mean_curves(cells: Sequence[Mapping[str, Any]], figure: str) -> dict[str, tuple[list[float], list[float]]]:
    """Method -> (seconds, values of a figure): the means over the images of the points that all of them have."""
    curves = {}
    for method in dict.fromkeys(cell["method"] for cell in cells):
        own = [cell["curve"] for cell in cells if cell["method"] == method]
        count = min(map(len, own))
        if count < 2:
            continue  # it makes no steps
        points = list(zip(*(curve[-count:] for curve in own), strict=True))
        curves[method] = (
            [sum(point["seconds"] for point in group) / len(group) for group in points],
            [sum(point[figure] for point in group) / len(group) for group in points],
        )
    return curves


def _figures(folder: Path, cells: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """The target and each method's image, at the time that the first method takes where it needs longer."""
    for number, figures in enumerate(cells):
        cell = Cell(*(figures[name] for name in ("network", "layer", "image", "method")))
        if number == 0:
            yield _figure(cell.folder(folder) / "target.png", f"{cell.image}, the target")
        path = cell.equal(folder)
        yield _figure(path if path.exists() else cell.end(folder), cell.method)


def _figure(path: Path, caption: str) -> str:
    if not path.is_file():
        return ""
    with Image.open(path) as image:
        small = image.convert("RGB").resize((WIDTH, WIDTH * image.height // image.width), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    small.save(out, "JPEG", quality=85)
    source = base64.b64encode(out.getvalue()).decode()
    text = html.escape(caption)
    return f'<figure><img src="data:image/jpeg;base64,{source}" alt="{text}"><figcaption>{text}</figcaption></figure>'


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    def line(cells: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{_bold(html.escape(cell))}</{tag}>" for cell in cells) + "</tr>"

    return f'<div class="wide"><table>{line(heads, "th")}{"".join(line(row, "td") for row in rows)}</table></div>'


def _bold(text: str) -> str:
    before, stars, rest = text.partition("**")
    bold, _, after = rest.partition("**")
    return f"{before}<b>{bold}</b>{after}" if stars else text
