"""The same run in TensorFlow and in PyTorch, each in a process of its own: do they compute the same thing, and how fast?"""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tfinvert import metrics
from tfinvert.errors import InputError, NonFiniteLossError
from tfinvert.images import files as images
from tfinvert.networks.conversion import convert
from tfinvert.networks.onnx import graph
from tfinvert.optimization import presets
from tfinvert.settings.config import Config, flag_text
from tfinvert.system.files import write_text

FIRST = 50
CHILD = "import sys; from tfinvert.experiments import compare; compare.carry_out(*sys.argv[1:])"
ARRAY = "array of the .npz file"  # in JSON: the only key where an array was
SPEED_STEPS = 30  # of the ways to run PyTorch that are not the first


@dataclasses.dataclass(frozen=True)
class Order:
    """What a process of its own is told to run: one side, for so many of the config's steps."""

    side: str
    config: Config
    steps: int
    started: float  # time.time() when the process was
    graph: str = ""  # of PyTorch: the .onnx file of the graph that the port runs
    layers: dict[str, str] = dataclasses.field(default_factory=dict)  # of PyTorch: layer name -> tensor
    initial: np.ndarray | None = None  # of PyTorch: TensorFlow's own bytes
    offsets: np.ndarray | None = None  # of PyTorch: TensorFlow's own jitter, [steps + 1, 2]; None for none
    variant: str = ""


