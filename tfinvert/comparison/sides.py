"""The two sides: the same run in TensorFlow and in PyTorch, from the same bytes, with what each of them computed and took."""

from __future__ import annotations

import dataclasses
import resource
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from tfinvert import images
from tfinvert.comparison import known
from tfinvert.comparison.settings import CompareSettings
from tfinvert.networks import onnx as graphs
from tfinvert.networks.load import from_settings
from tfinvert.networks.preprocessing import Preprocessing
from tfinvert.system.errors import NonFiniteLossError


@dataclasses.dataclass(frozen=True)
class Task:
    """The work of one side.

    Attributes:
      side: "tensorflow" or "pytorch".
      settings: the settings, with the preset's numbers for its layers.
      steps: the number of steps to make, at most `settings.steps`.
      variant: for PyTorch, how it runs: "eager", "channels_last" or "compile".
      graph: for PyTorch, the .onnx file of the folded graph.
      preparation: for PyTorch, the fields of the graph's `Preprocessing`.
      layers: for PyTorch, layer name -> tensor of the graph.
      initial: for PyTorch, the image that TensorFlow started from, [1, H, W, 3].
      offsets: for PyTorch, TensorFlow's jitter, [settings.steps + 1, 2]; None for no jitter.
    """

    side: str
    settings: CompareSettings
    steps: int
    variant: str = ""
    graph: str = ""
    preparation: dict[str, Any] = dataclasses.field(default_factory=dict)
    layers: dict[str, str] = dataclasses.field(default_factory=dict)
    initial: np.ndarray | None = None
    offsets: np.ndarray | None = None


@dataclasses.dataclass(frozen=True)
class Side:
    """What one side computed, and how fast.

    Attributes:
      initial: the image that it started from, [1, H, W, 3].
      losses: the loss before each update and at the end.
      image: the last image, [1, H, W, 3].
      features: the features of `initial`, by layer.
      gradient: the gradient at the start with respect to the variables, one variable after the other, [n].
      seconds_to_first_step: from the start of the process to the end of the first update.
      steps_per_second: the rate of the updates after the first, in which losses are read.
      peak_memory_mb: the peak memory of the process up to the last step.
      offsets: how far jitter moved the image in each step, [settings.steps + 1, 2]; None for no jitter.
    """

    initial: np.ndarray
    losses: list[float]
    image: np.ndarray
    features: dict[str, np.ndarray]
    gradient: np.ndarray
    seconds_to_first_step: float
    steps_per_second: float
    peak_memory_mb: float
    offsets: np.ndarray | None = None

    def speed(self) -> dict[str, float]:
        """The figures of time and memory."""
        names = ("steps_per_second", "seconds_to_first_step", "peak_memory_mb")
        return {name: getattr(self, name) for name in names}


def measure(task: Task, started: float | None = None) -> Side:
    """Runs a task in this process, which began at `started` (as `time.time`). Default: now.

    Raises:
      InputError: the loss has a term that the PyTorch port does not know.
      NonFiniteLossError: the loss became NaN or infinite.
    """
    timer = _Timer(task.steps, time.time() if started is None else started)
    return (_run_tensorflow if task.side == "tensorflow" else _run_pytorch)(task, timer)


def _run_tensorflow(task: Task, timer: _Timer) -> Side:
    import tensorflow as tf

    from tfinvert.images import transforms
    from tfinvert.optimization import inversion, precision, state
    from tfinvert.optimization.solver import Solver

    settings = task.settings
    network = from_settings(settings)
    model = network.cut(settings.layers)
    target = images.load(settings.image[0], network.size, settings.resize)
    initial = images.initial_image(settings.init, network.size, settings.seed, settings.resize)
    targets = dict(model(tf.constant(target), training=False).items())
    problem = inversion.build_problem(settings, model, targets, network.size)
    known.check_terms(problem.terms, settings.layers)
    solver = Solver([problem], [state.init(problem, initial)])
    losses = []
    with precision.arithmetic(settings.precision, settings.reduced_steps()) as change_precision:
        for (snapshot,) in solver.run(task.steps, task.steps):
            if isinstance(snapshot, NonFiniteLossError):
                raise snapshot
            losses.append(snapshot.loss)
            timer.record(snapshot.step)
            change_precision(solver.step)
    image = state.current_image(problem, solver.states[0])
    features = {name: value.numpy() for name, value in model(tf.constant(initial), training=False).items()}
    (point,) = Solver([problem], [state.init(problem, initial)]).differentiate()
    gradient = np.concatenate([part.numpy().ravel() for part in point.gradients])
    offsets, steps, jitter = None, settings.steps or 0, settings.jitter or 1
    if jitter > 1:
        offsets = transforms.jitter_offsets(jitter, settings.seed, settings.jitter_steps or steps, steps)
    return Side(initial, losses, image, features, gradient, *timer.figures(), offsets=offsets)


def _run_pytorch(task: Task, timer: _Timer) -> Side:
    from tfinvert.comparison.pytorch import optimization
    from tfinvert.comparison.pytorch.network import TorchNetwork

    settings, initial = task.settings, task.initial
    assert initial is not None
    part = graphs.read(Path(task.graph))
    network = TorchNetwork(part, task.layers, Preprocessing(**task.preparation), task.variant != "eager")
    targets = network.features(images.load(settings.image[0], part.size, settings.resize))
    run = optimization.optimize(
        settings,
        network,
        targets,
        initial,
        steps=task.steps,
        offsets=task.offsets,
        reduced=0 if settings.precision == "float32" else min(settings.reduced_steps(), task.steps),
        compiled=task.variant == "compile",
    )
    losses, image = [], initial
    for step, (loss, latest) in enumerate(run):
        if not np.isfinite(loss) and not (settings.backoff and step):
            raise NonFiniteLossError(step, loss)
        losses.append(loss)
        timer.record(step)
        image = image if latest is None else latest
    features = {name: value.numpy() for name, value in network.features(initial).items()}
    gradient = optimization.gradient(settings, network, targets, initial, task.offsets)
    return Side(initial, losses, image, features, gradient, *timer.figures(), offsets=task.offsets)


class _Timer:
    """When the first update was over, and the last."""

    def __init__(self, steps: int, started: float):
        self.steps, self.started = steps, started
        self.first = self.last = self.first_since_start = self.memory = 0.0

    def record(self, step: int) -> None:
        """Call it when the loss before update `step` is known. The time from the last update on is not counted."""
        if step == min(1, self.steps - 1):  # the first update is made before the second loss is there
            self.first, self.first_since_start = time.perf_counter(), time.time() - self.started
        if step == self.steps - 1:
            self.last = time.perf_counter()
            self.memory = peak_memory_mb()

    def figures(self) -> tuple[float, float, float]:
        """Seconds to the first step, steps per second (0 where there are too few to tell), peak memory in MB."""
        rate = (self.steps - 2) / (self.last - self.first) if self.steps > 2 else 0.0
        return self.first_since_start, rate, self.memory


def peak_memory_mb() -> float:
    """The peak memory of this process in MB. On Linux ru_maxrss begins with the parent's, so that it is read elsewhere."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 2**10
    except (OSError, StopIteration):
        unit = 2**20 if sys.platform == "darwin" else 2**10
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
