"""Writes the measured parts of docs/benchmark.md from benchmarks: `python -m tests.write_benchmark FOLDER LONG MORE FIGURE`.

They are output folders of `--experiment=benchmark`; in the second, the others had more time, and the third has more
methods. Each benchmark.json is copied to docs/, and docs/benchmark.jpg shows images of the fourth. The name of no folder
leaves the file in docs/ as it is; without folders, the tables are written again from the files in docs/.
"""

import re
import shutil
import sys
from pathlib import Path

from PIL import Image, ImageDraw

from tfinvert.experiments.benchmark import methods, photographs, summary, tables
from tfinvert.experiments.benchmark.cells import Cell

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGE, FIGURE = DOCS / "benchmark.md", DOCS / "benchmark.jpg"
DATA = {
    "tables": DOCS / "benchmark.json",
    "long tables": DOCS / "benchmark-long.json",
    "more tables": DOCS / "benchmark-more.json",
}
SIDE, LINE, MARGIN = 128, 14, 8  # pixels of an image, of a line of text, and between images and around text
ROWS = 6  # of the figure


def parts() -> dict[str, str]:
    """The generated parts of the page, by the name of their marks."""
    measured = {name: tables.markdown(summary.read(file)) for name, file in DATA.items() if file.exists()}
    measured["more tables"] += f"\n![Targets, and what each method makes of their features]({FIGURE.name})"
    files = [
        f"| {one.name} | {name} | {one.package} | {one.license} |" for name, group in photographs.SETS.items() for one in group
    ]
    described = [methods.find(name).describe() for name in methods.names()]
    listed = [f"| `{one['name']}` | {one['what']} | {one['source']} | {' '.join(one['packages'])} |" for one in described]
    return {
        **measured,
        "photographs": "\n".join(["| photograph | for | package | license |", "|---|---|---|---|", *files]),
        "methods": "\n".join(["| method | what it is | source | packages |", "|---|---|---|---|", *listed]),
    }


def page(text: str) -> str:
    """The page with its generated parts as they are now."""
    for name, part in parts().items():
        begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
        text = re.sub(f"{begin}.*?{end}", lambda _, new=f"{begin}\n{part}\n{end}": new, text, flags=re.DOTALL)
    return text


def draw(folder: Path) -> None:
    """Writes the figure: a row for each layer that all methods have, with the target and each method's image at equal time."""
    data = summary.read(folder / "benchmark.json")
    named = [method["name"] for method in data["methods"] if method["name"] not in methods.REFERENCES]
    images = list(dict.fromkeys(cell["image"] for cell in data["cells"]))
    there = {(cell["network"], cell["layer"], cell["method"]) for cell in data["cells"]}
    layers = [layer for layer in dict.fromkeys(one[:2] for one in there) if all((*layer, name) in there for name in named)]
    rows = [(*layer, images[number % len(images)]) for number, layer in enumerate(sorted(layers))][:ROWS]
    first = named[0]
    columns = ["target", *(name.replace("_", "\n", 1) for name in named)]
    head, row_height = 2 * LINE + 2 * MARGIN, SIDE + LINE + 2 * MARGIN
    sheet = Image.new("RGB", (MARGIN + (SIDE + MARGIN) * len(columns), head + row_height * len(rows)), "white")
    writer = ImageDraw.Draw(sheet)
    for number, title in enumerate(columns):
        writer.multiline_text((MARGIN + number * (SIDE + MARGIN), MARGIN), title, fill="black")
    for number, (network, layer, image) in enumerate(rows):
        cells = {name: Cell(network, layer, image, name) for name in named}
        files = [cells[first].folder(folder) / "target.png", cells[first].end(folder)]
        files += [cells[name].equal(folder) for name in named[1:]]
        top = head + number * row_height
        for column, file in enumerate(files):
            if file.is_file():
                with Image.open(file) as shown:
                    fitted = shown.convert("RGB").resize((SIDE, SIDE), Image.Resampling.LANCZOS)
                    sheet.paste(fitted, (MARGIN + column * (SIDE + MARGIN), top))
        writer.text((MARGIN, top + SIDE + MARGIN // 2), f"{network.partition('-')[0]} {layer}, {image}", fill="black")
    sheet.save(FIGURE, quality=88)


if __name__ == "__main__":
    given = [Path(folder) for folder in sys.argv[1:]]
    for source, file in zip(given, DATA.values(), strict=False):
        if source.is_dir():
            shutil.copy(source / "benchmark.json", file)
    if len(given) > len(DATA):
        draw(given[len(DATA)])
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
