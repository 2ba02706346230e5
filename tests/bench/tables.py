"""The figures as text and as a chart."""

import re
from pathlib import Path
from typing import Any

from tests.bench import ROOT

PAGE = ROOT / "docs" / "performance.md"
BEGIN, END = "<!-- written by python -m tests.bench quick -->", "<!-- the end of what is written -->"


def show(figures: dict[str, Any]) -> None:
    """Prints plain figures, then a table for each part."""
    plain = {name: value for name, value in figures.items() if not isinstance(value, (dict, list))}
    width = max(map(len, plain), default=0)
    for name, value in plain.items():
        print(f"{name:{width}}  {value if isinstance(value, str) else f'{value:.3g}'}")
    for name, value in figures.items():
        if isinstance(value, dict) and all(isinstance(cells, dict) and "steps/s" not in cells for cells in value.values()):
            show({f"{name}: {case}": cells for case, cells in value.items()})
            continue
        if isinstance(value, dict):
            value = [{"": row, **cells} for row, cells in value.items()]
        if isinstance(value, list):
            print(f"\n{name}\n{to_markdown(value)}")


def to_markdown(rows: list[dict[str, Any]]) -> str:
    """Rows as a table in Markdown."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = [names, ["---"] * len(names)]
    lines += [[f"{v:.4g}" if isinstance(v, float) else str(v) for v in (row.get(n, "") for n in names)] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def write_page(figures: dict[str, Any], page: Path = PAGE) -> None:
    """Writes the tables of `steps.quick` into the page, between the two comments that say so."""
    text = page.read_text(encoding="utf-8")
    written = f"{BEGIN}\n{_described(figures)}\n{END}"
    new, count = re.subn(f"{re.escape(BEGIN)}.*{re.escape(END)}", lambda _: written, text, flags=re.DOTALL)
    if not count:
        raise ValueError(f"{page} does not have the comments {BEGIN} and {END}")
    page.write_text(new, encoding="utf-8")


def _described(figures: dict[str, Any]) -> str:
    """A sentence about the machine, and a table of steps per second for each precision."""
    quick = figures["quick"]
    lines = [f"{figures['machine']}; the load was {figures['load']:.2f} when the measurement began."]
    cases = {name: sides for name, sides in quick.items() if name != "arithmetic"}
    for precision in ("float32", "bfloat16"):
        rows = [row for name, sides in cases.items() if (row := _row(name, sides, precision, quick["arithmetic"]))]
        if rows:
            lines += [f"Steps per second, {precision}:", to_markdown(rows)]
    return "\n\n".join(lines)


def _row(name: str, sides: dict[str, dict[str, float]], precision: str, arithmetic: dict[str, dict[str, float]]) -> Any:
    """The row of a case: the rate of each side, how many times the best rival's ours is, and its share of a matrix product."""
    own = {side.rsplit(" ", 1)[0]: row for side, row in sides.items() if side.endswith(f" {precision}")}
    if "TensorFlow" not in own or len(own) < 2:
        return None
    row: dict[str, Any] = {"": name, **{side: _short(values["steps/s"]) for side, values in own.items()}}
    ratios = [values["TensorFlow is faster by"] for side, values in own.items() if side.startswith("PyTorch")]
    row["beside the best PyTorch"] = f"{min(ratios):.2f}" if ratios else ""
    whole = arithmetic.get(f"matrix product {precision}")
    if whole and own["TensorFlow"]["GFLOP/s"]:
        row["of a matrix product"] = f"{own['TensorFlow']['GFLOP/s'] / whole['GFLOP/s']:.0%}".replace("%", " %")
    return row


def _short(value: float) -> str:
    return f"{value:.3g}"


def draw_scale(rows: list[dict[str, Any]], path: Path) -> None:
    """Draws what `steps.scale` measured: cost and memory over the images in a step, with a line for each size."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    axes = figure.subplots(1, 2)
    for name, place in (("ns per image and pixel", axes[0]), ("memory (MB)", axes[1])):
        for key in dict.fromkeys((row["pixels a side"], row["threads"]) for row in rows):
            line = [row for row in rows if (row["pixels a side"], row["threads"]) == key]
            label = f"{key[0]} x {key[0]} pixels, {key[1]} thread{'s' if key[1] > 1 else ''}"
            place.plot([row["images"] for row in line], [row[name] for row in line], "o-", label=label)
        place.set_xscale("log", base=2)
        place.set_xticks([1, 4, 16], ["1", "4", "16"])
        place.set_xlabel("images in a step")
        place.set_title(name)
        place.set_ylim(bottom=0)
        place.grid(alpha=0.3)
    axes[0].legend()
    figure.savefig(path, dpi=100)
