"""The steps with plain pixels in JAX, compiled by XLA: a port of the canonical graph for this benchmark alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from tfinvert import images
from tfinvert.networks import onnx as graphs
from tfinvert.networks.onnx.graph import Graph, attributes
from tfinvert.networks.preprocessing import Preprocessing

Options = dict[str, Any]
ORDER = ("NHWC", "HWIO", "NHWC")


def steps(order: dict[str, Any], initial: np.ndarray) -> Iterator[float]:
    """Adam on plain pixels, without end: the loss before each update.

    Args:
      order: graph, preparation, layers and settings, as for PyTorch.
      initial: [batch, H, W, 3].
    """
    settings, graph = order["settings"], graphs.read(Path(order["graph"]))
    network, (layer,) = function(graph, Preprocessing(**order["preparation"])), order["layers"].values()
    target = jax.jit(lambda image: network(image)[layer])(jnp.asarray(images.load("astronaut", graph.size)))
    rate, epsilon = settings["learning_rate"], settings["epsilon"]

    @jax.jit
    def update(image: Any, first: Any, second: Any, count: Any) -> Any:
        loss, slope = jax.value_and_grad(lambda image: jnp.mean(jnp.square(network(image)[layer] - target)))(image)
        first, second = 0.9 * first + 0.1 * slope, 0.999 * second + 0.001 * jnp.square(slope)
        length = rate * jnp.sqrt(1 - 0.999**count) / (1 - 0.9**count)
        return loss, image - length * first / (jnp.sqrt(second) + epsilon), first, second

    image = jnp.asarray(initial)
    first = second = jnp.zeros_like(image)
    count = 0
    while True:
        count += 1
        loss, image, first, second = update(image, first, second, float(count))
        yield float(loss)


def function(graph: Graph, prepare: Preprocessing) -> Callable[[Any], dict[str, Any]]:
    """A graph as a function from an image [batch, H, W, 3] to every tensor by name, with the channels last."""
    weights = {name: jnp.asarray(_last(array)) for name, array in graph.weights.items()}
    plain = {name: np.asarray(array) for name, array in graph.weights.items() if array.dtype.kind == "i"}

    def network(image: Any) -> dict[str, Any]:
        value = image[..., list(prepare.channels)] * jnp.asarray(prepare.scale) + jnp.asarray(prepare.shift)
        values = {**weights, graph.image: value}
        for node in graph.nodes:
            options = attributes(node)
            names = [name for name in node.input if name]
            if node.op_type == "Pad" and len(names) > 1:
                options["pads"] = plain[names.pop()].tolist()
            values[node.output[0]] = OPERATORS[node.op_type](options, *[values[name] for name in names])
        return values

    return network


def _last(array: np.ndarray) -> np.ndarray:
    """A kernel [out, in, H, W] as [H, W, in, out]; others stay as they are."""
    return array.transpose(2, 3, 1, 0) if array.ndim == 4 else array


def _padding(options: Options, size: Sequence[int], kernel: Sequence[int]) -> list[tuple[int, int]]:
    if options.get("auto_pad") == b"SAME_UPPER":
        strides = options.get("strides", [1, 1])
        total = [max((math.ceil(n / s) - 1) * s + k - n, 0) for n, k, s in zip(size, kernel, strides, strict=True)]
        return [(each // 2, each - each // 2) for each in total]
    top, left, bottom, right = options.get("pads", [0] * 4)
    return [(top, bottom), (left, right)]


def _convolution(options: Options, value: Any, kernel: Any, *bias: Any) -> Any:
    padding = _padding(options, value.shape[1:3], kernel.shape[:2])
    strides, dilations = options.get("strides", [1, 1]), options.get("dilations", [1, 1])
    groups = options.get("group", 1)
    made = lax.conv_general_dilated(value, kernel, strides, padding, (1, 1), dilations, ORDER, groups)
    return made + bias[0] if bias else made


def _window(options: Options, value: Any, start: float, combine: Any) -> Any:
    kernel = options["kernel_shape"]
    padding = [(0, 0), *_padding(options, value.shape[1:3], kernel), (0, 0)]
    return lax.reduce_window(value, start, combine, (1, *kernel, 1), (1, *options.get("strides", [1, 1]), 1), padding)


def _average(options: Options, value: Any) -> Any:
    counted = jnp.ones_like(value) if not options.get("count_include_pad") else None
    total = _window(options, value, 0.0, lax.add)
    return total / (math.prod(options["kernel_shape"]) if counted is None else _window(options, counted, 0.0, lax.add))


def _space_to_depth(options: Options, value: Any) -> Any:
    block, (batch, height, width, channels) = options["blocksize"], value.shape
    parts = value.reshape(batch, height // block, block, width // block, block, channels)
    return parts.transpose(0, 1, 3, 2, 4, 5).reshape(batch, height // block, width // block, -1)


def _local_response(options: Options, value: Any) -> Any:
    size = options["size"]
    around = [(0, 0)] * 3 + [((size - 1) // 2, size // 2)]
    total = lax.reduce_window(jnp.square(value), 0.0, lax.add, (1, 1, 1, size), (1,) * 4, around)
    alpha, beta, bias = options.get("alpha", 1e-4), options.get("beta", 0.75), options.get("bias", 1.0)
    return value / (bias + alpha / size * total) ** beta


OPERATORS: dict[str, Callable[..., Any]] = {
    "Conv": _convolution,
    "MaxPool": lambda options, value: _window(options, value, -jnp.inf, lax.max),
    "AveragePool": _average,
    "SpaceToDepth": _space_to_depth,
    "LRN": _local_response,
    "Pad": lambda options, value: jnp.pad(
        value, [(0, 0), *((options["pads"][axis], options["pads"][axis + 4]) for axis in (2, 3)), (0, 0)]
    ),
    "Relu": lambda options, value: jax.nn.relu(value),
    "Add": lambda options, first, second: first + second,
    "Concat": lambda options, *parts: jnp.concatenate(parts, axis=-1),
}
