"""Tries everything at length and writes what came out into docs/reliability.md: make soak.

`python -m tests.soak kill disk` tries some parts, `--scale=0.5` half as often; docs/reliability.json keeps the rows of the
other parts.
"""

import dataclasses
import importlib
import importlib.util
import json
import os
import sys
import time

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

from tests.conftest import ROOT
from tests.soak import Row

PARTS = (
    *("kill", "cluster", "worker_memory", "disk", "locks", "memory", "hermetic", "downloads"),
    *("onnx_files", "image_files", "flag_files", "run_directories", "checkpoints"),
)
KEPT = ROOT / "docs" / "reliability.json"
PAGE = ROOT / "docs" / "reliability.md"
BEGIN, END = "<!-- rows: python -m tests.soak -->", "<!-- end of rows -->"


def main(arguments: list[str]) -> int:
    """Runs the parts that are named, or all; gives the exit code."""
    scale = float(next((one.partition("=")[2] for one in arguments if one.startswith("--scale=")), 1.0))
    parts = [one for one in arguments if not one.startswith("--scale=")]
    unknown = [part for part in parts if part not in PARTS]
    if unknown:
        print(f"unknown part {unknown[0]!r}; expected: {', '.join(PARTS)}", file=sys.stderr)
        return 2
    for part in parts or PARTS:
        module = f"tests.soak.{part}"
        if importlib.util.find_spec(module) is None:
            print(f"{part}: not there")
            continue
        begun = time.monotonic()
        rows = importlib.import_module(module).soak(scale)
        kept = json.loads(KEPT.read_text()) if KEPT.exists() else {}
        kept[part] = [dataclasses.asdict(row) for row in rows]
        KEPT.write_text(json.dumps(kept, indent=1) + "\n")
        PAGE.write_text(with_rows(PAGE.read_text(), kept))
        print(f"{part}: {time.monotonic() - begun:.0f} s")
        for row in rows:
            print(f"  {row.what}\n    {row.tried}\n    {row.outcome}", flush=True)
    return 0


def with_rows(page: str, kept: dict[str, list[dict[str, str]]]) -> str:
    """The page with the table of all rows, in the order of the parts, between its two marks."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    rows = [Row(**row) for part in PARTS for row in kept.get(part, [])]
    table = ["| what must hold | tried | what came out |", "|---|---|---|"]
    table += [f"| {row.what} | {row.tried} | {row.outcome} |".replace("\n", " ") for row in rows]
    return "\n".join((before + BEGIN, "", *table, "", END + after))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
