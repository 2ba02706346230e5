"""Small runs of every kind that goes on after an end, as processes, and what two of them must have in common."""

import contextlib
import dataclasses
import io
import json
import os
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np
from PIL import Image

from tests.conftest import ROOT, tiny_graph, without_notes, write_onnx

PLAIN = "adam, total variation"
TENSORBOARD = "TensorBoard"
HANG_SECONDS = 300.0  # generous: of a process that does not end


@dataclasses.dataclass(frozen=True)
class Case:
    """A run: its flags without --output_dir, and what is given to go on with it."""

    name: str
    flags: tuple[str, ...]
    resume: tuple[str, ...] = ("--resume",)


def cases(folder: Path) -> dict[str, Case]:
    """The runs by name; their network, images and flagfiles are written into the folder."""
    onnx = write_onnx(tiny_graph(size=32), folder / "tiny.onnx")
    network = (f"--onnx={onnx}", "--preprocessing=none")
    invert = (*network, "--layers=conv2_1", "--save_every=5")
    (folder / "images").mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    for number in range(12):
        coarse = Image.fromarray(rng.integers(0, 255, (4, 4, 3), np.uint8))
        coarse.resize((36, 32), Image.Resampling.BICUBIC).save(folder / "images" / f"{number}.png")
    for name, more in (("one", "--tv_weight=0.05"), ("two", "--init=noise")):
        text = "".join(f"{flag}\n" for flag in (*invert, more))
        (folder / f"{name}.flags").write_text(f"# The tiny network, {name}\n{text}")
    style = (
        *("--side=48", "--style_side=40", "--scales=2", "--layers=conv2_1", "--style_layers=conv1_1,conv2_1"),
        *("--style_weights=10,10", "--content_weight=1e-3", "--tv_weight=1e-5", "--learning_rate=0.05"),
        *("--decay_boundaries=", "--decay_factors=", "--image=chelsea", "--style_images=coffee,rocket"),
    )
    decoder = ("--layers=conv1", "--width=4", "--batch_size=4", "--epoch_pictures=32", "--learning_rate=0.003", "--pool=max")
    decoder += ("--tensorboard",)
    annealed = ("--regularizer_final=0.1", "--tv_weight=0.1", "--backoff", "--jitter=3", "--parameterization=fourier")
    found = (
        Case(PLAIN, (*invert, "--steps=400", "--tv_weight=0.05")),
        Case(TENSORBOARD, (*invert, "--steps=300", "--learning_rate=0.02", "--tensorboard")),
        Case("L-BFGS", (*invert, "--steps=300", "--optimizer=lbfgs", "--parameterization=bounded")),
        Case("three seeds, SGD", (*invert, "--steps=300", "--seeds=3", "--optimizer=sgd", "--init=noise")),
        Case("annealing, backing off, jitter, Fourier", (*invert, "--steps=300", *annealed)),
        Case("bfloat16, sigmoid", (*invert, "--steps=300", "--precision=bfloat16", "--parameterization=sigmoid")),
        Case(
            "ResNet18",
            ("--model=resnet18", "--weights=random", "--layers=res1", "--size=64", "--steps=120", "--save_every=5"),
        ),
        Case("style, two scales", ("--experiment=style", *network, *style, "--steps=120", "--save_every=5")),
        Case(
            "decoder",
            ("--experiment=train_decoder", *network, f"--data={folder / 'images'}", *decoder, "--epochs=10"),
        ),
        Case("three images", (*invert, "--steps=300", "--tv_weight=0.05", f"--image=chelsea,{folder}/images/1.png,rocket")),
        Case(
            "suite of two",
            ("--experiment=suite", f"--questions={folder / 'one.flags'},{folder / 'two.flags'}", "--steps=300"),
            resume=(),
        ),
    )
    return {case.name: case for case in found}


class Runs:
    """A folder with one uninterrupted run of each case, made when it is first needed, and room for others.

    Attributes:
      cache: of their converted networks.
      cases: by name.
      seconds: that the uninterrupted ones took.
    """

    def __init__(self, base: Path):
        self.base, self.cache = base, base / "cache"
        self.cases = cases(base)
        self.seconds: dict[str, float] = {}
        self._count = 0

    def whole(self, case: Case) -> Path:
        """The uninterrupted run of a case."""
        folder = self.base / "whole" / case.name
        if not folder.exists():
            begun = time.monotonic()
            code, said = end(start(case, folder, self.cache))
            assert code == 0, (case.name, said)
            assert said == "" or "bfloat16" in case.name, said  # TensorFlow says there what it has converted
            self.seconds[case.name] = time.monotonic() - begun
        return folder

    def new(self, name: str) -> Path:
        """A path that nothing has."""
        self._count += 1
        return self.base / f"{name}-{self._count}"