@dataclasses.dataclass(frozen=True)
class Side:
    """What one side found.

    Attributes:
      initial: [1, H, W, 3], the start.
      losses: before each update and at the end.
      image: [1, H, W, 3], the last.
      features: at the start, by layer.
      gradient: at the start, with respect to the variables, one after the other.
      seconds_to_first_step: from the start of the process to the end of the first update.
      steps_per_second: of the updates after the first, losses read.
      peak_memory_mb: of the process, up to the last step.
      offsets: [steps + 1, 2], how far jitter moved the image in each step; None for not at all.
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


def run(config: Config, conversion: convert.Conversion, launch: Callable[[Order], Side] | None = None) -> dict[str, Any]:
    """Runs a config on both sides from the same file and the same bytes; writes compare.json, compare.png and curves.png.

    Args:
      config: its settings.
      conversion: the network, cut to the layers of the config.
      launch: runs an order; None to do so in a process of its own.

    Returns:
      What compare.json holds: the largest relative difference of each layer's features at the start, cosine and relative
      error of the gradient, the largest relative gap of the losses over the first 50 and over all steps, for both sides
      loss curve, PSNR, SSIM, steps per second, seconds to the first step and peak memory, the speed of each way to run
      PyTorch and the name of the fastest, the arithmetic of a step, the difference of the pictures.

    Raises:
      InputError: PyTorch is not installed, or the network has an operator that the port does not run.
      NonFiniteLossError: the loss became NaN or infinite.
    """
    _check(config)
    if importlib.util.find_spec("torch") is None:
        raise InputError("--experiment=compare needs PyTorch: pip install 'tfinvert[torch]'")
    launch = launch or _in_a_process
    converted = conversion.result()
    config = presets.at_depth(config, {layer.name: layer for layer in converted.layers}, converted.size)
    part, layers = convert.cut_graph(conversion.request)
    gflop = 2 * graph.operations(part) / 1e9
    target = images.load(config.image, converted.size)
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch, "port.onnx")
        graph.write(convert.with_weights(conversion.request, part), file)
        main, *others = config.torch_variants
        # The other ways only show their speed; their order has nothing to win or to lose by it.
        ours = launch(Order("tensorflow", config, config.steps, time.time()))
        order = Order("pytorch", config, config.steps, time.time(), str(file), layers, ours.initial, ours.offsets, main)
        theirs = launch(order)
        speeds = {main: theirs.speed()}
        for variant in others:
            short = dataclasses.replace(order, steps=min(config.steps, SPEED_STEPS), started=time.time(), variant=variant)
            speeds[variant] = launch(short).speed()
    gaps = [abs(a - b) / max(abs(b), 1e-30) for a, b in zip(ours.losses, theirs.losses, strict=True)]
    difference = np.abs(np.clip(ours.image, 0, 1) - np.clip(theirs.image, 0, 1))
    result: dict[str, Any] = {
        "network": config.network_name(),
        "weights": converted.weights_origin,
        "layers": list(layers),
        "steps": config.steps,
        "precision": config.precision,
        "feature_difference": {
            name: float(np.abs(ours.features[name] - value).max() / max(np.abs(value).max(), 1e-12))
            for name, value in theirs.features.items()
        },
        "gradient_cosine": _cosine(ours.gradient, theirs.gradient),
        "gradient_relative_error": float(np.linalg.norm(ours.gradient - theirs.gradient) / np.linalg.norm(theirs.gradient)),
        "loss_gap_first_50_steps": max(gaps[: FIRST + 1]),
        "loss_gap": max(gaps),
        "psnr_between": min(metrics.psnr(ours.image, theirs.image), 200.0),
        "largest_image_difference": float(difference.max()),
        "gflop_per_step": gflop,
        "tensorflow": {**_quality(ours, target), **ours.speed(), "loss": ours.losses},
        "pytorch": {**_quality(theirs, target), "variants": speeds, "loss": theirs.losses},
        "fastest_pytorch": max(speeds, key=lambda name: speeds[name]["steps_per_second"]),
    }
    folder = config.run_folder()
    try:
        _write(config, result, folder, target, ours.image, theirs.image)
    except OSError as error:
        raise InputError(f"cannot write to {folder}: {error.strerror or error}") from None
    _print(result, folder)
    return result


def _check(config: Config) -> None:
    """Raises InputError where the PyTorch port has no such thing."""
    has: dict[str, tuple[Any, ...]] = {
        "optimizer": ("adam", "sgd", "mv2016"),
        "seeds": (1,),
        "parameterization": ("auto", "free", "clip", "bounded", "sigmoid", "pyramid", "sigmoid_pyramid"),
    }
    for name, values in has.items():
        if getattr(config, name) not in values:
            expected = " or ".join(flag_text(name, value) for value in values)
            raise InputError(f"--{name} is {flag_text(name, getattr(config, name))}; --experiment=compare expects {expected}")


def _quality(side: Side, target: np.ndarray) -> dict[str, float]:
    return {"psnr": min(metrics.psnr(side.image, target), 200.0), "ssim": metrics.ssim(side.image, target)}


def _cosine(first: np.ndarray, second: np.ndarray) -> float:
    a, b = first.ravel().astype(np.float64), second.ravel().astype(np.float64)
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


def _write(
    config: Config, result: dict[str, Any], folder: Path, target: np.ndarray, ours: np.ndarray, theirs: np.ndarray
) -> None:
    from tfinvert.reports import charts, sheet  # not in the processes that are measured

    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "compare.json", json.dumps(result, indent=1) + "\n")
    difference = 0.5 + 10 * (np.clip(ours, 0, 1) - np.clip(theirs, 0, 1))
    for name, picture in {"target": target, "tensorflow": ours, "pytorch": theirs, "difference": difference}.items():
        images.save(folder / f"{name}.png", picture)
    captions = {
        "target": "target",
        "tensorflow": f"TensorFlow, {result['tensorflow']['psnr']:.2f} dB",
        "pytorch": f"PyTorch, {result['pytorch']['psnr']:.2f} dB",
        "difference": "difference, ten times, on grey",
    }
    sheet.write_side_by_side(
        folder / "compare.png",
        [f"{result['network']}: {', '.join(result['layers'])}", f"weights: {result['weights']}; {config.steps} steps"],
        [(folder / f"{name}.png", caption) for name, caption in captions.items()],
    )
    charts.write_two_curves(
        folder / "curves.png", {"TensorFlow": result["tensorflow"]["loss"], "PyTorch": result["pytorch"]["loss"]}
    )


def _print(result: dict[str, Any], folder: Path) -> None:
    ours, theirs = result["tensorflow"], result["pytorch"]
    rows = [(f"features of {name} at the start", f"{value:.1e}") for name, value in result["feature_difference"].items()]
    rows += [
        ("gradient at the start, relative error", f"{result['gradient_relative_error']:.1e}"),
        ("gradient at the start, cosine", f"{result['gradient_cosine']:.9f}"),
        (f"loss, largest gap over {FIRST} steps", f"{result['loss_gap_first_50_steps']:.2e}"),
        ("loss, largest gap over all steps", f"{result['loss_gap']:.2e}"),
        ("PSNR, TensorFlow and PyTorch", f"{ours['psnr']:.2f} and {theirs['psnr']:.2f} dB"),
        ("SSIM, TensorFlow and PyTorch", f"{ours['ssim']:.4f} and {theirs['ssim']:.4f}"),
        ("PSNR between the two", f"{result['psnr_between']:.1f} dB"),
        ("arithmetic of a step", f"{result['gflop_per_step']:.1f} GFLOP"),
    ]
    width = max(len(name) for name, _ in rows)
    print("\n".join(f"{name:{width}}  {value}" for name, value in rows))
    print(f"{result['precision']:{width}}  steps/s  GFLOP/s  to the first step (s)  peak memory (MB)")
    for name, speed in [("TensorFlow", ours), *((f"PyTorch, {name}", one) for name, one in theirs["variants"].items())]:
        rate = speed["steps_per_second"]
        first, memory = speed["seconds_to_first_step"], speed["peak_memory_mb"]
        print(f"{name:{width}}  {rate:7.2f}  {rate * result['gflop_per_step']:7.0f}  {first:21.1f}  {memory:16.0f}")
    print(f"pictures: {folder / 'compare.png'}, {folder / 'curves.png'}")


# --------------------------------------------------------------------------------------------------- each side's work


def measure(order: Order) -> Side:
    """Runs an order here. Raises InputError and NonFiniteLossError as `run` does."""
    return (_tensorflow if order.side == "tensorflow" else _pytorch)(order)


def _tensorflow(order: Order) -> Side:
    import tensorflow as tf

    from tfinvert.images import parameterizations, transforms
    from tfinvert.networks.network import load
    from tfinvert.optimization import precision
    from tfinvert.optimization.step import Optimization, run_optimization

    config = order.config
    with convert.Conversion(convert.request_for(config, config.layers)) as conversion:
        network = load(conversion.result(), config.network_name())
    target = images.load(config.image, network.size)
    initial = parameterizations.initial_image(config.init, network.size, config.seed)
    wanted = {name: tf.constant(v) for name, v in network.model(tf.constant(target), training=False).items()}

    def optimization() -> Optimization:
        return run_optimization(config, network.model, wanted, initial)

    timer, losses = _Timer(order), []
    with precision.arithmetic(config) as finishing:
        for snapshot in (running := optimization()).run(order.steps, order.steps):
            losses.append(snapshot.loss)
            timer.step(snapshot.step)
            finishing(running.step)
    image = running.image()
    features = {name: v.numpy() for name, v in network.model(tf.constant(initial), training=False).items()}
    gradient = np.concatenate([one.numpy().ravel() for one in optimization().gradient()])
    side = timer.side(initial, losses, image, features, gradient)
    return dataclasses.replace(side, offsets=transforms.run_offsets(config))


def _pytorch(order: Order) -> Side:
    from tfinvert.comparison import pytorch as torch_port

    config = order.config
    folded, prepare = convert.folded(convert.request_for(config, config.layers), graph.read(Path(order.graph)))
    network = torch_port.TorchNetwork(folded, order.layers, prepare, order.variant != "eager")
    target, initial = images.load(config.image, folded.size), order.initial
    assert initial is not None
    try:
        wanted = torch_port.features(network, target)
        timer, losses, image = _Timer(order), [], initial
        reduced = 0 if config.precision == "float32" else min(config.reduced_steps(), order.steps)
        run = torch_port.optimize(
            config,
            network,
            wanted,
            initial,
            steps=order.steps,
            offsets=order.offsets,
            reduced=reduced,
            compiled=order.variant == "compile",
        )
        for step, (loss, latest) in enumerate(run):
            if not np.isfinite(loss) and not (config.backoff and step):
                raise NonFiniteLossError(step, loss)
            losses.append(loss)
            timer.step(step)
            image = image if latest is None else latest
        features = {name: value.numpy() for name, value in torch_port.features(network, initial).items()}
    except NotImplementedError as error:
        raise InputError(str(error)) from None
    return timer.side(initial, losses, image, features, torch_port.gradient(config, network, wanted, initial, order.offsets))


class _Timer:
    """When the first update was over, and the last."""

    def __init__(self, order: Order):
        self.order = order
        self.first = self.last = 0.0

    def step(self, step: int) -> None:
        """To be called when the loss before update `step` is known. What comes before the next is not counted."""
        if step == min(1, self.order.steps - 1):  # the first update is made before the second loss is there
            self.first, self.first_since_start = time.perf_counter(), time.time() - self.order.started
        if step == self.order.steps - 1:
            self.last = time.perf_counter()
            self.memory = _peak_memory_mb()

    def side(
        self,
        initial: np.ndarray,
        losses: list[float],
        image: np.ndarray,
        features: dict[str, np.ndarray],
        gradient: np.ndarray,
    ) -> Side:
        rate = (self.order.steps - 2) / (self.last - self.first) if self.order.steps > 2 else 0.0
        return Side(initial, losses, image, features, gradient, self.first_since_start, rate, self.memory)


def _peak_memory_mb() -> float:
    """Of this process. Not ru_maxrss where there is better, which on Linux begins with what the parent had."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 2**10
    except (OSError, StopIteration):
        unit = 2**20 if sys.platform == "darwin" else 2**10
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def _in_a_process(order: Order) -> Side:
    with tempfile.TemporaryDirectory() as folder:
        order_file, answer_file, log = (Path(folder, name) for name in ("order.json", "answer.json", "log"))
        root = str(Path(__file__).resolve().parents[2])
        path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
        _put(order_file, dataclasses.replace(order, started=time.time()))
        with open(log, "wb") as out:
            process = subprocess.Popen(
                [sys.executable, "-c", CHILD, str(order_file), str(answer_file)],
                stdout=out,
                stderr=out,
                env={**os.environ, "PYTHONPATH": path, "TF_CPP_MIN_LOG_LEVEL": "3"},
            )
            try:
                process.wait()
            finally:
                process.kill()
                process.wait()
        if not answer_file.exists():
            tail = log.read_text(errors="replace").strip().splitlines()[-1:] or ["no message"]
            side = f"{order.side} {order.variant}".strip()
            raise InputError(f"the run in {side} failed (exit code {process.returncode}): {tail[0][:300]}")
        answer = _got(answer_file)
    if "input_error" in answer:
        raise InputError(answer["input_error"])
    if "non_finite" in answer:
        raise NonFiniteLossError(*answer["non_finite"])
    return Side(**answer)


