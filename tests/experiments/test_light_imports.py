"""What the command line imports before TensorFlow is imported without it: it has to answer at once."""

import json
import subprocess
import sys

from tests.conftest import ROOT
from tfinvert import experiments

MODULES = (
    *("tfinvert", "tfinvert.cli", "tfinvert.settings", "tfinvert.runner", "tfinvert.worker", "tfinvert.library"),
    *(f"tfinvert.experiments.{name}" for name in experiments.names()),
    *("tfinvert.experiments.suite.questions", "tfinvert.networks.load", "tfinvert.runs.result", "tfinvert.runs.tasks"),
    *(f"tfinvert.decoders.{name}" for name in ("encoder", "files", "data", "tiny_imagenet", "cluster")),
)
HEAVY = (
    "tensorflow",
    "keras",
    "torch",
    "matplotlib",
    "onnxruntime",
    "scipy",
    "onnx2tf",
    "tf2onnx",
    "starlette",
    "uvicorn",
    "distributed",
    "dask",
)
CODE = f"""
import importlib, json, sys
heavy = {{}}
for name in {MODULES!r}:
    importlib.import_module(name)
    for package in {HEAVY!r}:
        if package in sys.modules:
            heavy.setdefault(package, name)
print(json.dumps(heavy))
"""


def test_modules_are_imported_without_what_takes_long():
    done = subprocess.run([sys.executable, "-c", CODE], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {}  # else package -> the module that brought it
