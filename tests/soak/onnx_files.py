"""Hostile .onnx files: real networks, ONNX' own graphs and graphs of the tests, changed in what they say or in their bytes.

`soak` gives every case what `--onnx` goes through before the conversion, and a sample of them to the whole program.
"""

import contextlib
import json
import math
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import numpy as np

from tests.soak import Row, hostile
from tests.soak.onnx_changes import mutated
from tests.soak.onnx_sources import sources
from tfinvert.networks import onnx as graph
from tfinvert.networks import trainings
from tfinvert.networks.conversion.request import Request
from tfinvert.networks.conversion.request_graph import cut_graph
from tfinvert.system.errors import InputError

CASES, WHOLE = 6000, 100
WHOLE_SECONDS = 120  # TensorFlow is imported twice, and compiled once
LIMITED = True


def soak(scale: float = 1.0) -> list[Row]:
    """Tries files; each ends as a network that can be converted, or as one line that says what is wrong with it."""
    tally = hostile.tried("onnx_files", round(CASES * scale))
    return [tally.row("An .onnx file is read, cut, folded and measured, or refused"), whole(max(round(WHOLE * scale), 3))]


def whole(count: int, seed: int = hostile.SEED) -> Row:
    """Runs the program on files as a user would: conversion in its own process, verification, two steps."""
    tally = hostile.Tally()
    with tempfile.TemporaryDirectory(prefix="hostile-") as scratch:
        folder = Path(scratch)
        for name in ("home", "work", "site", "cwd"):
            (folder / name).mkdir()
        (folder / "site" / "sitecustomize.py").write_text(WATCH)
        for number in range(count):
            _run(random.Random(f"whole {seed} {number}"), folder, tally, f"whole {seed} {number}")
            left = [path for name in ("home", "cwd") for path in (folder / name).iterdir()]
            left += [path for path in folder.iterdir() if path.name not in ("home", "work", "site", "cwd")]
            if left:
                tally.failures.append(f"whole {seed} {number}: it left {left}")
                break
    return tally.row("A run of an .onnx file ends with images, or with one line that says why not")


# Every Python process of a run executes this.
WATCH = """
import os, sys
def heard(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "pickle.find_class") or event == "os.system":
        if event == "pickle.find_class" and arguments[0].split(".")[0] in ("numpy", "builtins", "copyreg", "multiprocessing"):
            return
        with open(os.path.join(os.environ["TMPDIR"], "heard.txt"), "a") as file:
            file.write(f"{event} {arguments!r:.200}\\n")
sys.addaudithook(heard)
"""


def _run(rng: random.Random, folder: Path, tally: hostile.Tally, label: str) -> None:
    """Runs the program on a file; three of four files have a graph that can be read."""
    for _ in range(1 if rng.random() < 0.25 else 40):
        path = write(rng, folder / "work")
        names = ["conv1"]
        with contextlib.suppress(InputError):
            request = Request(None, str(path), "0" * 64, "pretrained", (), None, "max", "torch")
            part, resolved = cut_graph(request)
            shapes = graph.shapes(part)
            names = list(resolved)
            if max(part.size) <= 256 and max(math.prod(shape) for shape in shapes.values()) < 2**24:
                break
    flags = [
        f"--onnx={path}",
        f"--layers={rng.choice(names)}",
        "--steps=2",
        "--save_every=1",
        f"--pool={rng.choice(('avg', 'max'))}",
    ]
    flags += [f"--weights={rng.choice(('pretrained', 'pretrained', 'random'))}", f"--output_dir={folder / 'work' / 'out'}"]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join((str(folder / "site"), str(hostile.ROOT))),
        "PYTHONDONTWRITEBYTECODE": "1",
        "HOME": str(folder / "home"),
        "TMPDIR": str(folder / "work"),
        "TFINVERT_CACHE": str(folder / "work" / "cache"),
        "MPLCONFIGDIR": str(folder / "work" / "matplotlib"),  # these two libraries have caches of their own
        "KERAS_HOME": str(folder / "work" / "keras"),
        "CUDA_VISIBLE_DEVICES": "-1",
    }
    command = [sys.executable, str(hostile.ROOT / "run_experiments.py"), *flags, "--overwrite"]
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, stdout=said, stderr=said, env=environment, cwd=folder / "cwd")
        killer = threading.Timer(WHOLE_SECONDS, process.kill)
        killer.start()
        _, status, used = os.wait4(process.pid, 0)
        killer.cancel()
        process.returncode = code = os.waitstatus_to_exitcode(status)
        said.seek(0)
        words = said.read().decode(errors="replace")
    tally.memory = max(tally.memory, used.ru_maxrss / 2**10)
    wrong = None
    if code not in (0, 1, 2) or "Traceback" in words or (code and not words.strip()):
        wrong = f"ended with {code}: {words.strip()[-600:]}"
    elif used.ru_maxrss * 2**10 > hostile.MEMORY:
        wrong = f"took {used.ru_maxrss / 2**10:.0f} MB"
    elif (folder / "work" / "heard.txt").exists():
        wrong = f"did {(folder / 'work' / 'heard.txt').read_text()[:300]}"
        (folder / "work" / "heard.txt").unlink()
    tally.ends["failed" if wrong else {0: "run", 1: "diverged", 2: "refused"}[code]] += 1
    if wrong:
        tally.failures.append(f"{label}: {wrong}")
    shutil.rmtree(folder / "work" / "cache" / "converted", ignore_errors=True)


def prepare() -> None:
    """Loads what cases share, before they are watched."""
    import onnxruntime  # noqa: F401 - part of what is measured

    sources()


def write(rng: random.Random, folder: Path) -> Path:
    """Writes a mutated file, beside the files that its external data may name."""
    home = folder / "model"
    if not home.is_dir():
        home.mkdir()
        (folder / "outside.bin").write_bytes(bytes(10**6))
        (home / "beside.bin").write_bytes(bytes(10**6))
        (home / "link.bin").symlink_to("/etc/passwd")
        os.mkfifo(home / "pipe")
    path = home / "network.onnx"
    path.write_bytes(mutated(rng))
    return path


def case(rng: random.Random, folder: Path) -> str:
    """Takes a file through everything that its graph goes through before onnx2tf."""
    path = write(rng, folder)
    whole = path.read_bytes() in sources()
    layers = rng.choice(
        ((), (), (), (), (), (), (), ("conv1",), ("scores",), ("last",), ("res1", "conv1"), ("conv1_1",), ("c0",), ("x",))
    )
    size = rng.choice((None, None, (64, 64), (224, 224), (16, 2048)))
    request = Request(None, str(path), "0" * 64, "pretrained", layers, size, rng.choice(("avg", "max")), "torch")
    try:
        part, resolved = cut_graph(request)
    except InputError as error:
        if whole and not layers and not size:
            raise AssertionError("nothing is wrong with this file") from error
        raise
    graph.geometry(part)
    graph.operations(part)
    trainings.words(part)
    folded = graph.numbered(graph.fold(part))
    graph.shapes(folded)
    folded.proto(weightless=frozenset(name for name, array in folded.weights.items() if array.dtype == np.float32))
    assert resolved
    json.dumps(resolved)
    return "accepted"
