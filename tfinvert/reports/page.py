"""The report page: report.html, one file that needs no other, and report.json with every figure on it.

It reads run directories only. What it says about the runs follows from their figures.
"""

from __future__ import annotations

import base64
import contextlib
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2

from tfinvert.images import files as images
from tfinvert.reports import charts, others
from tfinvert.reports.answers import answer_run
from tfinvert.reports.captions import is_map
from tfinvert.reports.entries import FIGURES, Entry, Run, read_run
from tfinvert.reports.sections import Section, build_depth_section, build_sections, list_figures
from tfinvert.reports.sheet import spread
from tfinvert.runs import reading
from tfinvert.runs.directory import RunDirectory
from tfinvert.system.errors import InputError
from tfinvert.system.files import write_text
from tfinvert.system.progress import progress_bar

SNAPSHOTS = 12
PNG, LARGEST_IMAGE = b"\x89PNG", 2**26  # bytes


def write(folder: Path, title: str, entries: Sequence[Entry], *, by_depth: bool = False) -> Path:
    """Writes report.html and report.json.

    Args:
      folder: where to write.
      title: the heading of the page.
      entries: the runs, in the order of the page.
      by_depth: show the runs as the layers of one network, of one image or of several, instead of sorting them by question.

    Returns:
      The path of report.html.
    """
    html, figures = render(title, entries, by_depth=by_depth)
    write_text(folder / "report.json", json.dumps(figures, indent=1) + "\n")
    write_text(folder / "report.html", html)
    return folder / "report.html"


def write_alone(directory: RunDirectory, info: Mapping[str, Any]) -> None:
    """Writes the report.html of a single run from the files in its directory.

    Args:
      directory: where they are.
      info: what run.json holds, or is going to hold.
    """
    entry = Entry(directory.path, directory.path.name)
    content = json.loads(json.dumps(info))  # lists for tuples, as they will be read
    run = Run(entry, content, reading.read_flags(directory.flags), directory.read_metrics())
    html, _ = _render(run.name, [run])
    write_text(directory.page, html)


def render(title: str, entries: Sequence[Entry], *, by_depth: bool = False) -> tuple[str, dict[str, Any]]:
    """The page as one HTML file that needs no other, and the figures on it; the arguments are those of `write`."""
    return _render(title, [read_run(entry) for entry in entries], by_depth=by_depth)


def _render(title: str, runs: Sequence[Run], *, by_depth: bool = False) -> tuple[str, dict[str, Any]]:
    sections = build_depth_section(runs) if by_depth else build_sections(runs)
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("tfinvert.reports", "."), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    with progress_bar("report", len(runs), unit=" runs") as bar:
        views = []
        for run in runs:
            views.append(_view_run(run, runs))
            bar.update()
    html = environment.get_template("page.html.j2").render(
        title=title,
        runs=views,
        sections=[_view_section(section) for section in sections],
        overview=others.overview(runs),
        inversions=sum(run.experiment == "invert" for run in runs),
    )
    figures = {
        "title": title,
        "runs": [_list_all(run, runs) for run in runs],
        "answers": {section.title: section.answer for section in sections},
    }
    return html, figures


def _list_all(run: Run, runs: Sequence[Run]) -> dict[str, Any]:
    """A run in report.json."""
    return {
        "name": run.name,
        "folder": str(run.entry.folder),
        "error": run.entry.error,
        "network": run.info.get("network"),
        "weights": run.info.get("weights"),
        "layers": run.layers,
        "result": {name: run.result[name] for name in FIGURES if name in run.result},
        "references": run.references,
        "cut_short": run.cut_short(),
        "answer": answer_run(run, runs),
        "feature_loss": run.feature_loss()[-1] if run.metrics else None,
        "metrics": run.metrics,
    }


