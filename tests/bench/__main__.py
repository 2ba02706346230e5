"""Measures, prints tables, and keeps their figures in bench.json, with a chart in bench.png: `make bench`.

Everything that is compared is measured in one run, in turn, several times. Medians are shown, because machines are shared and
noisy.

`python -m tests.bench start speed scale sweep` measures some of it. `python -m tests.bench one_thread` is for a machine that is
never quiet: it lets each side run on one thread, where the processor time of a step does not depend on who else computes.
`python -m tests.bench converters` measures the converters likewise, beside Keras layers that a person wrote.
"""

import json
import os
import platform
import sys
import tempfile
from typing import Any

from tests.bench import ROOT, cluster, converters, start, steps, sweep, tables


def main(parts: list[str]) -> None:
    """Measures the parts that are named, or all but `one_thread` and `converters`."""
    file = ROOT / "bench.json"
    figures: dict[str, Any] = json.loads(file.read_text()) if parts and file.exists() else {}
    figures["machine"] = f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores"
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TFINVERT_CACHE"] = folder
        if not parts or "start" in parts:
            figures |= start.measure()
        if not parts or "speed" in parts:
            for case in steps.CASES:
                figures[" ".join(case)] = steps.compare(*case)
        if "one_thread" in parts:
            for case in steps.CASES:
                figures[f"{' '.join(case)}, one thread"] = steps.compare(*case, threads=1)
        if "converters" in parts:
            figures["converters"] = converters.measure()
        if not parts or "scale" in parts:
            figures["scale"] = steps.scale()
            tables.draw_scale(figures["scale"], ROOT / "bench.png")
        if not parts or "cluster" in parts:
            figures |= cluster.measure()
        if not parts or "sweep" in parts:
            figures["sweep"] = sweep.measure()
    tables.show(figures)
    file.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
