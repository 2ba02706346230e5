"""The sections of a report page that compare runs: their answer, charts, images and table."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from tfinvert.images.references import EVEN_GREY, MEAN_IMAGE
from tfinvert.reports import answers, charts
from tfinvert.reports.entries import FIGURES, Run
from tfinvert.reports.judging import by_target
from tfinvert.reports.means import answer_means, draw_means, list_means

FORMATS = {
    "psnr": ("PSNR", "{:.2f} dB"),
    "ssim": ("SSIM", "{:.4f}"),
    "normalized_feature_error": ("normalized feature error", "{:.3g}"),
    "seconds": ("seconds", "{:.1f}"),
    "steps_per_second": ("steps/s", "{:.1f}"),
    "peak_memory_mb": ("peak memory", "{:.0f} MB"),
}
SHOWN = (EVEN_GREY, MEAN_IMAGE)  # whose PSNR stands beside a run's
SEES_ALL = 10**6  # stands for the receptive field of a layer that sees the whole image


@dataclasses.dataclass(frozen=True)
class Section:
    """Some runs beside each other.

    Attributes:
      title: the heading.
      answer: what their figures say.
      group: the runs.
      labels: what stands below their images and bars.
      charts: pairs of a caption and an SVG.
      columns: the names of the figures in the table.
      rows: for each run its name and its figures.
      heading: what each row is of.
    """

    title: str
    answer: str
    group: tuple[Run, ...]
    labels: tuple[str, ...]
    charts: tuple[tuple[str, str], ...]
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[str, ...]], ...]
    heading: str = "run"


def build_sections(runs: Sequence[Run]) -> list[Section]:
    """The four questions of the homework, as far as there are runs for them; where there are none, all runs together."""
    done = [run for run in runs if run.result]
    baseline = [run for run in done if run.name == "baseline"]

    def group(question: str) -> list[Run]:
        own = [run for run in done if run.name == question or run.name.startswith((f"{question}.", f"{question}-"))]
        return baseline + own if own else []

    sections = []
    if runs_of_q1 := group("q1"):
        title, answer = "Question 1: which learning rate converges best?", answers.answer_learning_rate(runs_of_q1)
        sections.append(_build_section(title, answer, runs_of_q1, draw=_draw_curves))
    if runs_of_q2 := group("q2"):
        title, answer = "Question 2: what does total variation do?", answers.answer_total_variation(runs_of_q2)
        sections.append(_build_section(title, answer, runs_of_q2, label=_label_total_variation, draw=_draw_total_variation))
    if runs_of_q3 := group("q3"):
        ordered = sorted(runs_of_q3, key=_depth)
        title, answer = "Question 3: shallow or deep layers?", answers.answer_depth(ordered)
        sections.append(_build_section(title, answer, ordered, label=_label_layers, draw=_draw_depth))
    if runs_of_q4 := group("q4"):
        title, answer = "Question 4: VGG16 or ResNet18?", answers.answer_network(runs_of_q4)
        sections.append(_build_section(title, answer, runs_of_q4, label=_label_network, draw=_draw_speed))
    if not sections and len(done) > 1:
        sections.append(_build_section("All runs", answers.answer_others(done), done, draw=_draw_curves))
    return sections


def build_depth_section(runs: Sequence[Run]) -> list[Section]:
    """The runs as the layers of one network, in their order, with means over several images; empty where none has ended."""
    done = [run for run in runs if run.result]
    if not done:
        return []
    title = "The layers by depth"
    if len(by_target(done)) == 1:
        return [_build_section(title, answers.answer_depth(done), done, label=_label_layers, draw=_draw_depth)]
    answer, table, names = answers.answer_section(answer_means(done), done), list_means(done), tuple(run.name for run in done)
    columns = tuple(name for name, _ in next(iter(table.values())))
    rows = tuple((layer, tuple(text for _, text in cells)) for layer, cells in table.items())
    return [Section(title, answer, tuple(done), names, tuple(draw_means(done)), columns, rows, heading="layer")]


def list_figures(run: Run) -> list[tuple[str, str]]:
    """The names and the texts of a run's figures."""
    loss = run.feature_loss()[-1:]
    cells = [("feature loss", f"{loss[0]:.3g}" if loss else "-")]
    for name in FIGURES:
        cells += [(FORMATS[name][0], FORMATS[name][1].format(run.result[name]))] if name in run.result else []
        if name == "psnr":
            cells += [(f"PSNR of {other}", f"{run.references[other]:.2f} dB") for other in SHOWN if other in run.references]
    return cells