def _view_run(run: Run, runs: Sequence[Run]) -> dict[str, Any]:
    """What the template shows of a run."""
    if run.experiment != "invert":
        return {**_view_other(run), "image": run.info.get("image", "")}
    directory = run.directory
    psnr = dict(zip(run.steps(), run.values("psnr"), strict=True))
    snapshots = spread(list(directory.step_images().items()), SNAPSHOTS)
    return {
        "name": run.name,
        "sentence": run.entry.sentence,
        "diff": run.entry.diff,
        "error": run.entry.error or run.info.get("stopped"),
        "kind": "inversion",
        "label": run.label(),
        "weights": run.info.get("weights", "?"),
        "pool": run.info.get("pool", "?"),
        "image": run.info.get("image", "?"),
        "answer": answer_run(run, runs),
        "target": _embed_file(directory.target),
        "final": _embed_file(directory.final),
        "snapshots": [
            {"step": step, "psnr": psnr.get(step), "image": data} for step, path in snapshots if (data := _embed_copy(path))
        ],
        "charts": _draw(run) if run.metrics else [],
        "figures": list_figures(run) if run.result else [],
    }


def _view_other(run: Run) -> dict[str, Any]:
    """What the template shows of a run of another experiment: its images and all its figures."""
    return {
        "name": run.name,
        "sentence": run.entry.sentence or others.sentence(run),
        "error": run.entry.error or run.info.get("stopped"),
        "answer": run.info.get("answer", ""),
        "kind": run.experiment,
        "label": f"{run.experiment}; {run.info.get('network', '')}",
        "weights": run.info.get("weights", "?"),
        "pool": run.info.get("pool", ""),
        "rows": [
            [
                {"caption": caption, "image": data, "map": is_map(path.stem, run.info), "chart": path.name in others.CHARTS}
                for path, caption in row
                if (data := _embed_copy(path))
            ]
            for row in others.images(run)
        ],
        "charts": _draw(run) if len(run.metrics) > 1 else [],
        "figures": others.figures(run),
        "tables": others.tables(run),
        "flags": run.flags,
    }


def _view_section(section: Section) -> dict[str, Any]:
    """What the template shows of a section."""
    pairs = zip(section.group, section.labels, strict=True)
    return {
        "title": section.title,
        "answer": section.answer,
        "charts": section.charts,
        "images": [
            {"name": label, "psnr": run.result["psnr"], "image": _embed_copy(run.directory.final)} for run, label in pairs
        ],
        "columns": section.columns,
        "rows": section.rows,
        "heading": section.heading,
    }


def _draw(run: Run) -> list[tuple[str, str]]:
    """The charts of a run: pairs of a caption and an SVG."""
    terms = list(_list_terms(run).items())
    caption = "loss, and its terms without their weights"
    if len(terms) > charts.MOST_CURVES:
        caption += f" ({charts.MOST_CURVES - 1} of {len(terms) - 1})"
    # The loss comes first in a line of metrics, and stays where there are many terms.
    is_log = all(value > 0 for value in run.values("loss"))  # which a score that is made large is not
    (loss,) = charts.lines(dict(terms[: charts.MOST_CURVES]), "loss", log=is_log)
    if run.experiment != "invert":
        return [(caption, loss)]
    (psnr,) = charts.lines({"PSNR": (run.steps(), run.values("psnr"))}, "PSNR (dB)")
    return [(caption, loss), ("PSNR over the steps", psnr)]


def _list_terms(run: Run) -> dict[str, tuple[list[int], list[float]]]:
    """The curves of the loss and its terms: name -> (steps, values)."""
    names = [name for name in (run.metrics[-1] if run.metrics else {}) if name not in ("step", "learning_rate", "psnr")]
    if len(names) == 2 and run.values(names[0]) == run.values(names[1]):
        names = names[:1]  # The loss has a single term, which would hide its curve.
    return {name: (run.steps(), run.values(name)) for name in names}


def _embed_file(path: Path) -> str:
    """A whole PNG file, as it is, as a data address; empty where there is none."""
    with contextlib.suppress(InputError, OSError):
        images.check(path)
        if path.stat().st_size <= LARGEST_IMAGE and (data := path.read_bytes()).startswith(PNG):
            return f"data:image/png;base64,{base64.b64encode(data).decode()}"
    return ""


def _embed_copy(path: Path) -> str:
    """A smaller copy of an image as a data address. Noise takes 150 kB as PNG, and a page has a hundred images."""
    out = io.BytesIO()
    try:
        images.read(path).save(out, "WEBP", quality=85)
    except (InputError, OSError, ValueError):  # damaged, or larger than the format allows
        return ""
    return f"data:image/webp;base64,{base64.b64encode(out.getvalue()).decode()}"
