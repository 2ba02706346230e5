"""Ports with one or two planted mistakes, and the cause that the diagnosis must name.

`python -m tests.comparison.diagnosis.planted` tries all of them, with all of their arrays; `... planted losses` gives the
diagnosis their losses alone. Names of ports, such as `... planted losses float16`, leave out the others.

Each line: name -> (what the reference is run with, what the port does, words of each cause).
"""

from __future__ import annotations

import dataclasses
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

import tfinvert
from tests.comparison.diagnosis.ports import Port, Student, network
from tests.conftest import write_onnx
from tfinvert import images
from tfinvert.comparison.diagnosis.bundle import kind
from tfinvert.comparison.diagnosis.differences import ROUNDING
from tfinvert.comparison.diagnosis.search import Diagnosis
from tfinvert.experiments.diagnose import DiagnosisResult

BASE: dict[str, Any] = {"layers": ("conv2_1",)}
NORMALIZED = {**BASE, "feature_loss": "normalized"}
TV = {**BASE, "tv_weight": 0.001}
TWO = {"layers": ("conv1_2", "conv2_1"), "layer_weights": (1.0, 3.0)}
SGD = {**BASE, "optimizer": "sgd", "learning_rate": 0.3}
FALLING = {**BASE, "schedule": "exponential", "decay_steps": 5, "decay_rate": 0.5}
FALLING_SGD = {**SGD, "schedule": "exponential", "decay_steps": 5, "decay_rate": 0.5}
WARMUP = {**BASE, "schedule": "warmup_cosine", "warmup_steps": 10, "steps": 50}
DENSE = {"layers": ("fc3",)}
CLIPPED = {**BASE, "parameterization": "clip", "learning_rate": 0.1}
HALVED = tuple(0.01 * 0.5 ** (step / 5) for step in range(61))
COSINE = tuple(0.01 * (1 + np.cos(np.pi * step / 50)) / 2 for step in range(51)) + (0.0,) * 10

