"""The same inversion in PyTorch, written as one would port the homework: to compare with, not to build on.

It runs the canonical ONNX graph (batch norms folded, paddings written out) with torch.nn.functional. The terms, schedules
and optimizers are written again here, from their formulas, so that agreement means something.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from tfinvert.images.files import COLOR_CORRELATION, MEAN_COLOR
from tfinvert.networks.onnx.graph import Graph, attributes
from tfinvert.networks.zoo import Preprocessing
from tfinvert.settings.config import Config


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


def variables(config: Config, initial: np.ndarray) -> list[torch.Tensor]:
    """What is optimized: the pixels, their logits, or the images of a pyramid, the finest first."""
    start = torch.tensor(initial)
    if config.parameterization not in ("sigmoid", "pyramid", "sigmoid_pyramid"):
        return [start.requires_grad_()]
    if "sigmoid" in config.parameterization:
        start = torch.logit(start.clamp(1e-3, 1 - 1e-3))
    if config.parameterization == "sigmoid":
        return [start.requires_grad_()]
    size = start.shape[1:3]
    levels = [level for level in range(config.pyramid_levels + 1) if 2**level < 2 * max(size)]
    made = [torch.zeros(1, *(math.ceil(side / 2**level) for side in size), 3) for level in levels]
    around = start / 4 if config.parameterization == "sigmoid_pyramid" else start - 0.5
    made[0] = torch.linalg.solve(torch.tensor(COLOR_CORRELATION), around[..., None])[..., 0] / _level_weights(made)[0]
    return [one.requires_grad_() for one in made]


def _level_weights(levels: list[torch.Tensor]) -> list[float]:
    """Those of a pyramid's images: each the root of two of the one before, 2 in all."""
    rising = [math.sqrt(2) ** level for level in range(len(levels))]
    return [2 * weight / sum(rising) for weight in rising]


