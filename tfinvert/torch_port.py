"""The same inversion in PyTorch, written as one would port the homework: to compare with, not to build on.

It runs the canonical ONNX graph (batch norms folded, paddings written out) with torch.nn.functional. The terms, schedules
and optimisers are written again here, from their formulas, so that agreement means something.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from tfinvert.config import Config
from tfinvert.networks.graph import Graph, attributes
from tfinvert.networks.zoo import Preprocessing


class TorchNetwork:
    """A canonical graph as a function from an image [batch, H, W, 3] to features, [batch, H, W, channels] each.

    Its tensors are laid out with the channels last, or as is usual in PyTorch, before the rows.
    """

    def __init__(self, graph: Graph, layers: dict[str, str], prepare: Preprocessing, channels_last: bool = True):
        self.image, self.layers = graph.image, layers
        # Plain values, which torch.compile can look through.
        self.nodes = [(node.op_type, attributes(node), [i for i in node.input if i], node.output[0]) for node in graph.nodes]
        for kind, given, inputs, _ in self.nodes:
            if kind == "Pad" and len(inputs) > 1:  # an input since opset 11
                given["pads"] = graph.weights[inputs.pop()].tolist()
        self.format = torch.channels_last if channels_last else torch.contiguous_format
        self.weights = {name: torch.tensor(np.array(array)) for name, array in graph.weights.items()}
        for name, weight in self.weights.items():
            if weight.ndim == 4:
                self.weights[name] = weight.contiguous(memory_format=self.format)
        self.channels = list(prepare.channels)
        self.scale, self.shift = torch.tensor(prepare.scale), torch.tensor(prepare.shift)

    def __call__(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        value = (image[..., self.channels] * self.scale + self.shift).permute(0, 3, 1, 2)
        value = value.contiguous(memory_format=self.format)
        values = {**self.weights, self.image: value}
        for kind, given, inputs, output in self.nodes:
            values[output] = _run(kind, given, [values[i] for i in inputs])
        found = {name: values[tensor] for name, tensor in self.layers.items()}
        return {name: v.permute(0, 2, 3, 1) if v.ndim == 4 else v for name, v in found.items()}


def _run(kind: str, given: dict[str, Any], inputs: list[torch.Tensor]) -> torch.Tensor:
    first = inputs[0]
    if kind in ("Conv", "MaxPool", "AveragePool"):
        kernel = given.get("kernel_shape") or list(inputs[1].shape[2:])
        strides = given.get("strides", [1, 1])
        dilations = given.get("dilations", [1, 1])
        border = float("-inf") if kind == "MaxPool" else 0.0
        padded = functional.pad(first, _pads(given, first.shape[2:], kernel, strides, dilations), value=border)
        if kind == "Conv":
            bias = inputs[2] if len(inputs) > 2 else None
            return functional.conv2d(padded, inputs[1], bias, strides, 0, dilations, given.get("group", 1))
        if kind == "MaxPool":
            return functional.max_pool2d(padded, kernel, strides)
        mean = functional.avg_pool2d(padded, kernel, strides)
        if given.get("count_include_pad") or padded is first:
            return mean
        # ONNX and TensorFlow leave the padding out of the average.
        inside = functional.pad(torch.ones_like(first), _pads(given, first.shape[2:], kernel, strides, dilations))
        return mean / functional.avg_pool2d(inside, kernel, strides)
    if kind == "BatchNormalization":
        scale, offset, mean, variance = inputs[1:5]
        return functional.batch_norm(first, mean, variance, scale, offset, eps=given.get("epsilon", 1e-5))
    if kind == "Gemm":
        return functional.linear(first, inputs[1] if given.get("transB") else inputs[1].T, *inputs[2:])
    if kind == "Pad":
        pads = given["pads"]
        return functional.pad(first, [pads[3], pads[7], pads[2], pads[6]])
    if kind == "SpaceToDepth":
        # ONNX puts the places in a block before the channels, PyTorch the channels before the places.
        depth = functional.pixel_unshuffle(first, given["blocksize"])
        return depth.unflatten(1, (first.shape[1], -1)).transpose(1, 2).flatten(1, 2)
    if kind == "LRN":
        # ONNX divides alpha by the size itself, as PyTorch does.
        options = {"alpha": given.get("alpha", 1e-4), "beta": given.get("beta", 0.75), "k": given.get("bias", 1.0)}
        return functional.local_response_norm(first, given["size"], **options)
    simple: dict[str, Any] = {
        "Relu": torch.relu,
        "Add": torch.add,
        "Mul": torch.mul,
        "MatMul": torch.matmul,
        "Sigmoid": torch.sigmoid,
        "Concat": lambda *parts: torch.cat(parts, dim=given.get("axis", 1)),
        "Flatten": lambda value: value.flatten(1),
        "GlobalAveragePool": lambda value: value.mean(dim=(2, 3), keepdim=True),
    }
    if kind not in simple:
        raise NotImplementedError(f"the PyTorch port does not run the operator {kind}")
    return simple[kind](*inputs)


def _pads(given: dict, size, kernel, strides, dilations) -> list[int]:
    """torch.nn.functional.pad's [left, right, top, bottom]."""
    if given.get("auto_pad") == b"SAME_UPPER":
        total = [
            max((math.ceil(n / s) - 1) * s + (k - 1) * d + 1 - n, 0)
            for n, k, s, d in zip(size, kernel, strides, dilations, strict=True)
        ]
        return [total[1] // 2, total[1] - total[1] // 2, total[0] // 2, total[0] - total[0] // 2]
    top, left, bottom, right = given.get("pads", [0] * 4)
    return [left, right, top, bottom]


def learning_rate(config: Config, step: int) -> float:
    """The rate of the update after `step` updates."""
    rate = config.learning_rate
    if config.schedule == "exponential":
        return rate * config.decay_rate ** (step / (config.decay_steps or config.steps))
    if config.schedule == "piecewise":
        passed = sum(step >= boundary for boundary in config.decay_boundaries)
        return rate * (1.0, *config.decay_factors)[passed]
    if config.schedule == "warmup_cosine" and step < config.warmup_steps:
        return rate * step / config.warmup_steps
    if config.schedule in ("cosine", "warmup_cosine"):
        before = config.warmup_steps if config.schedule == "warmup_cosine" else 0
        progress = min((step - before) / (config.steps - before), 1.0)
        return rate * (config.final_fraction + (1 - config.final_fraction) * 0.5 * (1 + math.cos(math.pi * progress)))
    return rate


def variable(config: Config, initial: np.ndarray) -> torch.Tensor:
    """What is optimised: the pixels, or their logits with --parameterization=sigmoid."""
    start = torch.tensor(initial)
    return (torch.logit(start.clamp(1e-3, 1 - 1e-3)) if config.parameterization == "sigmoid" else start).requires_grad_()


def image_of(config: Config, pixels: torch.Tensor) -> torch.Tensor:
    """The image that the variable makes."""
    return torch.sigmoid(pixels) if config.parameterization == "sigmoid" else pixels


def total_variation(image: torch.Tensor, config: Config) -> torch.Tensor:
    """Of one image, as its flags say."""
    down, right = image[:, 1:] - image[:, :-1], image[:, :, 1:] - image[:, :, :-1]
    value = down.abs().sum() + right.abs().sum() if config.tv_kind == "l1" else (down**2).sum() + (right**2).sum()
    return value / image.numel() if config.tv_reduction == "mean" else value


def loss_of(config: Config, network: TorchNetwork, image: torch.Tensor, wanted: dict[str, torch.Tensor]) -> torch.Tensor:
    """The loss of an image."""
    features = network(image)
    weights = config.layer_weights or (1.0,) * len(wanted)
    loss = torch.zeros(())
    for weight, (layer, target) in zip(weights, wanted.items(), strict=True):
        error = torch.mean((features[layer].float() - target) ** 2)
        if config.feature_loss == "normalized":
            error = error / torch.mean(target**2)
        loss = loss + weight / len(wanted) * error
    return loss + config.tv_weight * total_variation(image, config) if config.tv_weight else loss


def features(network: TorchNetwork, image: np.ndarray) -> dict[str, torch.Tensor]:
    """The features of an image [batch, H, W, 3]."""
    with torch.no_grad():
        return {name: value.clone() for name, value in network(torch.tensor(image)).items()}


def gradient(config: Config, network: TorchNetwork, wanted: dict[str, torch.Tensor], initial: np.ndarray) -> np.ndarray:
    """The loss' gradient with respect to the variable, where it starts."""
    pixels = variable(config, initial)
    loss_of(config, network, image_of(config, pixels), wanted).backward()
    assert pixels.grad is not None
    return pixels.grad.numpy()


def optimize(
    config: Config,
    network: TorchNetwork,
    wanted: dict[str, torch.Tensor],
    initial: np.ndarray,
    *,
    steps: int,
    reduced: int = 0,
    compiled: bool = False,
) -> Iterator[tuple[float, np.ndarray | None]]:
    """The loss before each update and at the end, there with the image.

    Args:
      config: its terms, schedule (of `config.steps` steps) and optimiser.
      network, wanted, initial: as TensorFlow has them.
      steps: how many are made.
      reduced: so many of the first are made in bfloat16.
      compiled: whether the loss goes through torch.compile.
    """
    pixels = variable(config, initial)
    if config.optimizer == "adam":
        optimizer: Any = torch.optim.Adam([pixels], lr=config.learning_rate, eps=config.epsilon, fused=True)
    velocity = torch.zeros_like(pixels)

    def value(pixels: torch.Tensor) -> torch.Tensor:
        return loss_of(config, network, image_of(config, pixels), wanted)

    function = torch.compile(value) if compiled else value
    for step in range(steps + 1):
        with torch.set_grad_enabled(step < steps), torch.autocast("cpu", torch.bfloat16, enabled=step < reduced):
            loss = (function if step < steps else value)(pixels)
        yield float(loss.detach()), None if step < steps else image_of(config, pixels).detach().numpy().copy()
        if step == steps:
            return
        rate = learning_rate(config, step)
        pixels.grad = None
        loss.backward()
        if config.optimizer == "adam":
            # TensorFlow adds epsilon to the root of the second moment before its bias is corrected, PyTorch after (Kingma
            # & Ba 2015, section 2 and algorithm 1). With gradients of 1e-7 the two are different optimisers.
            optimizer.param_groups[0].update(lr=rate, eps=config.epsilon / math.sqrt(1 - 0.999 ** (step + 1)))
            optimizer.step()
        else:
            # Keras keeps the rate inside the momentum, PyTorch outside.
            with torch.no_grad():
                assert pixels.grad is not None
                velocity = config.momentum * velocity - rate * pixels.grad
                pixels += velocity
        if config.parameterization == "clip":
            with torch.no_grad():
                pixels.clamp_(0, 1)
