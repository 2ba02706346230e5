"""The tables of a benchmark, in Markdown and LaTeX."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tfinvert.experiments.benchmark.summary import END, EQUAL, FIGURES

SHOWN = ("normalized_feature_error", "psnr", "lpips", "top_1")  # columns of the long table, where a benchmark has them
SMALLEST_P = 1e-4  # below it, the table says so


def markdown(data: Mapping[str, Any]) -> str:
    """All tables in Markdown."""
    parts = [
        f"{len(data['images'])} images: {', '.join(image['name'] for image in data['images'])}. Time is in {data['time']}. "
        f"{data['machine']['processor'] or data['machine']['system']}."
    ]
    if data["pairs"]:
        first = data["pairs"][0]["first"]
        parts.append(
            f"How often {first} is better than another method, over networks, layers and images; in brackets the p-value of "
            "Wilcoxon's signed-rank test over the images:"
        )
        parts.append(markdown_table(*shares(data)))
    parts.append("Mean over the images, and its 95 % interval by the bootstrap:")
    parts.append(markdown_table(*means(data)))
    return "\n\n".join(parts) + "\n"


def latex(data: Mapping[str, Any]) -> str:
    """All tables in LaTeX, for the package booktabs."""
    tables = [shares(data)] if data["pairs"] else []
    return "\n\n".join(_latex_table(*table) for table in [*tables, means(data)]) + "\n"


def shares(data: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """The heads and the rows of the table that says how often the first method is better."""
    figures = [figure for figure in FIGURES if any(figure in pair["figures"] for pair in data["pairs"])]
    rows = []
    for pair in data["pairs"]:
        cells = [_share(pair["figures"].get(figure)) for figure in figures]
        rows.append([f"{pair['other']}, at {_when(pair['at'])}{_cut(pair)}", str(pair["cells"]), *cells])
    return ["beside", "cells", *(FIGURES[figure][0] for figure in figures)], rows


def means(data: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """The heads and the rows of the table of means, the best method of each layer in bold."""
    rows, every = [], data["rows"]
    figures = [figure for figure in SHOWN if any(figure in row[EQUAL] for row in every)]
    for network, layer in dict.fromkeys((row["network"], row["layer"]) for row in every):
        group = [row for row in every if (row["network"], row["layer"]) == (network, layer)]
        for row in group:
            for when in (EQUAL, END):
                if when == END and _is_same(row):
                    continue
                cells = [_mean(row[when].get(figure), figure, _best(group, when, figure)) for figure in figures]
                time = (
                    f"{row[when]['seconds']['mean']:.1f} s, {row[when]['step']['mean']:.0f} steps"
                    if row[when]["step"]["mean"]
                    else ""
                )
                stopped = f"; {row['stopped']} diverged" if row["stopped"] else ""
                name = row["method"] + (f", to {_when(END)}{_cut(row)}" if when == END else "")
                rows.append([f"{network} {layer}", name + stopped, *cells, time])
    return ["layer", "method", *(FIGURES[figure][0] for figure in figures), "time"], rows


def _is_same(row: Mapping[str, Any]) -> bool:
    """Whether a method ends before the time that the first method takes."""
    return row[EQUAL]["step"]["mean"] == row[END]["step"]["mean"]


def _cut(group: Mapping[str, Any]) -> str:
    """How many of a group's cells were ended before their last step; in a benchmark of an earlier version it is not known."""
    return f" ({group['cut']} of {group.get('cells') or group['images']} ended by --longest)" if group.get("cut") else ""


def _when(name: str) -> str:
    return "its last step" if name == END else name


def _best(group: Sequence[Mapping[str, Any]], when: str, figure: str) -> float | None:
    values = [row[when][figure]["mean"] for row in group if figure in row[when]]
    return (max if FIGURES[figure][1] else min)(values) if values else None


def _mean(value: Mapping[str, float] | None, figure: str, best: float | None) -> str:
    if value is None:
        return ""
    form = FIGURES[figure][2]
    text = f"{value['mean']:{form}}"
    text = f"**{text}**" if value["mean"] == best else text
    return text + (f" ({value['low']:{form}} to {value['high']:{form}})" if "low" in value else "")


def _share(value: Mapping[str, float] | None) -> str:
    if value is None:
        return ""
    p = f"< {SMALLEST_P:g}" if value["p"] < SMALLEST_P else f"{value['p']:.2g}"
    return f"{100 * value['share']:.0f} % ({p})"


def markdown_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _latex_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    body = [" & ".join(map(_latex, row)) + r" \\" for row in rows]
    head = " & ".join(map(_latex, heads)) + r" \\"
    columns = "ll" + "r" * (len(heads) - 2)
    return "\n".join(
        [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", head, r"\midrule", *body, r"\bottomrule", r"\end{tabular}"]
    )


def _latex(text: str) -> str:
    """A cell in LaTeX; what is bold in Markdown is bold."""
    for character in "&%_#$":
        text = text.replace(character, rf"\{character}")
    text = text.replace("<", "$<$")
    before, stars, rest = text.partition("**")
    bold, _, after = rest.partition("**")
    return f"{before}\\textbf{{{bold}}}{after}" if stars else text
