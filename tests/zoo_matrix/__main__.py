"""Tries files of networks that nobody here wrote, each in a process of its own, and writes a table.

`python -m tests.zoo_matrix make FOLDER [NAME...]` makes the files (`files.py`), those whose names begin with one of these.

`python -m tests.zoo_matrix try ROWS FILE...` converts each file at all layers that have a name, by the converter that `auto`
takes and by Keras layers, and inverts an early, a middle and a late layer for 30 steps. It appends a line of JSON to ROWS for
each file that has none there yet; `--again` tries the files that are named even so. A file can be a folder, or `package`
for the graphs of the onnx package.

`python -m tests.zoo_matrix table ROWS` writes the table of the last row of each file.
"""

import argparse
import json
import subprocess
import sys
import traceback
from pathlib import Path

from tests.zoo_matrix import files, one

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 3000  # for one file, beside other work
COLUMNS = (
    "file",
    "converter",
    "layers",
    "largest error",
    "by Keras layers",
    "names missing",
    "inverted",
    "geometry",
    "seconds",
    "GB",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("make")
    command.add_argument("folder", type=Path)
    command.add_argument("names", nargs="*")
    command = commands.add_parser("try")
    command.add_argument("rows", type=Path)
    command.add_argument("files", nargs="+")
    command.add_argument("--again", action="store_true")
    command.add_argument("--converter", default="auto")
    command.add_argument("--proof", action="store_true", help="convert alone, and invert nothing")
    command = commands.add_parser("one")
    command.add_argument("file", type=Path)
    command.add_argument("--converter", default="auto")
    command.add_argument("--proof", action="store_true")
    command = commands.add_parser("table")
    command.add_argument("rows", type=Path)
    arguments = parser.parse_args()
    if arguments.command == "make":
        _make(arguments.folder, arguments.names)
    elif arguments.command == "try":
        options = (f"--converter={arguments.converter}", *(("--proof",) if arguments.proof else ()))
        _try_all(arguments.rows, _paths(arguments.files), options, again=arguments.again)
    elif arguments.command == "one":
        print(json.dumps(one.row(arguments.file, arguments.converter, inverts=not arguments.proof)))
    else:
        print(table(list(_read(arguments.rows).values())))


def _make(folder: Path, names: list[str]) -> None:
    """Makes the files that are not there yet; says what cannot be made, and goes on."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, make in files.makers().items():
        if (folder / name).exists() or (names and not name.startswith(tuple(names))):
            continue
        try:
            make(folder / name)
        except Exception:  # of a package that is not there, or of an exporter
            print(f"{name} cannot be made: {traceback.format_exc(limit=0).strip()[:300]}", file=sys.stderr, flush=True)


def _paths(names: list[str]) -> list[Path]:
    found: list[Path] = []
    for name in names:
        path = Path(name)
        if name == "package":
            found += files.package_files()
        elif path.is_dir():
            found += sorted((*path.rglob("*.onnx"), *path.rglob("*.keras")), key=lambda each: (each.stat().st_size, each.name))
        else:
            found.append(path)
    return [path.absolute() for path in found]


def _try_all(rows: Path, paths: list[Path], options: tuple[str, ...], *, again: bool) -> None:
    for path in paths:
        if not again and path.name in _read(rows):
            continue
        row = tried(path, *options)
        print(row, file=sys.stderr, flush=True)
        with rows.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


def _read(rows: Path) -> dict[str, dict]:
    """File -> its last row."""
    lines = rows.read_text(encoding="utf-8").splitlines() if rows.exists() else []
    return {row["file"]: row for row in map(json.loads, lines)}


def tried(path: Path, *options: str) -> dict:
    """The row of a file, by a process of its own; the options are those of `one`."""
    command = [sys.executable, "-m", "tests.zoo_matrix", "one", *options, str(path)]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return {"file": path.name, "refused": f"no answer in {SECONDS} s"}
    lines = done.stdout.splitlines()
    if lines and lines[-1].startswith("{"):
        return {"file": path.name, **json.loads(lines[-1])}
    return {"file": path.name, "refused": (done.stderr.strip().splitlines() or ["no message"])[-1][:400]}


def table(rows: list[dict]) -> str:
    """The rows in Markdown."""
    lines = [COLUMNS, ("---",) * len(COLUMNS), *(_cells(row) for row in sorted(rows, key=lambda row: row["file"].lower()))]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _cells(row: dict) -> list[str]:
    if "refused" in row:
        return [row["file"], f"refused: {row['refused']}", *["-"] * (len(COLUMNS) - 2)]
    agree = sum(1 for words in row["geometry"] if "LARGER" not in words)
    return [
        row["file"],
        row["converter"],
        str(row["layers"]),
        *("-" if error is None else f"{error:.1e}" for error in (row["largest error"], row["error of the builder"])),
        ", ".join(row["missing"]) or "none",
        row["inverted"],
        f"{agree} of {len(row['geometry'])}" if row["geometry"] else "-",
        f"{row['seconds']:.0f}",
        f"{row['GB']:.1f}",
    ]


if __name__ == "__main__":
    main()
