"""Runs cases, reads what they leave, and finds what differs."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.golden.cases import CASES, Case

SECONDS = 600  # for one case
# What says of a flag that it was not given and the program chooses: the same as no such line in run.flags.
AUTOMATIC = {
    "class_count": 20.0,
    **dict.fromkeys(("tv_weight", "pyramid_levels", "regularizer_final"), -1.0),
    **dict.fromkeys(("steps", "learning_rate", "jitter", "jitter_steps", "alpha_weight", "decay_steps", "warmup_steps"), 0.0),
}
AUTOMATIC_WORDS = ("schedule", "parameterization")  # of these it is "auto"
LEFT_OUT = ("pictures", "images", "batch", "resize")
# What version 0.1 wrote otherwise: the names of a flag and of a file, and --image for experiments that take none.
RENAMED = {"keep_colour": "keep_color"}
RENAMED_FILE = ("-picture.png", "-image.png")
WITHOUT_IMAGE = ("class_vis", "train_decoder")
PATHS = ("onnx", "image", "pictures", "images", "init", "style_images", "data", "decoder", "decoders")
# The record was made with TensorFlow's own kernels, without oneDNN, which the program now uses on every x86 processor.
ENVIRONMENT = {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "0"}
# Runs several command lines in one process, each as if it were the only one; gives their exit codes.
TOGETHER = """
import json, runpy, sys
for arguments in json.loads(sys.argv.pop()):
    sys.argv[:] = ["run_experiments.py", *arguments]
    try:
        runpy.run_path("run_experiments.py", run_name="__main__")
    except SystemExit as ended:
        if ended.code:
            raise
"""


def machine() -> dict[str, Any]:
    """What the last bits of a result depend on."""
    cpu = Path("/proc/cpuinfo")
    text = cpu.read_text(encoding="utf-8") if cpu.exists() else ""
    model = re.search(r"^model name\s*: (.*)$", text, re.MULTILINE)
    flags = re.search(r"^flags\s*: (.*)$", text, re.MULTILINE)
    known = flags[1].split() if flags else []
    return {
        "cpu": model[1] if model else platform.processor(),
        "cpus": os.cpu_count(),
        **{name: name in known for name in ("avx2", "avx512f", "avx512_vnni")},
        "python": platform.python_version(),
        **{name: version(name) for name in ("tensorflow", "numpy", "pillow")},
    }


def make(root: Path, scratch: Path, only: Sequence[str] = (), jobs: int = 1) -> dict[str, dict[str, Any]]:
    """The entries of the cases, by name; says on standard output what it does.

    Args:
      root: the checkout whose program runs.
      scratch: an empty folder.
      only: names of cases; all where there are none.
      jobs: processes at a time.
    """
    places = prepare(root, scratch)
    wanted = [CASES[name] for name in only] or list(CASES.values())
    wanted = list(dict.fromkeys(one for case in wanted for one in (*(CASES[name] for name in case.after), case)))
    began = time.perf_counter()
    running: dict[str, Future[dict[str, Any]]] = {}

    def entry(case: Case) -> dict[str, Any]:
        for name in case.after:  # has been submitted before
            running[name].result()
        started = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "run_experiments.py", *arguments(case, places, scratch)],
            cwd=root,
            env={**os.environ, **ENVIRONMENT, "PYTHONPATH": str(root)},
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        print(f"{case.name}: {time.perf_counter() - started:.1f} s", flush=True)
        if done.returncode:
            error = (done.stderr.strip().splitlines() or ["no message"])[-1]
            print(f"{case.name} failed with {done.returncode}: {error}", flush=True)
            return {"error": error}
        return {"text": _text(done.stdout)} if case.printed else read(scratch / case.name)

    with ThreadPoolExecutor(jobs) as pool:
        for case in wanted:
            missing = missing_for(case, places)
            if missing:
                print(f"{case.name}: left out, needs {missing}")
            else:
                running[case.name] = pool.submit(entry, case)
        entries = {name: future.result() for name, future in running.items()}
    print(f"{len(entries)} cases in {time.perf_counter() - began:.0f} s")
    return entries


def prepare(root: Path, scratch: Path) -> dict[str, str]:
    """Makes the pictures; gives what stands for the names in braces of the cases."""
    pictures, data = scratch / "pictures", scratch / "data"
    rows, columns = np.mgrid[0:72, 0:96]
    waves = np.stack([(rows * 5 + columns * 3) % 256, (rows * columns // 7) % 256, (255 - columns * 2) % 256], axis=-1)
    tiles = np.stack([(rows // 8 + columns // 8) % 2 * 200, (rows * 3) % 256, (rows // 6 * columns // 5) % 256], axis=-1)
    pictures.mkdir()
    for name, values in {"first": waves, "second": tiles}.items():
        Image.fromarray(values.astype(np.uint8)).save(pictures / f"{name}.png")
    for number, word in enumerate(("n01443537", "n01629819", "n01641577")):
        folder = data / "train" / word / "images"
        folder.mkdir(parents=True)
        for one in range(4):
            values = np.roll(tiles if one % 2 else waves, 7 * one + 3 * number, axis=(0, 2)).astype(np.uint8)
            Image.fromarray(values[:64, :64]).save(folder / f"{word}_{one}.png")
    (data / "words.txt").write_text("n01443537\tgoldfish\nn01629819\tsalamander\nn01641577\tbullfrog\n", encoding="utf-8")
    shared = os.environ.get("TFINVERT_SHARED") or str(root.parent / "shared" / "data")
    return {"pictures": str(pictures), "data": str(data), "shared": shared, **{name: str(scratch / name) for name in CASES}}


def missing_for(case: Case, places: Mapping[str, str]) -> str:
    """What the case needs and is not here, in words."""
    if case.needs_shared and not Path(places["shared"]).is_dir():
        return "../shared/data"
    return "PyTorch" if case.needs_torch and not importlib.util.find_spec("torch") else ""


def arguments(case: Case, places: Mapping[str, str], scratch: Path) -> list[str]:
    """The command line of a case, which writes into the folder of its name."""
    flags = case.flags.format_map(places).split(" ")
    random = [] if case.needs_shared or case.name in ("decode", "decoder-compare") else ["--weights=random"]
    return [*flags, *random, f"--output_dir={scratch / case.name}"]


def read(folder: Path) -> dict[str, Any]:
    """What the runs below a folder have left: pictures by their SHA-256, metrics and flags by run."""
    found: dict[str, Any] = {"images": {}, "metrics": {}, "flags": {}}
    for run in sorted({path.parent for name in ("run.flags", "compare.json") for path in folder.rglob(name)}):
        name = run.relative_to(folder).as_posix()
        results = [path for path in (run / "final.png", run / "tensorflow.png") if path.exists()]
        for path in results or sorted((run / "images").glob("*.png")):
            found["images"][path.relative_to(folder).as_posix().replace(*RENAMED_FILE)] = sha256(path)
        if (run / "metrics.jsonl").exists():
            found["metrics"][name] = metrics(run)
        if (run / "run.flags").exists():
            found["flags"][name] = meaning((run / "run.flags").read_text(encoding="utf-8"))
    return {kind: values for kind, values in found.items() if values}


def sha256(path: Path) -> str:
    """Of a file's bytes."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def metrics(run: Path) -> list[dict[str, float]]:
    """The lines of metrics.jsonl."""
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]


