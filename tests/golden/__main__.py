"""Records what the command line of a checkout computes, and compares two records.

    python -m tests.golden make --root . --output new.json
    python -m tests.golden compare tests/golden/golden.json new.json

`make` runs every case of `cases.py` in a process of its own and writes, for each, the SHA-256 of the pictures that it leaves,
the lines of metrics.jsonl, and what run.flags means; of some the text that they print. `compare` prints every difference,
and ends with 1 where there is one. Pictures are equal to the byte only on the same machine with the same TensorFlow.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from tests.golden.record import differences, dump, machine, make


def main() -> int:
    """Reads the command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.golden", description=__doc__.partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    making = commands.add_parser("make", help="run the cases of a checkout and write what they give")
    making.add_argument("--root", type=Path, default=Path("."), help="the checkout")
    making.add_argument("--output", type=Path, required=True, help="the JSON file to write")
    making.add_argument("--only", default="", help="names of cases, comma separated; those they build on run too")
    making.add_argument("--jobs", type=int, default=2, help="processes at a time; 1 where the machine has other work")
    comparing = commands.add_parser("compare", help="print the differences of two such files")
    comparing.add_argument("files", type=Path, nargs=2)
    given = parser.parse_args()
    if given.command == "compare":
        before, now = (json.loads(path.read_text(encoding="utf-8")) for path in given.files)
        found = differences(before, now)
        print("\n".join(found) if found else f"no difference in {len(before['cases'])} cases")
        return 1 if found else 0
    with tempfile.TemporaryDirectory() as scratch:
        entries = make(given.root.resolve(), Path(scratch), [name for name in given.only.split(",") if name], given.jobs)
    given.output.write_text(dump({"machine": machine(), "cases": entries}) + "\n", encoding="utf-8")
    return 1 if any("error" in entry for entry in entries.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