ONE: dict[str, tuple[dict[str, Any], dict[str, Any], tuple[str, ...]]] = {
    "nearest": (BASE, {"resample": "nearest"}, ("nearest neighbor",)),
    "bicubic": (BASE, {"resample": "bicubic"}, ("bicubic",)),
    "crop": (BASE, {"crop": True}, ("cropped",)),
    "bgr": (BASE, {"colors": "bgr"}, ("BGR for RGB",)),
    "0..255": (BASE, {"value_range": "0..255"}, ("0..255 where",)),
    "-1..1": (BASE, {"value_range": "-1..1"}, ("-1..1 where",)),
    "not normalized": (BASE, {"mean": (0.0,) * 3, "deviation": (1.0,) * 3}, ("Neither mean nor deviation",)),
    "swapped": (BASE, {"mean": (0.229, 0.224, 0.225), "deviation": (0.485, 0.456, 0.406)}, ("are swapped",)),
    "no deviation": (BASE, {"deviation": (1.0,) * 3}, ("not divided by the standard deviation",)),
    "no mean": (BASE, {"mean": (0.0,) * 3}, ("mean is not subtracted",)),
    "reshaped": (BASE, {"axes": "reshaped"}, ("read as [channels, height, width]",)),
    "rows and columns": (BASE, {"axes": "transposed"}, ("Rows and columns of the image",)),
    "max pools": (BASE, {"pool": "max"}, ("pools take the maximum",)),
    "ceil": (BASE, {"ceil": True}, ("ceil or floor",)),
    "no padding": (BASE, {"padding": 0}, ("no padding",)),
    "epsilon of batch norm": (BASE, {"epsilon": 1e-5}, ("epsilon of the batch norms is 1e-05",)),
    "training mode": (BASE, {"training": True}, ("training mode",)),
    "no batch norm": (BASE, {"epsilon": -1.0}, ("batch norms are missing",)),
    "no relu": (BASE, {"relu": "none"}, ("ReLUs are missing",)),
    "relu before": (BASE, {"relu": "before"}, ("before the batch norms",)),
    "before relu": (BASE, {"tap": "norm"}, ("taken before the ReLU",)),
    "before norm": (BASE, {"tap": "conv"}, ("before the batch norm and the ReLU",)),
    "layer after": (BASE, {"tapped": {"conv2_1": "conv2_2"}}, ("layer after",)),
    "layer before": (BASE, {"tapped": {"conv2_1": "conv1_2"}}, ("layer before",)),
    "transposed kernels": (BASE, {"kernels": "transposed"}, ("kernels are transposed",)),
    "flipped kernels": (BASE, {"kernels": "flipped"}, ("kernels are flipped",)),
    "no bias": (BASE, {"bias": False}, ("no bias",)),
    "flattened": (DENSE, {"flatten": "hwc"}, ("[height, width, channels] flattened",)),
    "sum": (BASE, {"error": "sum"}, ("is a sum, not a mean",)),
    "gatys": (BASE, {"error": "half_sum"}, ("half the sum",)),
    "half": (BASE, {"error": "half"}, ("half the mean",)),
    "normalized": (BASE, {"total": "normalized"}, ("divided by the mean square",)),
    "added layers": (TWO, {"total": "sum"}, ("added, not averaged",)),
    "no layer weights": (TWO, {"layer_weights": ()}, ("weights of the layers are missing",)),
    "squared tv": (TV, {"tv_kind": "l2"}, ("squared differences",)),
    "mean tv": (TV, {"tv_reduction": "mean"}, ("mean, not a sum",)),
    "no tv": (TV, {"tv_weight": 0.0}, ("Total variation is missing",)),
    "epsilon": (BASE, {"adam_epsilon": 1e-7}, ("Adam's epsilon is 1e-07.",)),
    "pytorch's epsilon": (BASE, {"adam_epsilon": 1e-5, "adam_inside": False}, ("1e-05 and is added after",)),
    "betas": (BASE, {"betas": (0.5, 0.999)}, ("betas are 0.5 and 0.999",)),
    "rate": (BASE, {"rates": (0.1,) * 61}, ("ten times",)),
    "late": (FALLING, {"rates": HALVED[:1] + HALVED}, ("one step late",)),
    "no schedule": (FALLING, {"rates": (0.01,) * 61}, ("there is no schedule",)),
    "no warm-up": (WARMUP, {"rates": COSINE}, ("warm-up is missing",)),
    "momentum of pytorch": (
        FALLING_SGD,
        {"optimizer": "torch", "rates": tuple(30 * r for r in HALVED)},
        ("as in PyTorch, where",),
    ),
    "plain descent": (SGD, {"optimizer": "plain", "rates": (0.3,) * 61}, ("plain gradient descent",)),
    "clipped": (BASE, {"clip": True, "rates": (0.1,) * 61}, ("clipped to 0..1 after each update",)),
    "moving target": (BASE, {"target_moves": True}, ("gradients through it, and is updated",)),
    "own scale": (NORMALIZED, {"total": "own scale"}, ("the image's own features",)),
    "early by an epoch": (
        FALLING,
        {"rates": tuple(0.01 * 0.5 ** (step / 5 + 1) for step in range(61))},
        ("one epoch (the steps of one decay) early",),
    ),
    "in stairs": (FALLING, {"rates": tuple(0.01 * 0.5 ** (step // 5) for step in range(61))}, ("falls in stairs",)),
    "float16": (BASE, {"dtype": "float16"}, ("rounded to float16",)),
    "never clipped": (CLIPPED, {"clip": False, "rates": (0.1,) * 61}, ("never clipped",)),
}
TWO_MISTAKES = {
    "bgr, epsilon": (BASE, {"colors": "bgr", "adam_epsilon": 1e-6}, ("BGR", "epsilon is 1e-06")),
    "crop, max pools": (BASE, {"crop": True, "pool": "max"}, ("cropped", "maximum")),
    "no mean, before relu": (BASE, {"mean": (0.0,) * 3, "tap": "norm"}, ("mean is not subtracted", "before the ReLU")),
    "max pools, sum": (BASE, {"pool": "max", "error": "sum"}, ("maximum", "is a sum")),
    "bgr, 0..255": (BASE, {"colors": "bgr", "value_range": "0..255"}, ("BGR", "0..255")),
    "half, betas": (BASE, {"error": "half", "betas": (0.9, 0.99)}, ("half the mean", "0.9 and 0.99")),
    "flipped kernels, epsilon": (BASE, {"kernels": "flipped", "epsilon": 1e-2}, ("flipped", "0.01")),
    "squared tv, no relu": (TV, {"tv_kind": "l2", "relu": "none"}, ("squared", "ReLUs are missing")),
    "bicubic, rate": (BASE, {"resample": "bicubic", "rates": (0.001,) * 61}, ("bicubic", "a tenth")),
    "training mode, clipped": (BASE, {"training": True, "clip": True, "rates": (0.1,) * 61}, ("training mode", "clipped")),
}
RIGHT = {
    "as it is": (BASE, {}),
    "one thread": (BASE, {"threads": 1}),
    "channels last": (BASE, {"channels_last": True}),
    "total variation": (TV, {}),
    "two layers": (TWO, {}),
    "momentum": (SGD, {"optimizer": "keras", "rates": (0.3,) * 61}),
    "a falling rate": (FALLING, {"rates": HALVED}),
    "a dense layer": (DENSE, {}),
    "clipped pixels": (CLIPPED, {"clip": True, "rates": (0.1,) * 61}),
    "one thread, channels last, total variation": (TV, {"threads": 1, "channels_last": True}),
    "another order of summation": (BASE, {"convolution": "unfold"}),
    "sums in double precision": (BASE, {"convolution": "double"}),
    "the reciprocal of the deviation": (BASE, {"reciprocal": True}),
    "four threads": (BASE, {"threads": 4}),
    "another order, two layers, one thread": (TWO, {"convolution": "unfold", "threads": 1}),
    "another order, clipped pixels": (CLIPPED, {"clip": True, "rates": (0.1,) * 61, "convolution": "unfold"}),
    "double precision, momentum": (SGD, {"optimizer": "keras", "rates": (0.3,) * 61, "convolution": "double"}),
    "normalized errors": (NORMALIZED, {"total": "normalized"}),
}
# Ports that are right but for what is said of them: name -> (reference, port, what must be said, another start).
SAID: dict[str, tuple[dict[str, Any], dict[str, Any], tuple[str, ...], float | None]] = {
    "bfloat16": (BASE, {"autocast": True}, ("rounded to bfloat16",), None),
    "another start": (BASE, {}, ("another start",), 0.5),
}
for _cases in (ONE, TWO_MISTAKES):
    for _name, (_reference, _port, _words) in list(_cases.items()):
        # A clipped run at another rate has that rate in its reference.
        if _port.get("clip") and "learning_rate" not in _reference:
            _cases[_name] = ({**_reference, "learning_rate": 0.1}, _port, _words)


class Bench:
    """References in a folder, written once for each kind, and ports that are diagnosed against them."""

    def __init__(self, folder: Path):
        self.folder, self.graph = folder, network()
        self.file = write_onnx(self.graph, folder / "net.onnx")
        self.image = folder / "cat.png"
        images.read("chelsea").save(self.image)
        self.references: dict[str, Path] = {}
        self.network = tfinvert.load(self.file, preprocessing="torch", pool="avg")

    def reference(self, values: dict[str, Any]) -> Path:
        """The folder of a reference with these settings beside those of the homework."""
        key = repr(sorted(values.items()))
        if key not in self.references:
            path = self.folder / f"reference-{len(self.references)}"
            homework = {"steps": 50, "learning_rate": 0.01, "schedule": "constant", "feature_loss": "mse", "tv_weight": 0}
            homework |= {
                "tv_kind": "l1",
                "tv_reduction": "sum",
                "parameterization": "free",
                "init": "noise",
                "resize": "squash",
            }
            tfinvert.reference(str(self.image), self.network, output_dir=str(path), **{**homework, **values})
            self.references[key] = path
        return self.references[key]

    def port(self, reference: Path, values: dict[str, Any], changes: dict[str, Any], start: Any = None) -> dict[str, Any]:
        """What a port computes; `start` is another image to start from, or the value of an even one."""
        first = np.load(reference / "reference.npz")["start"]
        own = {name: values[name] for name in ("layers", "layer_weights", "tv_weight") if name in values}
        port = dataclasses.replace(Port(**own), **changes)
        return Student(
            port,
            self.graph,
            str(self.image),
            first if start is None else np.broadcast_to(np.float32(start), first.shape).copy(),
        ).run(50)

    def compare(self, reference: Path, arrays: dict[str, Any]) -> DiagnosisResult:
        """The diagnosis of a port's arrays."""
        file = self.folder / "theirs.npz"
        np.savez(file, **arrays)
        return tfinvert.diagnose(str(reference), str(file), output_dir=str(self.folder / "diagnosis"), overwrite=True)

    def diagnose(self, values: dict[str, Any], changes: dict[str, Any], only: tuple[str, ...] = ()) -> DiagnosisResult:
        """The diagnosis of a port; `only` are the kinds of arrays that it has, all by default."""
        reference = self.reference(values)
        arrays = self.port(reference, values, changes)
        return self.compare(reference, {name: array for name, array in arrays.items() if not only or kind(name) in only})


def named(diagnosis: Diagnosis, words: tuple[str, ...]) -> bool:
    """Whether a diagnosis names a cause for each of the words, and no cause more.

    Where it says that the numbers do not tell some causes apart, any of them counts.
    """
    causes = [" ".join([finding.cause, *finding.alternatives]) for finding in diagnosis.findings]
    return len(causes) <= len(words) and all(any(word in cause for cause in causes) for word in words)


def main(arguments: list[str]) -> None:
    """Tries every port, with all of its arrays or with those of some kinds alone; prints what was named."""
    only = tuple(argument for argument in arguments if argument in ROUNDING)
    chosen = [argument for argument in arguments if argument not in ROUNDING]

    def pick(cases: dict[str, Any]) -> dict[str, Any]:
        return {name: case for name, case in cases.items() if not chosen or name in chosen}

    with tempfile.TemporaryDirectory() as folder:
        bench, seconds = Bench(Path(folder)), []

        def diagnose(reference: dict[str, Any], changes: dict[str, Any], start: float | None = None) -> Diagnosis:
            path = bench.reference(reference)
            arrays = bench.port(path, reference, changes, start)
            began = time.process_time()
            found = bench.compare(path, {name: array for name, array in arrays.items() if not only or kind(name) in only})
            seconds.append(time.process_time() - began)
            return found.diagnosis

        for title, cases in (("one mistake", ONE), ("two mistakes", TWO_MISTAKES)):
            hits = 0
            for number, (name, (reference, changes, words)) in enumerate(pick(cases).items(), 1):
                found = diagnose(reference, changes)
                hits += named(found, words)
                missed = "" if named(found, words) else f", not {[finding.cause for finding in found.findings]}"
                print(f"{title}: {hits} of {number}, {name}{missed}, {seconds[-1]:.1f} s", flush=True)
        if seconds:
            print(f"median {statistics.median(seconds):.1f} s, longest {max(seconds):.1f} s, of processors", flush=True)
        right, said = pick(RIGHT), pick(SAID)
        alarms = [name for name, (values, changes) in right.items() if not diagnose(values, changes).agrees]
        for name, (reference, changes, words, start) in said.items():
            found = diagnose(reference, changes, start)
            if not named(found, words) or found.left is not None:
                alarms.append(f"{name}: {[finding.cause for finding in found.findings]}")
        print(f"false alarms {len(alarms)} of {len(right) + len(said)} {alarms}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
