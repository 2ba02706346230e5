"""Shared fixtures. Tests need no network; those that need real pretrained weights say so when they are skipped."""

import logging
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pytest
from onnx import helper
from PIL import Image

from tests import forked
from tfinvert.networks.onnx import Graph, write

forked.fork_conversions()
ROOT = Path(__file__).resolve().parents[1]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
SHARED = ROOT.parent / "shared" / "data"


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory):
    """One cache of converted networks for the whole session and all of its processes, away from the user's."""
    own = tmp_path_factory.getbasetemp()
    os.environ["TFINVERT_CACHE"] = str((own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "cache")


@pytest.fixture(autouse=True)
def weights_that_may_change(monkeypatch):
    """No test says for its whole process, in which others train, that the weights of convolutions stay."""
    monkeypatch.setattr("tfinvert.optimization.precision.pack_weights_once", lambda: None)


@pytest.fixture(autouse=True)
def log_as_it_was():
    """What the program sets of its log, for its process, does not outlive a test."""
    log = logging.getLogger("tfinvert")
    before = log.level, log.propagate, log.handlers[:]
    yield
    log.setLevel(before[0])
    log.propagate, log.handlers = before[1:]


@pytest.fixture
def shared():
    """The folder with real weights and pictures."""
    if not SHARED.is_dir():
        pytest.skip("needs ../shared/data, which is not there")
    return SHARED


@pytest.fixture
def tiny():
    """A network small enough for its values to be worked out by hand, as a Graph factory."""
    return tiny_graph


@pytest.fixture(scope="session")
def tiny_file(tmp_path_factory):
    """The tiny network as an .onnx file."""
    return write_onnx(tiny_graph(), tmp_path_factory.mktemp("tiny") / "tiny.onnx")


@pytest.fixture(scope="session")
def small_file(tmp_path_factory):
    """The tiny network for images of 32 pixels a side, as an .onnx file."""
    return write_onnx(tiny_graph(size=32), tmp_path_factory.mktemp("small") / "net.onnx")


def tiny_graph(size: int = 16, seed: int = 0) -> Graph:
    """conv 3x3 + batch norm + ReLU, max pool, conv 3x3 + ReLU, flatten, dense: 3 -> 4 -> 5 channels -> 6 values."""
    rng = np.random.default_rng(seed)
    half = size // 2

    def normal(*shape):
        return (0.3 * rng.standard_normal(shape)).astype(np.float32)

    weights = {
        "k1": normal(4, 3, 3, 3),
        "gamma": (1 + normal(4)),
        "beta": normal(4),
        "mean": normal(4),
        "variance": (1 + normal(4) ** 2),
        "k2": normal(5, 4, 3, 3),
        "b2": normal(5),
        "k3": normal(6, 5 * half * half),
        "b3": normal(6),
    }
    nodes = (
        helper.make_node("Conv", ["x", "k1"], ["conv1"], kernel_shape=[3, 3], pads=[1] * 4),
        helper.make_node("BatchNormalization", ["conv1", "gamma", "beta", "mean", "variance"], ["norm1"], epsilon=1e-3),
        helper.make_node("Relu", ["norm1"], ["relu1"]),
        helper.make_node("MaxPool", ["relu1"], ["pool1"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Conv", ["pool1", "k2", "b2"], ["conv2"], kernel_shape=[3, 3], pads=[1] * 4),
        helper.make_node("Relu", ["conv2"], ["relu2"]),
        helper.make_node("Dropout", ["relu2"], ["drop2"]),
        helper.make_node("Flatten", ["drop2"], ["flat"]),
        helper.make_node("Gemm", ["flat", "k3", "b3"], ["fc"], transB=1),
    )
    return Graph(nodes=nodes, weights=weights, image="x", size=(size, size), outputs=("fc",), opset=9)


def write_onnx(graph: Graph, path: Path) -> Path:
    """Saves a graph as a file."""
    write(graph, path)
    return path


def run_program(*arguments: object, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess:
    """Runs the program as a user would; where no environment variable is given, without waiting for its imports."""
    if not environment and forked.fits():
        return forked.run([*map(str, arguments)], cwd)
    command = [sys.executable, str(ROOT / "run_experiments.py"), *map(str, arguments)]
    return subprocess.run(
        command, cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True, timeout=300, check=False
    )


def without_notes(text: str) -> str:
    """What a program wrote to standard error, without the lines that say how it takes its images and its flags."""
    lines = text.splitlines(keepends=True)
    notes = ("tfinvert: preprocessing ", " is cut off; --resize", " is given twice; the last one counts, --")
    return "".join(line for line in lines if not (line.startswith(notes[0]) or any(note in line for note in notes[1:])))


def messages(done: subprocess.CompletedProcess) -> list[str]:
    """The lines that a program wrote to standard error beside its notes."""
    return without_notes(done.stderr).splitlines()


def start_program(*arguments: object) -> subprocess.Popen:
    """Starts the program, for a test that ends it."""
    command = [sys.executable, str(ROOT / "run_experiments.py"), *map(str, arguments)]
    return subprocess.Popen(command, env=dict(os.environ), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(path: Path, process: subprocess.Popen) -> None:
    """Waits until a running program has written a file."""
    while not path.exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)


def run_contents(folder: Path) -> dict[str, bytes]:
    """What two equal runs have in common, byte by byte."""
    names = ["final.png", "target.png", "metrics.jsonl", "run.flags", *(f"images/{p.name}" for p in folder.glob("images/*"))]
    return {name: (folder / name).read_bytes() for name in sorted(names)}


def pixels(path: Path) -> np.ndarray:
    """The values of an image file, uint8 [height, width, 3]."""
    with Image.open(path) as image:
        return np.asarray(image)


def wait_until(condition):
    """Waits, for a minute at most."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def run_chromium():
    """A headless browser for a fixture to yield, whose log and requests are kept. It is closed afterwards."""
    if not (CHROMIUM and DRIVER):
        pytest.skip("needs chromium and chromedriver (Debian: apt install chromium chromium-driver)")
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    quiet = ("disable-gpu", "disable-quic", "no-first-run", "disable-background-networking", "disable-component-update")
    for argument in ("headless", "no-sandbox", "disable-sync", "disable-dev-shm-usage", *quiet):
        options.add_argument(f"--{argument}")
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()