class _Clipped(torch.autograd.Function):
    """[0, 1], with the gradient of the identity wherever descending it does not lead further out."""

    @staticmethod
    def forward(ctx: Any, image: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(image)
        return image.clamp(0, 1)

    @staticmethod
    def backward(ctx: Any, *upstream: torch.Tensor) -> torch.Tensor:
        (image,), (gradient,) = ctx.saved_tensors, upstream
        return torch.where(((image < 0) & (gradient > 0)) | ((image > 1) & (gradient < 0)), 0.0, gradient)


def image_of(config: Config, made: list[torch.Tensor]) -> torch.Tensor:
    """The image that the variables make."""
    if config.parameterization == "sigmoid":
        return torch.sigmoid(made[0])
    if "pyramid" not in config.parameterization:
        return made[0]
    with torch.autocast("cpu", enabled=False):
        weights = _level_weights(made)
        total = weights[-1] * made[-1]
        for finer, weight in zip(made[-2::-1], weights[-2::-1], strict=True):
            total = functional.interpolate(total.permute(0, 3, 1, 2), size=finer.shape[1:3], mode="bilinear")
            total = total.permute(0, 2, 3, 1) + weight * finer
        around = total @ torch.tensor(COLOR_CORRELATION).T
        return torch.sigmoid(4 * around) if config.parameterization == "sigmoid_pyramid" else _Clipped.apply(0.5 + around)


def project(config: Config, made: list[torch.Tensor]) -> None:
    """What is done to the pixels after each update."""
    with torch.no_grad():
        if config.parameterization == "clip":
            made[0].clamp_(0, 1)
        elif config.parameterization == "bounded":
            mean = torch.tensor(MEAN_COLOR)
            length = (made[0] - mean).norm(dim=-1, keepdim=True).clamp(min=1e-12)
            made[0].copy_(mean + (made[0] - mean) * (160 / 255 / length).clamp(max=1))


def total_variation(image: torch.Tensor, config: Config) -> torch.Tensor:
    """Of one image, as its flags say."""
    down, right = image[:, 1:] - image[:, :-1], image[:, :, 1:] - image[:, :, :-1]
    if config.tv_kind == "beta":
        squares = functional.pad(down, (0, 0, 0, 0, 0, 1)) ** 2 + functional.pad(right, (0, 0, 0, 1)) ** 2
        value = _power(squares, config.tv_beta / 2).sum()
    else:
        value = down.abs().sum() + right.abs().sum() if config.tv_kind == "l1" else (down**2).sum() + (right**2).sum()
    return value / image.numel() if config.tv_reduction == "mean" else value


def alpha_norm(image: torch.Tensor, config: Config) -> torch.Tensor:
    """Of one image, as its flags say."""
    squares = (image - torch.tensor(MEAN_COLOR)) ** 2
    value = _power(squares if config.alpha_kind == "values" else squares.sum(dim=-1), config.alpha / 2).sum()
    return value / image.numel() if config.alpha_reduction == "mean" else value


def _power(squares: torch.Tensor, exponent: float) -> torch.Tensor:
    """squares^exponent; 0 with a gradient of 0 below 1e-12."""
    nothing = squares < 1e-12
    return torch.where(nothing, 0.0, torch.where(nothing, 1.0, squares) ** exponent)


def loss_of(
    config: Config, network: TorchNetwork, image: torch.Tensor, wanted: dict[str, torch.Tensor], offset: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """The loss of an image, which the network sees moved down and right by `offset`, in a circle: features, regularizers."""
    seen = image
    if offset is not None:
        rows, columns = ((torch.arange(side) - by) % side for side, by in zip(image.shape[1:3], offset, strict=True))
        seen = image[:, rows][:, :, columns]
    features = network(seen)
    weights = config.layer_weights or (1.0,) * len(wanted)
    loss = torch.zeros(())
    for weight, (layer, target) in zip(weights, wanted.items(), strict=True):
        error = torch.mean((features[layer].float() - target) ** 2)
        if config.feature_loss == "normalized":
            error = error / torch.mean(target**2)
        loss = loss + weight / len(wanted) * error
    smooth = torch.zeros(())
    if config.tv_weight:
        smooth = smooth + config.tv_weight * total_variation(image, config)
    return loss, smooth + config.alpha_weight * alpha_norm(image, config) if config.alpha_weight else smooth


def strength(config: Config, step: int) -> float:
    """What is left of the regularizers' weights after `step` updates."""
    return config.regularizer_final ** min(step / config.steps, 1.0)


def features(network: TorchNetwork, image: np.ndarray) -> dict[str, torch.Tensor]:
    """The features of an image [batch, H, W, 3]."""
    with torch.no_grad():
        return {name: value.clone() for name, value in network(torch.tensor(image)).items()}


def gradient(
    config: Config,
    network: TorchNetwork,
    wanted: dict[str, torch.Tensor],
    initial: np.ndarray,
    offsets: np.ndarray | None = None,
) -> np.ndarray:
    """The loss' gradient with respect to the variables, where they start, one after the other."""
    made = variables(config, initial)
    offset = None if offsets is None else torch.tensor(offsets[0])
    error, smooth = loss_of(config, network, image_of(config, made), wanted, offset)
    (error + smooth).backward()
    return np.concatenate([one.grad.numpy().ravel() for one in made if one.grad is not None])


def optimize(
    config: Config,
    network: TorchNetwork,
    wanted: dict[str, torch.Tensor],
    initial: np.ndarray,
    *,
    steps: int,
    offsets: np.ndarray | None = None,
    reduced: int = 0,
    compiled: bool = False,
) -> Iterator[tuple[float, np.ndarray | None]]:
    """The loss before each update and at the end, there with the image.

    Args:
      config: its terms, schedule (of `config.steps` steps) and optimizer.
      network, wanted, initial: as TensorFlow has them.
      steps: how many are made.
      offsets: [steps + 1, 2], how far the network sees the image moved in each step; None for not at all.
      reduced: so many of the first are made in bfloat16.
      compiled: whether the loss goes through torch.compile.
    """
    made = variables(config, initial)
    update = Update(config, made)

    def value(made: list[torch.Tensor], offset: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
        return loss_of(config, network, image_of(config, made), wanted, offset)

    function = torch.compile(value) if compiled else value
    for step in range(steps + 1):
        offset = None if offsets is None else torch.tensor(offsets[step])
        with torch.set_grad_enabled(step < steps), torch.autocast("cpu", torch.bfloat16, enabled=step < reduced):
            error, smooth = (function if step < steps else value)(made, offset)
            loss = error + strength(config, step) * smooth
        yield float(loss.detach()), None if step < steps else image_of(config, made).detach().numpy().copy()
        if step == steps:
            return
        for one in made:
            one.grad = None
        loss.backward()
        update(step, float((error + config.regularizer_final * smooth).detach()))
        project(config, made)


class Update:
    """One step of the optimizer of a config; where the loss has become four times its lowest, back to the best instead."""

    def __init__(self, config: Config, made: list[torch.Tensor]):
        self.config, self.made = config, made
        self.best, self.lowest, self.scale = [one.detach().clone() for one in made], math.inf, 1.0
        if config.optimizer == "adam":
            self.adam = torch.optim.Adam(made, lr=config.learning_rate, eps=config.epsilon, fused=True)
        else:
            self.velocities = [torch.zeros_like(one) for one in made]
            self.squares = [torch.zeros_like(one) for one in made]

    def moments(self) -> list[torch.Tensor]:
        """What the optimizer remembers of earlier gradients."""
        if self.config.optimizer == "adam":
            return [moment for state in self.adam.state.values() for moment in (state["exp_avg"], state["exp_avg_sq"])]
        return [*self.velocities, *self.squares]

    def __call__(self, step: int, loss: float) -> None:
        """Takes the gradients that the variables have, and the loss before the update with the last weights."""
        if not self.config.backoff:
            self.plain(step)
            return
        diverged = not loss <= 4 * self.lowest  # NaN as well
        before = [one.detach().clone() for one in self.made]
        if loss < self.lowest:
            self.best, self.lowest = before, loss
        self.plain(step)
        with torch.no_grad():
            if diverged:
                self.scale /= 2
                for moment in self.moments():
                    moment.zero_()
            for one, old, best in zip(self.made, before, self.best, strict=True):
                if diverged:
                    one.copy_(best)
                elif self.scale < 1:
                    one.copy_(old + self.scale * (one - old))

    def plain(self, step: int) -> None:
        """The update itself."""
        rate = learning_rate(self.config, step)
        if self.config.optimizer == "adam":
            # TensorFlow adds epsilon to the root of the second moment before its bias is corrected, PyTorch after (Kingma
            # & Ba 2015, section 2 and algorithm 1). With gradients of 1e-7 the two are different optimizers.
            self.adam.param_groups[0].update(lr=rate, eps=self.config.epsilon / math.sqrt(1 - 0.999 ** (step + 1)))
            self.adam.step()
            return
        changed = rate != learning_rate(self.config, max(step - 1, 0))
        with torch.no_grad():
            for one, velocity, squares in zip(self.made, self.velocities, self.squares, strict=True):
                assert one.grad is not None
                if changed and (self.config.momentum_reset or self.config.optimizer == "mv2016"):
                    velocity.zero_()
                if self.config.optimizer == "mv2016":  # in grey levels (Mahendran & Vedaldi 2016, section 4)
                    squares.mul_(0.9).add_(one.grad**2)
                    velocity.mul_(0.9).sub_(one.grad / (1 / rate + 255 * squares.sqrt()))
                else:
                    # Keras keeps the rate inside the momentum, PyTorch outside.
                    velocity.mul_(self.config.momentum).sub_(rate * one.grad)
                one += velocity