def _build_section(
    title: str,
    answer: str,
    group: Sequence[Run],
    *,
    label: Callable[[Run], str] = lambda run: run.name,
    draw: Callable[[Sequence[Run], Sequence[str]], list[tuple[str, str]]],
) -> Section:
    labels = tuple(map(label, group))
    table = [list_figures(run) for run in group]
    return Section(
        title=title,
        answer=answers.answer_section(answer, group),
        group=tuple(group),
        labels=labels,
        charts=tuple(draw(group, labels)),
        columns=tuple(name for name, _ in table[0]),
        rows=tuple((run.name, tuple(text for _, text in cells)) for run, cells in zip(group, table, strict=True)),
    )


def _draw_curves(group: Sequence[Run], labels: Sequence[str]) -> list[tuple[str, str]]:
    psnr = {run.name: (run.steps(), run.values("psnr")) for run in group}
    losses = {run.name: (run.steps(), run.feature_loss()) for run in group}
    drawn = [("PSNR over the steps", svg) for svg in charts.lines(psnr, "PSNR (dB)")]
    drawn += [("Feature loss over the steps", svg) for svg in charts.lines(losses, "feature loss", log=True)]
    if len(group) <= charts.MOST_CURVES:
        return drawn
    parts = len(drawn) // 2
    return [(f"{caption}, part {number % parts + 1} of {parts}", svg) for number, (caption, svg) in enumerate(drawn)]


def _draw_total_variation(group: Sequence[Run], labels: Sequence[str]) -> list[tuple[str, str]]:
    return [("PSNR by total variation", _draw_bars(group, labels, "psnr", "PSNR (dB)"))]


def _draw_depth(group: Sequence[Run], labels: Sequence[str]) -> list[tuple[str, str]]:
    errors = _draw_bars(group, labels, "normalized_feature_error", "normalized feature error")
    return [
        ("PSNR by depth", _draw_bars(group, labels, "psnr", "PSNR (dB)")),
        ("Normalized feature error by depth", errors),
    ]


def _draw_speed(group: Sequence[Run], labels: Sequence[str]) -> list[tuple[str, str]]:
    return [
        ("PSNR", _draw_bars(group, labels, "psnr", "PSNR (dB)")),
        ("Steps per second", _draw_bars(group, labels, "steps_per_second", "steps/s")),
    ]


def _draw_bars(group: Sequence[Run], labels: Sequence[str], figure: str, axis: str) -> str:
    return charts.bars(labels, [run.result[figure] for run in group], axis)


def _label_total_variation(run: Run) -> str:
    weight = run.number("tv_weight")
    return f"{weight:g} x {run.flags.get('tv_reduction', '')}\n{run.name}" if weight else f"none\n{run.name}"


def _label_layers(run: Run) -> str:
    return "\n+ ".join(run.layers)


def _label_network(run: Run) -> str:
    return f"{run.info.get('network', '?')}\n{'+'.join(run.layers)}"


def _depth(run: Run) -> tuple[int, int]:
    """Orders layers by what they see of the image; those that see all of it come last."""
    fields = [layer.get("receptive_field") for layer in run.info.get("layers", {}).values()]
    return max((field[0] if field else SEES_ALL for field in fields), default=0), len(fields)