def start(case: Case, folder: Path, cache: Path, *more: str, within: tuple[str, ...] = (), **settings) -> subprocess.Popen:
    """The run as a process of its own, with frequent checkpoints; `within` another program that runs it."""
    command = [*within, sys.executable, "-m", "tests.soak.often", *case.flags, f"--output_dir={folder}", *more]
    return subprocess.Popen(
        command,
        env=environment(cache),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **settings,
    )


def environment(cache: Path) -> dict[str, str]:
    """What the processes of the soak run in."""
    given = {"PYTHONPATH": str(ROOT), "TFINVERT_CACHE": str(cache), "TF_CPP_MIN_LOG_LEVEL": "3"}
    given["XDG_CACHE_HOME"] = f"{cache}-of-the-user"
    return {**os.environ, **given}


def end(process: subprocess.Popen) -> tuple[int, str]:
    """Waits for the end; gives the exit code and what was said on standard error beside notes on the images."""
    try:
        _, said = process.communicate(timeout=HANG_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise AssertionError(f"hangs: {process.args}") from None
    return process.returncode, without_notes(said)


def wait_until(condition: Callable[[], bool], process: subprocess.Popen) -> bool:
    """Waits for a condition; False where the process ended before it held."""
    deadline = time.monotonic() + HANG_SECONDS
    while not condition():
        if process.poll() is not None:
            return condition()
        assert time.monotonic() < deadline, f"hangs: {process.args}"
        time.sleep(0.0005)
    return True


def lines(folder: Path) -> int:
    """Lines of metrics in a run, or in all runs of a suite or of several images."""
    count = 0
    for path in (folder / "metrics.jsonl", *folder.glob("*/metrics.jsonl"), *folder.glob("*/*/metrics.jsonl")):
        with contextlib.suppress(OSError):
            count += path.read_bytes().count(b"\n")
    return count


def writing_checkpoint(folder: Path) -> bool:
    """Whether a checkpoint is half written."""
    for place in ("checkpoints", "checkpoints/scale-*", "*/checkpoints", "*/*/checkpoints"):
        for checkpoints in folder.glob(place):
            with contextlib.suppress(OSError):
                if any(name.endswith("_temp") or ".tmp" in name for name in os.listdir(checkpoints)):
                    return True
    return False


def has_checkpoint(folder: Path) -> bool:
    """Whether there is a checkpoint to go on from."""
    return any(folder.rglob("ckpt-*.index"))


def check_images(folder: Path) -> int:
    """Asserts that each image under a final name is whole, and gives how many there are."""
    paths = [path for path in folder.rglob("*.png") if not path.name.startswith(".")]
    for path in paths:
        with Image.open(path) as image:
            image.verify()
        with Image.open(path) as image:
            image.load()
    return len(paths)


def files(folder: Path) -> Iterator[Path]:
    """What two equal runs have in common: neither checkpoints, whose moments depend on the clock, nor events."""
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        if path.is_file() and not {"checkpoints", "tensorboard"} & set(inside.parts):
            yield inside


def check_same(found: Path, whole: Path) -> None:
    """Asserts that a run that was killed is, byte for byte, the one that was not, with nothing left over."""
    assert sorted(files(found)) == sorted(files(whole))
    check_images(found)
    for name in files(whole):
        one, other = found / name, whole / name
        if name.suffix in (".png", ".jsonl", ".flags", ".diff"):
            assert one.read_bytes() == other.read_bytes(), f"{one} differs"
        elif name.suffix == ".keras":
            # The archive has the time of day.
            assert _weights(one) == _weights(other), f"{one} differs"
        elif name.name == "run.json":
            assert _without_clock(one) == _without_clock(other), f"{one} differs"
    for metrics in found.rglob("metrics.jsonl"):
        steps = [json.loads(line)["step"] for line in metrics.read_text().splitlines()]
        assert steps == sorted(set(steps)), f"{metrics} has a line twice"
    for checkpoints in {path.parent for path in found.rglob("checkpoints/**/checkpoint")}:
        names = {path.name for path in checkpoints.iterdir() if path.is_file()}
        assert len(names) <= 5, f"{checkpoints} has more than two checkpoints: {sorted(names)}"
        assert not any("tmp" in name or "temp" in name for name in names), sorted(names)
    left = [path for path in found.rglob("*") if ".part" in path.name or path.name in (".lock.holder",)]
    assert left == [], left


def _weights(path: Path) -> dict[str, bytes]:
    found: dict[str, bytes] = {}

    def read(name: str, item: h5py.Group | h5py.Dataset) -> None:
        if isinstance(item, h5py.Dataset):
            found[name] = item[()].tobytes()

    with zipfile.ZipFile(path) as archive:
        h5py.File(io.BytesIO(archive.read("model.weights.h5"))).visititems(read)
    return found


def _without_clock(path: Path) -> dict:
    info = json.loads(path.read_text())
    timed = ("seconds", "per_second", "memory", "share", "onnx_difference")
    info["result"] = {name: value for name, value in info["result"].items() if not any(word in name for word in timed)}
    return info
