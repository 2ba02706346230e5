"""The report page: report.html, one file that needs nothing else, and report.json with every figure on it.

It reads run directories only. What it says of the runs is worked out from their figures.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import io
import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2

from tfinvert.errors import InputError
from tfinvert.images import files as images
from tfinvert.reports import charts
from tfinvert.reports.sheet import spread
from tfinvert.runs.directory import RunDirectory, is_number
from tfinvert.system.files import read_text, write_text

SNAPSHOTS = 12
PNG, LARGEST_PICTURE = b"\x89PNG", 2**26  # bytes
FIGURES = ("psnr", "ssim", "normalized_feature_error", "seconds", "steps_per_second", "peak_memory_mb")


@dataclasses.dataclass(frozen=True)
class Entry:
    """A run on the page.

    Attributes:
      folder: its run directory.
      name: as its heading says.
      sentence: what it is about.
      diff: what sets it apart from the baseline.
      error: why it failed, if it did.
    """

    folder: Path
    name: str
    sentence: str = ""
    diff: str = ""
    error: str | None = None


@dataclasses.dataclass(frozen=True)
class Run:
    """An entry with what its directory holds."""

    entry: Entry
    info: dict[str, Any]
    flags: dict[str, str]
    metrics: list[dict[str, Any]]

    @property
    def name(self) -> str:
        return self.entry.name

    @property
    def result(self) -> dict[str, float]:
        """The figures, all of them; empty where the run has not ended, or run.json or metrics.jsonl is damaged."""
        found = self.info.get("result", {})
        return found if self.metrics and self.info.get("layers") and all(is_number(found.get(name)) for name in FIGURES) else {}

    @property
    def finished(self) -> bool:
        return bool(self.result) and "stopped" not in self.info

    def number(self, name: str) -> float:
        """A setting as a number, as the preset chose it or else as the flag has it; 0 where it is none."""
        chosen = self.info.get("settings")
        given = self.flags.get(name, 0)
        try:
            value = float(chosen.get(name, given) if isinstance(chosen, dict) else given)
        except (TypeError, ValueError):
            return 0.0
        return value if is_number(value) else 0.0

    def steps(self) -> list[int]:
        return [line["step"] for line in self.metrics]

    def values(self, name: str) -> list[float]:
        return [line.get(name, float("nan")) for line in self.metrics]

    def feature_loss(self) -> list[float]:
        """The mean over the layers of the feature loss, without regularizers."""
        layers = list(self.info.get("layers", {}))
        return [sum(line.get(layer, float("nan")) for layer in layers) / max(len(layers), 1) for line in self.metrics]

    def label(self) -> str:
        """What tells runs apart in a sentence: network, layers, rate."""
        return f"{self.info.get('network', '?')} {'+'.join(self.info.get('layers', {}))}"


def write(folder: Path, title: str, entries: Sequence[Entry], *, by_depth: bool = False) -> Path:
    """Writes report.html and report.json into a folder and gives the former's path.

    `by_depth` puts the runs beside each other as the layers of one network.
    """
    runs = [_read(entry) for entry in entries]
    sections = _depth_section(runs) if by_depth else _sections(runs)
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("tfinvert.reports", "."), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    html = environment.get_template("page.html.j2").render(
        title=title, runs=[_view(run, runs) for run in runs], sections=sections
    )
    figures = {
        "title": title,
        "runs": [
            {
                "name": run.name,
                "folder": str(run.entry.folder),
                "error": run.entry.error,
                "network": run.info.get("network"),
                "weights": run.info.get("weights"),
                "layers": list(run.info.get("layers", {})),
                "result": {name: run.result[name] for name in FIGURES if name in run.result},
                "answer": _answer(run, runs),
                "feature_loss": run.feature_loss()[-1] if run.metrics else None,
                "metrics": run.metrics,
            }
            for run in runs
        ],
        "answers": {section["title"]: section["answer"] for section in sections},
    }
    write_text(folder / "report.json", json.dumps(figures, indent=1) + "\n")
    write_text(folder / "report.html", html)
    return folder / "report.html"


def _read(entry: Entry) -> Run:
    run = RunDirectory(entry.folder)
    text = ""
    with contextlib.suppress(OSError):
        text = read_text(run.flags)
    flags = dict(line[2:].partition("=")[::2] for line in text.splitlines() if line.startswith("--"))
    return Run(entry, run.read_info(), flags, run.read_metrics())


# ----------------------------------------------------------------------------------------------------------- one run


def _view(run: Run, runs: Sequence[Run]) -> dict[str, Any]:
    """What the template shows of a run."""
    directory = RunDirectory(run.entry.folder)
    pictures = list(directory.pictures().items())
    psnr = dict(zip(run.steps(), run.values("psnr"), strict=True))
    shown = spread(pictures, SNAPSHOTS)
    return {
        "name": run.name,
        "sentence": run.entry.sentence,
        "diff": run.entry.diff,
        "error": run.entry.error or run.info.get("stopped"),
        "label": run.label(),
        "weights": run.info.get("weights", "?"),
        "pool": run.info.get("pool", "?"),
        "image": run.info.get("image", "?"),
        "answer": _answer(run, runs),
        "target": _png(directory.target),
        "final": _png(directory.final),
        "snapshots": [{"step": step, "psnr": psnr.get(step), "picture": data} for step, path in shown if (data := _webp(path))],
        "loss_chart": charts.lines(_terms(run), "loss", log=True) if run.metrics else "",
        "psnr_chart": charts.lines({"PSNR": (run.steps(), run.values("psnr"))}, "PSNR (dB)") if run.metrics else "",
        "figures": _table([run])[0] if run.result else [],
    }


def _terms(run: Run) -> dict[str, tuple[list[int], list[float]]]:
    names = [name for name in (run.metrics[-1] if run.metrics else {}) if name not in ("step", "learning_rate", "psnr")]
    if len(names) == 2 and run.values(names[0]) == run.values(names[1]):
        names = names[:1]  # the loss is its only term
    return {name: (run.steps(), run.values(name)) for name in names[: charts.MOST_TERMS]}


def _answer(run: Run, runs: Sequence[Run]) -> str:
    """What the figures say of one run, beside the baseline where that is on the page."""
    if not run.result:
        return "No figures: the run has not ended."
    said = f"{run.label()} ends at {run.result['psnr']:.1f} dB, SSIM {run.result['ssim']:.3f}, "
    said += f"with a normalized feature error of {run.result['normalized_feature_error']:.3g}."
    base = next((r for r in runs if r.name == "baseline" and r.result and r is not run), None)
    if base is None:
        return said
    difference = run.result["psnr"] - base.result["psnr"]
    if abs(difference) < 0.05:
        said += " That is the baseline's PSNR."
    else:
        said += f" That is {abs(difference):.1f} dB {'above' if difference > 0 else 'below'} the baseline."
    same = base.label() == run.label() and base.flags.get("feature_loss") == run.flags.get("feature_loss")
    reached = next((s for s, v in zip(run.steps(), run.feature_loss(), strict=True) if v <= base.feature_loss()[-1]), None)
    if same and reached is not None and base.steps():
        said += f" It has the baseline's final feature loss by step {reached} (of {base.steps()[-1]})."
    elif same:
        said += " It never reaches the baseline's final feature loss."
    return said


def _table(runs: Sequence[Run]) -> list[list[tuple[str, str]]]:
    """For each run, (name of a figure, its value)."""
    form = {
        "psnr": ("PSNR", "{:.2f} dB"),
        "ssim": ("SSIM", "{:.4f}"),
        "normalized_feature_error": ("normalized feature error", "{:.3g}"),
        "seconds": ("seconds", "{:.1f}"),
        "steps_per_second": ("steps/s", "{:.1f}"),
        "peak_memory_mb": ("peak memory", "{:.0f} MB"),
    }
    rows = []
    for run in runs:
        loss = run.feature_loss()[-1:] if run.metrics else []
        cells = [("feature loss", f"{loss[0]:.3g}" if loss else "-")]
        cells += [(form[name][0], form[name][1].format(run.result[name])) for name in FIGURES if name in run.result]
        rows.append(cells)
    return rows


# ----------------------------------------------------------------------------------------------------- across the runs


def _sections(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """The four questions, as far as there are runs for them; all runs beside each other where there are none."""
    done = [run for run in runs if run.result]
    base = [run for run in done if run.name == "baseline"]

    def of(question: str) -> list[Run]:
        return [run for run in done if run.name == question or run.name.startswith((f"{question}.", f"{question}-"))]

    sections = []
    if of("q1"):
        group = base + of("q1")
        sections.append(_section("Question 1: which learning rate converges best?", group, _answer_q1(group), curves=True))
    if of("q2"):
        group = base + of("q2")
        sections.append(_section("Question 2: what does total variation do?", group, _answer_q2(group), bars="total variation"))
    if of("q3"):
        group = sorted(base + of("q3"), key=_depth)
        sections.append(_section("Question 3: shallow or deep layers?", group, _answer_q3(group), bars="depth"))
    if of("q4"):
        group = base + of("q4")
        sections.append(_section("Question 4: VGG16 or ResNet18?", group, _answer_q4(group), bars="speed"))
    if not sections and len(done) > 1:
        best = max(done, key=lambda run: run.result["psnr"])
        answer = f"{best.name} has the highest PSNR, {best.result['psnr']:.1f} dB."
        sections.append(_section("All runs", done, answer, curves=True))
    return sections


def _depth_section(runs: Sequence[Run]) -> list[dict[str, Any]]:
    done = [run for run in runs if run.result]
    return [_section("The layers by depth", done, _answer_q3(done), bars="depth")] if done else []


def _section(title: str, group: Sequence[Run], answer: str, *, curves: bool = False, bars: str = "") -> dict[str, Any]:
    shown = []
    if curves:
        shown.append(("PSNR over the steps", charts.lines({r.name: (r.steps(), r.values("psnr")) for r in group}, "PSNR (dB)")))
        losses = {r.name: (r.steps(), r.feature_loss()) for r in group}
        shown.append(("Feature loss over the steps", charts.lines(losses, "feature loss", log=True)))
    if bars:
        names = {r.name: _tick(r, bars) for r in group}
        shown.append(
            (
                "PSNR" if bars == "speed" else f"PSNR by {bars}",
                charts.bars({names[r.name]: r.result["psnr"] for r in group}, "PSNR (dB)"),
            )
        )
    if bars == "speed":
        speeds = {names[r.name]: r.result["steps_per_second"] for r in group}
        shown.append(("Steps per second", charts.bars(speeds, "steps/s")))
    if bars == "depth":
        errors = {names[r.name]: r.result["normalized_feature_error"] for r in group}
        shown.append(("Normalized feature error by depth", charts.bars(errors, "normalized feature error")))
    table = _table(group)
    return {
        "title": title,
        "answer": answer,
        "charts": shown,
        "pictures": [
            {"name": _tick(r, bars), "psnr": r.result["psnr"], "picture": _webp(RunDirectory(r.entry.folder).final)}
            for r in group
        ],
        "columns": [name for name, _ in table[0]] if table else [],
        "rows": [(run.name, [value for _, value in cells]) for run, cells in zip(group, table, strict=True)],
    }


def _tick(run: Run, kind: str) -> str:
    if kind == "total variation":
        weight = run.number("tv_weight")
        return f"{weight:g} x {run.flags.get('tv_reduction', '')}\n{run.name}" if weight else f"none\n{run.name}"
    if kind == "depth":
        return "\n+ ".join(run.info.get("layers", {}))
    if kind == "speed":
        return f"{run.info.get('network', '?')}\n{'+'.join(run.info.get('layers', {}))}"
    return run.name


def _depth(run: Run) -> tuple[int, int]:
    """Orders layers by the size of what they see; those that see everything come last."""
    fields = [layer.get("receptive_field") for layer in run.info.get("layers", {}).values()]
    deepest = max((field[0] if field else 10**6 for field in fields), default=0)
    return deepest, len(fields)


def _answer_q1(group: Sequence[Run]) -> str:
    constant = [run for run in group if run.flags.get("schedule") == "constant"]
    said = ""
    if constant:
        best = min(constant, key=lambda run: run.feature_loss()[-1])
        rates = ", ".join(f"{run.number('learning_rate'):g}" for run in constant)
        said = f"Of the constant rates ({rates}), {best.number('learning_rate'):g} ends with the lowest feature loss, "
        said += f"{best.feature_loss()[-1]:.3g}, and {best.result['psnr']:.1f} dB. "
    over_all = min(group, key=lambda run: run.feature_loss()[-1])
    if over_all not in constant:
        said += f"{over_all.name} ({over_all.flags.get('schedule')} from {over_all.number('learning_rate'):g}) "
        said += f"goes further, to {over_all.feature_loss()[-1]:.3g} and {over_all.result['psnr']:.1f} dB."
    return said


def _answer_q2(group: Sequence[Run]) -> str:
    weighted = [run for run in group if run.number("tv_weight") > 0]
    base = next((run for run in group if not run.number("tv_weight")), None)
    said = []
    for run in weighted:
        weight = f"{run.number('tv_weight'):g} x the {run.flags.get('tv_reduction')}"
        variation = run.values("tv")
        kept = variation[-1] / variation[0] if variation and variation[0] else float("nan")
        said.append(f"{weight}: {run.result['psnr']:.1f} dB, {kept:.2%} of the start's total variation left")
    text = "; ".join(said) + "."
    best = max(weighted, key=lambda run: run.result["psnr"], default=None)
    if best is not None and base is not None:
        better = best.result["psnr"] > base.result["psnr"]
        text += f" Best of them is {best.name}, {'above' if better else 'below'} the {base.result['psnr']:.1f} dB without."
    flat = [run.name for run in weighted if run.values("tv") and run.values("tv")[-1] < 0.01 * run.values("tv")[0]]
    if flat:
        text += f" Flat pictures (under 1 % of the start's variation): {', '.join(flat)}."
    return text


def _answer_q3(group: Sequence[Run]) -> str:
    text = "; ".join(f"{'+'.join(run.info['layers'])}: {run.result['psnr']:.1f} dB" for run in group) + "."
    single = [run for run in group if len(run.info["layers"]) == 1]
    values = [run.result["psnr"] for run in single]
    if len(values) > 1:
        falls = all(a > b for a, b in itertools.pairwise(values))
        text += (
            " The deeper the layer, the less of the picture comes back." if falls else " PSNR does not fall with every layer."
        )
    for run in group:
        parts = [one for one in single if set(one.info["layers"]) < set(run.info["layers"])]
        for part in parts:
            difference = run.result["psnr"] - part.result["psnr"]
            text += f" {'+'.join(run.info['layers'])} is {abs(difference):.1f} dB {'above' if difference > 0 else 'below'} "
            text += f"{'+'.join(part.info['layers'])} alone."
    return text


def _answer_q4(group: Sequence[Run]) -> str:
    base = next((run for run in group if run.name == "baseline"), None)
    said = []
    for run in group:
        text = f"{run.label()}: {run.result['psnr']:.1f} dB at {run.result['steps_per_second']:.1f} steps/s"
        if base is not None and run is not base:
            text += f", {run.result['steps_per_second'] / base.result['steps_per_second']:.1f} times the baseline's"
        said.append(text)
    best = max(group, key=lambda run: run.result["psnr"])
    return "; ".join(said) + f". The highest PSNR is {best.label()}'s."


# ----------------------------------------------------------------------------------------------------------- pictures


def _png(path: Path) -> str:
    """A whole PNG file as a data address, as it is; empty where there is none."""
    with contextlib.suppress(InputError, OSError):
        images.check(path)
        if path.stat().st_size <= LARGEST_PICTURE and (data := path.read_bytes()).startswith(PNG):
            return f"data:image/png;base64,{base64.b64encode(data).decode()}"
    return ""


def _webp(path: Path) -> str:
    """A smaller copy: noise takes 150 kB as PNG, and a page has a hundred pictures."""
    out = io.BytesIO()
    try:
        images.read(path).save(out, "WEBP", quality=85)
    except (InputError, OSError, ValueError):  # damaged, or larger than the format allows
        return ""
    return f"data:image/webp;base64,{base64.b64encode(out.getvalue()).decode()}"
