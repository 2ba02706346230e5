"""What the processes of a comparison compute, a step at a time, without end.

An order is a dictionary: `side` is "tensorflow", "by hand", "pytorch" or "arithmetic"; the functions here say what else each
takes.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tfinvert import images
from tfinvert.settings.inversion import InversionSettings

SEED = 0
GFLOP = {"matrix product": 2 * 2048**3 / 1e9, "convolution": 2 * 9 * 256**2 * 56**2 / 1e9}  # of plain arithmetic
# Adam on plain pixels from noise, as in the homework, with a value for everything that a preset would choose.
HOMEWORK: dict[str, Any] = {
    "learning_rate": 1e-3,
    "schedule": "constant",
    "feature_loss": "mse",
    "tv_weight": 0.0,
    "alpha_weight": 0.0,
    "regularizer_final": 1.0,
    "init": "noise",
    "parameterization": "free",
    "jitter": 1,
    "steps": 10**9,
}


def steps(order: dict[str, Any]) -> Iterator[Any]:
    """The steps of an order."""
    sides = {"tensorflow": invert_in_tensorflow, "by hand": invert_by_hand, "pytorch": invert_in_pytorch, "arithmetic": compute}
    return sides[order["side"]](order)


def invert_in_tensorflow(order: dict[str, Any]) -> Iterator[Any]:
    """The steps of an inversion, as `--experiment=compare` runs it.

    Args:
      order: model, pool, layer, precision; size (pixels a side, 224 by default), batch (images in a step), threads (all by
        default), converter, and cache (the folder of converted networks).
    """
    from tfinvert.networks.load import load

    if "cache" in order:
        os.environ["TFINVERT_CACHE"] = order["cache"]
    names = ("pool", "size", "precision", "converter")
    network = load(order["model"], weights="random", **{name: order[name] for name in names if name in order})
    network.prepare(order["layer"])
    return _inverted(order, lambda: network.cut(order["layer"]))


def invert_by_hand(order: dict[str, Any]) -> Iterator[Any]:
    """The same steps with Keras layers that a person wrote; the order is as for TensorFlow."""
    from tests.bench.converters import by_hand

    size = order.get("size", 224)
    return _inverted(order, lambda: by_hand(order["model"], order["layer"], order["pool"], size))


def _inverted(order: dict[str, Any], build: Callable[[], Any]) -> Iterator[Any]:
    import tensorflow as tf

    from tfinvert.optimization import precision
    from tfinvert.optimization.inversion import build_problem
    from tfinvert.optimization.solver import run_alone
    from tfinvert.optimization.state import init

    _use_threads(order)
    precision.pack_weights_once()
    settings, initial = _settings(order), _initial(order)
    model, size = build(), initial.shape[1:3]
    targets = dict(model(tf.constant(images.load("astronaut", size)), training=False))
    problem = build_problem(settings, model, targets, size)
    with precision.arithmetic(settings.precision, settings.reduced_steps()):
        yield from run_alone(problem, init(problem, initial), settings.steps, settings.steps)


def invert_in_pytorch(order: dict[str, Any]) -> Iterator[Any]:
    """The same steps in PyTorch.

    Args:
      order: as for TensorFlow, and graph, preparation, layers and variant as in `comparison.sides.Task`.
    """
    import torch

    from tfinvert.comparison.pytorch.network import TorchNetwork
    from tfinvert.comparison.pytorch.optimization import optimize
    from tfinvert.networks import onnx as graphs
    from tfinvert.networks.preprocessing import Preprocessing

    if order.get("threads"):
        torch.set_num_threads(order["threads"])
    settings, initial = _settings(order), _initial(order)
    graph = graphs.read(Path(order["graph"]))
    network = TorchNetwork(graph, order["layers"], Preprocessing(**order["preparation"]), order["variant"] != "eager")
    targets = network.features(images.load("astronaut", graph.size))
    reduced = 0 if settings.precision == "float32" else settings.steps
    compiled = order["variant"] == "compile"
    run = optimize(settings, network, targets, initial, steps=settings.steps, reduced=reduced, compiled=compiled)
    next(run)  # the loss before the first update
    yield from run


def compute(order: dict[str, Any]) -> Iterator[Any]:
    """Matrix products or convolutions of `GFLOP` each.

    Args:
      order: kind (a key of `GFLOP`), precision; threads (all by default).
    """
    import tensorflow as tf

    _use_threads(order)
    dtype = order["precision"]
    if order["kind"] == "matrix product":
        values = tf.cast(tf.random.normal([2048, 2048]), dtype), tf.cast(tf.random.normal([2048, 2048]), dtype)
        function = tf.function(tf.matmul)
    else:
        values = tf.cast(tf.random.normal([1, 56, 56, 256]), dtype), tf.cast(tf.random.normal([3, 3, 256, 256]), dtype)
        function = tf.function(lambda image, kernel: tf.nn.conv2d(image, kernel, 1, "SAME"))
    while True:
        yield function(*values)


def _settings(order: dict[str, Any]) -> Any:
    return InversionSettings(**HOMEWORK, layers=(order["layer"],), precision=order["precision"])


def _initial(order: dict[str, Any]) -> np.ndarray:
    """The first image of a step, the same for all images of a batch: [batch, size, size, 3]."""
    size = order.get("size", 224)
    initial = np.random.default_rng(SEED).uniform(0, 1, (1, size, size, 3)).astype(np.float32)
    return np.repeat(initial, order.get("batch", 1), axis=0)


def _use_threads(order: dict[str, Any]) -> None:
    """Limits TensorFlow's threads, where the order says how many."""
    import tensorflow as tf

    if order.get("threads"):
        tf.config.threading.set_intra_op_parallelism_threads(order["threads"])
        tf.config.threading.set_inter_op_parallelism_threads(order["threads"])
