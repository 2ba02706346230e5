"""Measures, prints tables, and keeps their figures in bench.json, with a chart in bench.png: `make bench`.

Everything that is compared is measured in one run, in turn, several times. Medians are shown, because machines are shared and
noisy.

`python -m tests.bench start speed scale sweep` measures some of it. Further parts are measured only where they are named:

- `quick`: the table of docs/performance.md in less than 12 minutes, which it writes there;
- `one_thread`: for a machine that is never quiet. It lets each side run on one thread, where the processor time of a step does
  not depend on who else computes;
- `converters`: the converters likewise, beside Keras layers that a person wrote;
- `gpu`: the table of a machine with a GPU (`make bench-gpu`).

JAX and torchvision are measured where they are installed; neither is among the requirements.
"""

import json
import os
import platform
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.bench import ROOT, cluster, converters, gpu, start, steps, sweep, tables


def main(parts: list[str]) -> int:
    """Measures the parts that are named, or start, speed, scale and sweep; returns the exit code."""
    if "gpu" in parts and (missing := gpu.missing()):
        print(missing, file=sys.stderr)
        return 2
    file = ROOT / "bench.json"
    figures: dict[str, Any] = json.loads(file.read_text()) if parts and file.exists() else {}
    figures |= {"machine": machine(), "load": os.getloadavg()[0]}
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    if "quick" in parts:
        figures["quick"] = steps.quick(figures.get("quick", {}))
        tables.write_page(figures)
    if "gpu" in parts:
        figures["gpu"] = gpu.measure()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TFINVERT_CACHE"] = folder  # so that the time of a conversion is measured, too
        if not parts or "start" in parts:
            figures |= start.measure()
        for part, threads in (("speed", 0), ("one_thread", 1)):
            if part in parts or (not parts and part == "speed"):
                measured = {
                    case: steps.compare(case, ("float32", "bfloat16"), threads=threads)
                    for case in steps.CASES
                    if not case.missing()
                }
                figures[part] = {case.name: rows for case, rows in measured.items()}
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
    return 0


def machine() -> str:
    """The processor, by the name that it has, its cores, and what it multiplies with."""
    text = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    name = re.search(r"^model name\s*: (.*)$", text, re.MULTILINE)
    known = [words for flag, words in (("amx_bf16", "AMX"), ("avx512f", "AVX-512"), ("avx2", "AVX2")) if f" {flag}" in text]
    cores = f"{os.cpu_count()} cores"
    return ", ".join([name[1] if name else platform.processor() or platform.machine(), cores, *known[:2]])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