def meaning(flagfile: str) -> dict[str, str]:
    """Flag -> value of what a flagfile says; of a file its name alone, and nothing of what the program chooses.

    The flagfiles of version 0.1, which named several images by a flag of their own, have the same meaning.
    """
    found = {}
    for line in flagfile.splitlines():
        if line.startswith("#"):
            continue
        name, _, value = line.removeprefix("--").partition("=")
        parts = [_spelled(part) for part in value.split(",")]
        if name in PATHS:
            parts = [Path(part).name for part in parts]
        chosen = name in AUTOMATIC and value and float(value) == AUTOMATIC[name]
        if value and not chosen and not (name in AUTOMATIC_WORDS and value == "auto"):
            found[RENAMED.get(name, name)] = ",".join(parts)
    several = found.get("pictures") or found.get("images")
    if several:
        found["image"] = several
    if found.get("experiment") in WITHOUT_IMAGE:
        found.pop("image", None)
    return {name: value for name, value in found.items() if name not in LEFT_OUT}


def _spelled(value: str) -> str:
    """A number in one of the ways to write it, so that 1e-8 and 1e-08 are the same."""
    try:
        return repr(float(value)).removesuffix(".0")
    except ValueError:
        return value


def _text(output: str) -> list[str]:
    """What was printed, without the errors in the table of layers: they are of the order of rounding."""
    return [re.sub(r"\s+[0-9.]+e-\d\d$", "", line.rstrip()) for line in output.splitlines()]


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Every difference of two records, one line each."""
    lines = [f"machine: {before['machine']} and {now['machine']}"] if before["machine"] != now["machine"] else []
    for name in dict.fromkeys((*before["cases"], *now["cases"])):
        old, new = before["cases"].get(name), now["cases"].get(name)
        if old is None or new is None:
            lines.append(f"{name}: only in the {'second' if old is None else 'first'} file")
            continue
        for place in dict.fromkeys((*leaves(old), *leaves(new))):
            one, other = leaves(old).get(place, "nothing"), leaves(new).get(place, "nothing")
            if json.dumps(one) != json.dumps(other):  # not ==, for which NaN differs from itself
                lines.append(f"{name} {place}: {one} and {other}")
        if old.get("images") != new.get("images"):
            lines.append(f"{name}: the metrics differ by at most {largest(old, new):.1e} of their size")
    return lines


def leaves(value: Any, place: str = "") -> dict[str, Any]:
    """Every number and text below a value, by the way to it."""
    if not isinstance(value, (dict, list)):
        return {place: value}
    inside: Iterator[tuple[Any, Any]] = iter(value.items() if isinstance(value, dict) else enumerate(value))
    return {name: leaf for key, one in inside for name, leaf in leaves(one, f"{place}/{key}".lstrip("/")).items()}


def largest(old: Mapping[str, Any], new: Mapping[str, Any]) -> float:
    """The largest relative difference of the metrics of two entries; infinite where they have not the same numbers."""
    one, other = (leaves(entry.get("metrics", {})) for entry in (old, new))
    if one.keys() != other.keys():
        return float("inf")
    return max((abs(a - b) / max(abs(a), abs(b), 1e-12) for a, b in ((one[k], other[k]) for k in one)), default=0.0)


def dump(value: Any, depth: int = 0) -> str:
    """JSON with a line for each case's picture, line of metrics and run's flags."""
    whole = json.dumps(value)
    if len(whole) < 120 or not isinstance(value, (dict, list)) or (depth > 4 and not isinstance(value, list)):
        return whole
    if isinstance(value, list):
        return "[\n" + ",\n".join(" " * (depth + 1) + dump(one, depth + 1) for one in value) + "]"
    return "{\n" + ",\n".join(" " * (depth + 1) + f"{json.dumps(k)}: {dump(v, depth + 1)}" for k, v in value.items()) + "}"