def carry_out(order_file: str, answer_file: str) -> None:
    """The work of a process of its own: the file of an order, and where its Side goes, or the error's values."""
    try:
        fields = _got(Path(order_file))
        settings: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in fields["config"].items()}
        order = Order(**{**fields, "config": Config(**settings)})
        if order.side == "tensorflow":
            from tfinvert.optimization import precision

            precision.pack_weights_once()
        answer: Any = measure(order)
    except InputError as error:
        answer = {"input_error": str(error)}
    except NonFiniteLossError as error:
        answer = {"non_finite": [error.step, error.loss]}
    _put(Path(answer_file), answer)


def _put(path: Path, value: Any) -> None:
    """Writes a dictionary or dataclass as JSON, and the arrays in it into an .npz file beside it."""
    arrays: dict[str, np.ndarray] = {}

    def kept(one: Any) -> Any:
        if isinstance(one, np.ndarray):
            arrays[f"array{len(arrays)}"] = one
            return {ARRAY: f"array{len(arrays) - 1}"}
        if isinstance(one, dict):
            return {name: kept(inside) for name, inside in one.items()}
        return one

    text = json.dumps(kept(dataclasses.asdict(value) if dataclasses.is_dataclass(value) else value))  # type: ignore[arg-type]
    np.savez(path.with_suffix(".npz"), **arrays)
    write_text(path, text)


def _got(path: Path) -> Any:
    """The reverse of `_put`."""
    with np.load(path.with_suffix(".npz"), allow_pickle=False) as arrays:
        return json.loads(path.read_text(), object_hook=lambda one: arrays[one[ARRAY]] if ARRAY in one else one)
