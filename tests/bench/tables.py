"""The figures as text and as a chart."""

from pathlib import Path
from typing import Any


def show(figures: dict[str, Any]) -> None:
    """Prints plain figures, then a table for each part."""
    plain = {name: value for name, value in figures.items() if not isinstance(value, (dict, list))}
    width = max(map(len, plain))
    for name, value in plain.items():
        print(f"{name:{width}}  {value if isinstance(value, str) else f'{value:.3g}'}")
    for name, value in figures.items():
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
