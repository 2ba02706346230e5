"""What the processes of a comparison compute, a step at a time, without end.

An order is a dictionary: `side` is "tensorflow", "by hand", "pytorch", "jax" or "arithmetic"; the functions here say what else
each takes.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tfinvert import images
from tfinvert.networks import onnx as graphs
from tfinvert.networks import zoo
from tfinvert.networks.conversion.cache import with_tuples
from tfinvert.networks.preprocessing import Preprocessing
from tfinvert.settings.inversion import InversionSettings

SEED = 0
ENDLESS = 10**9  # steps
GFLOP = {"matrix product": 2 * 2048**3 / 1e9, "convolution": 2 * 9 * 256**2 * 56**2 / 1e9}  # of plain arithmetic
# Adam on plain pixels from noise, as in the homework, with a value for everything that a preset would choose.
HOMEWORK: dict[str, Any] = {
    "learning_rate": 1e-3,
    "beta_2": 0.999,
    "schedule": "constant",
    "feature_loss": "mse",
    "tv_weight": 0.0,
    "alpha_weight": 0.0,
    "regularizer_final": 1.0,
    "init": "noise",
    "parameterization": "free",
    "jitter": 1,
    "steps": ENDLESS,
}


def steps(order: dict[str, Any]) -> Iterator[Any]:
    """The steps of an order."""
    sides = {
        "tensorflow": invert_in_tensorflow,
        "by hand": invert_by_hand,
        "pytorch": invert_in_pytorch,
        "jax": invert_in_jax,
        "arithmetic": compute,
    }
    return sides[order["side"]](order)


def invert_in_tensorflow(order: dict[str, Any]) -> Iterator[Any]:
    """The steps of an inversion, as `--experiment=compare` runs it.

    Args:
      order: settings (those of `InversionSettings`, resolved), model (what `tfinvert.load` takes), pool; size (pixels a side,
        224 by default), batch (images in a step), threads (all by default), xla (whether XLA compiles the step), converter and
        winograd (as `tfinvert.load` takes them), and cache (the folder of converted networks).
    """
    from tfinvert.networks.load import load

    if "cache" in order:
        os.environ["TFINVERT_CACHE"] = order["cache"]
    settings = _settings(order)
    own = "random" if order["model"] in zoo.MODELS else "auto"
    names = ("pool", "size", "converter", "winograd")
    network = load(order["model"], weights=own, precision=settings.precision, **{n: order[n] for n in names if n in order})
    network.prepare(settings.layers)
    return _inverted(order, lambda: network.cut(settings.layers))


def invert_by_hand(order: dict[str, Any]) -> Iterator[Any]:
    """The same steps with Keras layers that a person wrote; the order is as for TensorFlow."""
    from tests.bench.converters import by_hand

    size = order.get("size", 224)
    return _inverted(order, lambda: by_hand(order["model"], order["settings"]["layers"][0], order["pool"], size))


def _inverted(order: dict[str, Any], build: Callable[[], Any]) -> Iterator[Any]:
    import tensorflow as tf

    from tfinvert.optimization import precision
    from tfinvert.optimization.inversion import build_problem
    from tfinvert.optimization.solver import run_alone
    from tfinvert.optimization.state import init

    _use_threads(order)
    precision.pack_weights_once()
    precision.grow_gpu_memory()
    precision.make_gpus_deterministic()
    precision.share_heap()
    if order.get("xla"):
        tf.config.optimizer.set_jit("autoclustering")
    settings, initial = _settings(order), _initial(order)
    model, size = build(), initial.shape[1:3]
    targets = dict(model(tf.constant(images.load("astronaut", size)), training=False))
    problem = build_problem(settings, model, targets, size)
    with precision.arithmetic(settings.precision, ENDLESS):
        yield from run_alone(problem, init(problem, initial), ENDLESS, ENDLESS)


def invert_in_pytorch(order: dict[str, Any]) -> Iterator[Any]:
    """The same steps in PyTorch.

    Args:
      order: as for TensorFlow, and graph, preparation, layers and variant as in `comparison.sides.Task`; for an exported
        network module, its name, instead of the graph. Further variants are "max-autotune" and, on a GPU, "cuda graphs".
        device, where PyTorch is to compute on another one than the processor.
    """
    import torch

    from tfinvert.comparison.pytorch.network import TorchNetwork
    from tfinvert.comparison.pytorch.optimization import optimize

    if order.get("threads"):
        torch.set_num_threads(order["threads"])
    torch.set_default_device(order.get("device", "cpu"))
    if order["variant"] == "max-autotune":
        torch._inductor.config.max_autotune = True
    if order["variant"] == "cuda graphs":
        torch._inductor.config.triton.cudagraphs = True
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = order["settings"]["precision"] == "tf32"
    settings, initial = _settings(order), _initial(order)
    channels_last = order["variant"] != "eager"
    if "module" in order:
        from tests.bench.exports import SIDE, ModuleNetwork

        network, size = ModuleNetwork(order["module"], settings.layers[0], channels_last), (SIDE, SIDE)
    else:
        graph = graphs.read(Path(order["graph"]))
        network, size = TorchNetwork(graph, order["layers"], Preprocessing(**order["preparation"]), channels_last), graph.size
    targets = network.features(images.load("astronaut", size))
    reduced = ENDLESS if settings.precision == "bfloat16" else 0
    compiled = order["variant"] not in ("eager", "channels_last")
    run = optimize(settings, network, targets, initial, steps=ENDLESS, reduced=reduced, compiled=compiled)
    next(run)  # the loss before the first update
    yield from run


def invert_in_jax(order: dict[str, Any]) -> Iterator[Any]:
    """The same steps with plain pixels in JAX; the order is as for PyTorch."""
    from tests.bench import in_jax

    yield from in_jax.steps(order, _initial(order))


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
    return InversionSettings(**with_tuples(order["settings"]))


def _initial(order: dict[str, Any]) -> np.ndarray:
    """The first image of a step, the same for all images of a batch: [batch, size, size, 3]."""
    side, batch = order.get("size", 224), order.get("batch", 1)
    return np.repeat(images.initial_image(order["settings"]["init"], (side, side), SEED), batch, axis=0)


def _use_threads(order: dict[str, Any]) -> None:
    """Limits TensorFlow's threads, where the order says how many."""
    import tensorflow as tf

    if order.get("threads"):
        tf.config.threading.set_intra_op_parallelism_threads(order["threads"])
        tf.config.threading.set_inter_op_parallelism_threads(order["threads"])
