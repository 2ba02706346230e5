"""Ports of the homework in PyTorch as students write them, right or with planted mistakes.

They share nothing with our own port.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from onnx import helper
from PIL import Image
from torch.nn import functional

from tfinvert.networks.onnx import Graph

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CHANNELS = {"conv1_1": (3, 8), "conv1_2": (8, 8), "conv2_1": (8, 12), "conv2_2": (12, 12)}
SIZE, CLASSES, EPSILON = 32, 10, 1e-3


def network(seed: int = 0) -> Graph:
    """Two blocks of two convolutions with batch norms and ReLUs, average pools between them, and a dense layer."""
    random = np.random.default_rng(seed)
    weights: dict[str, np.ndarray] = {}
    nodes, value = [], "image"
    for name, (inside, outside) in CHANNELS.items():
        weights[f"{name}/kernel"] = random.normal(0, np.sqrt(2 / (9 * inside)), (outside, inside, 3, 3))
        weights[f"{name}/bias"] = random.normal(0, 0.3, outside)
        weights[f"{name}/scale"] = random.uniform(0.7, 1.3, outside)
        weights[f"{name}/shift"] = random.normal(0.2, 0.3, outside)
        weights[f"{name}/mean"] = random.normal(0, 0.5, outside)
        weights[f"{name}/variance"] = random.uniform(0.5, 2, outside)
        nodes.append(
            helper.make_node(
                "Conv", [value, f"{name}/kernel", f"{name}/bias"], [f"{name}/c"], kernel_shape=[3, 3], pads=[1] * 4
            )
        )
        statistics = [f"{name}/{part}" for part in ("scale", "shift", "mean", "variance")]
        nodes.append(helper.make_node("BatchNormalization", [f"{name}/c", *statistics], [f"{name}/n"], epsilon=EPSILON))
        nodes.append(helper.make_node("Relu", [f"{name}/n"], [f"{name}/r"]))
        value = f"{name}/r"
        if name.endswith("_2"):
            pool = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [0, 0, 0, 0]}
            nodes.append(helper.make_node("AveragePool", [value], [f"pool{name[4]}"], **pool))
            value = f"pool{name[4]}"
    nodes.append(helper.make_node("Flatten", [value], ["flat"], axis=1))
    weights["dense/kernel"] = random.normal(0, 0.1, (CLASSES, 12 * 7 * 7))
    weights["dense/bias"] = random.normal(0, 0.1, CLASSES)
    nodes.append(helper.make_node("Gemm", ["flat", "dense/kernel", "dense/bias"], ["scores"], transB=1))
    weights = {name: array.astype(np.float32) for name, array in weights.items()}
    return Graph(tuple(nodes), weights, "image", (SIZE, SIZE), ("scores",), 13)


@dataclasses.dataclass(frozen=True)
class Port:
    """What a student's port does. The defaults are right for `--layers=conv2_1` and the settings of the homework.

    Attributes are named after what the student decides.
    """

    layers: tuple[str, ...] = ("conv2_1",)
    layer_weights: tuple[float, ...] = ()
    resample: str = "bilinear"
    crop: bool = False
    value_range: str = "0..1"
    colors: str = "rgb"
    mean: tuple[float, ...] = MEAN
    deviation: tuple[float, ...] = DEVIATION
    axes: str = "right"
    pool: str = "avg"
    ceil: bool = False
    padding: int = 1
    epsilon: float = EPSILON
    training: bool = False
    relu: str = "after"
    tap: str = "relu"
    tapped: dict[str, str] = dataclasses.field(default_factory=dict)
    kernels: str = "right"
    bias: bool = True
    flatten: str = "chw"
    dtype: str = "float32"  # that weights and features are rounded to
    autocast: bool = False  # whether convolutions compute in bfloat16
    convolution: str = "conv2d"  # or the same sum in another order: "unfold", "double"
    reciprocal: bool = False  # whether the deviation is divided by before, and multiplied with
    error: str = "mean"
    total: str = "mean"
    tv_weight: float = 0.0
    tv_kind: str = "l1"
    tv_reduction: str = "sum"
    optimizer: str = "adam"
    adam_epsilon: float = 1e-8
    adam_inside: bool = True
    betas: tuple[float, float] = (0.9, 0.999)
    momentum: float = 0.9
    rates: tuple[float, ...] = (0.01,) * 60
    target_moves: bool = False
    clip: bool = False
    channels_last: bool = False
    threads: int = 2


class Student:
    """A port that computes: everything by hand, as in a notebook."""

    def __init__(self, port: Port, graph: Graph, image: str, start: np.ndarray):
        torch.set_num_threads(port.threads)
        self.port = port
        self.weights = {name: torch.tensor(array) for name, array in graph.weights.items()}
        self.target, self.start = self._load(image), torch.tensor(start)

    def _load(self, path: str) -> torch.Tensor:
        image = Image.open(path).convert("RGB")
        if self.port.crop:
            side = min(image.size)
            left, top = (image.width - side) // 2, (image.height - side) // 2
            image = image.crop((left, top, left + side, top + side))
        pixels = np.asarray(image.resize((SIZE, SIZE), Image.Resampling[self.port.resample.upper()]))
        return torch.tensor(pixels.astype(np.float32) / 255)[None]

    def prepare(self, image: torch.Tensor) -> torch.Tensor:
        """[1, H, W, 3] in [0, 1] -> [1, 3, H, W]."""
        port = self.port
        if port.colors == "bgr":
            image = image.flip(-1)
        image = {"0..1": image, "0..255": 255 * image, "-1..1": 2 * image - 1}[port.value_range]
        if port.reciprocal:
            scale = 1 / torch.tensor(port.deviation)
            image = image * scale + -torch.tensor(port.mean) * scale
        else:
            image = (image - torch.tensor(port.mean)) / torch.tensor(port.deviation)
        if port.axes == "reshaped":
            return image.reshape(1, 3, SIZE, SIZE)
        if port.axes == "transposed":
            image = image.transpose(1, 2)
        return image.permute(0, 3, 1, 2)

    def features(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        """Layer -> features, channels last."""
        with torch.autocast("cpu", torch.bfloat16, enabled=self.port.autocast):
            return {name: value.float() for name, value in self._features(image).items()}

    def _round(self, value: torch.Tensor) -> torch.Tensor:
        return value.to(getattr(torch, self.port.dtype)).float() if self.port.dtype != "float32" else value

    def _convolve(self, value: torch.Tensor, kernel: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        port = self.port
        if port.convolution == "double":
            bias = None if bias is None else bias.double()
            return functional.conv2d(value.double(), kernel.double(), bias, padding=port.padding).float()
        if port.convolution == "unfold":
            columns = functional.unfold(value, 3, padding=port.padding)
            made = (kernel.flatten(1) @ columns).unflatten(2, [side + 2 * port.padding - 2 for side in value.shape[2:]])
            return made if bias is None else made + bias[:, None, None]
        return functional.conv2d(value, kernel, bias, padding=port.padding)

    def _features(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        port, w, taken = self.port, self.weights, {}
        value = self.prepare(image)
        if port.channels_last:
            value = value.contiguous(memory_format=torch.channels_last)
        value = self._round(value)
        for name in CHANNELS:
            kernel = w[f"{name}/kernel"]
            if port.kernels == "transposed":
                kernel = kernel.transpose(2, 3)
            if port.kernels == "flipped":
                kernel = kernel.flip(2, 3)
            bias = w[f"{name}/bias"] if port.bias else None
            value = taken[f"{name}:conv"] = self._convolve(value, self._round(kernel), bias)
            if port.relu == "before":
                value = torch.relu(value)
            if port.epsilon >= 0:
                statistics = (None, None) if port.training else (w[f"{name}/mean"], w[f"{name}/variance"])
                value = functional.batch_norm(
                    value, *statistics, w[f"{name}/scale"], w[f"{name}/shift"], training=port.training, eps=port.epsilon
                )
            taken[f"{name}:norm"] = value
            if port.relu == "after":
                value = torch.relu(value)
            taken[name] = taken[f"{name}:relu"] = value
            if name.endswith("_2"):
                pooling = functional.avg_pool2d if port.pool == "avg" else functional.max_pool2d
                value = taken[f"pool{name[4]}"] = pooling(value, 3, 2, ceil_mode=port.ceil)
        if value.shape[2:] == (7, 7):
            flat = value.permute(0, 2, 3, 1).flatten(1) if port.flatten == "hwc" else value.flatten(1)
            taken["fc3"] = functional.linear(flat, w["dense/kernel"], w["dense/bias"])
        found = {}
        for layer in port.layers:
            key = port.tapped.get(layer, layer)
            tensor = taken[f"{key}:{port.tap}"] if key in CHANNELS else taken[key]
            tensor = self._round(tensor)
            found[layer] = tensor.permute(0, 2, 3, 1) if tensor.ndim == 4 else tensor
        return found

    def loss(self, image: torch.Tensor, targets: dict[str, torch.Tensor]) -> torch.Tensor:
        port = self.port
        weights = port.layer_weights or (1.0,) * len(port.layers)
        errors = []
        for weight, (name, value) in zip(weights, self.features(image).items(), strict=True):
            square = (value - targets[name]) ** 2
            error = {"mean": square.mean(), "sum": square.sum(), "half_sum": square.sum() / 2, "half": square.mean() / 2}[
                port.error
            ]
            if port.error == "mean" and port.total in ("normalized", "own scale"):
                error = error / ((value if port.total == "own scale" else targets[name]) ** 2).mean()
            errors.append(weight * error)
        total = sum(errors) if port.total == "sum" else sum(errors) / len(errors)
        down, right = image[:, 1:] - image[:, :-1], image[:, :, 1:] - image[:, :, :-1]
        power = torch.abs if port.tv_kind == "l1" else torch.square
        variation = power(down).sum() + power(right).sum()
        variation = variation / image.numel() if port.tv_reduction == "mean" else variation
        return total + port.tv_weight * variation

    def run(self, updates: int) -> dict[str, np.ndarray]:
        """Everything that a reference has, by its names."""
        port = self.port
        with torch.no_grad():
            targets = self.features(self.target)
            found = {
                "target": self.target.numpy(),
                "start": self.start.numpy(),
                "input": self.prepare(self.start).permute(0, 2, 3, 1).numpy(),
                **{f"features/{name}": value.numpy() for name, value in self.features(self.start).items()},
                **{f"target_features/{name}": value.numpy() for name, value in targets.items()},
            }
        # Where gradients go through the target, it is the second image of a batch that is updated.
        image = torch.cat([self.start, self.target]) if port.target_moves else self.start.clone()
        first, second, velocity, losses = torch.zeros_like(image), torch.zeros_like(image), torch.zeros_like(image), []
        for step in range(updates + 1):
            image = image.detach().requires_grad_()
            loss = self.loss(image[:1], self.features(image[1:]) if port.target_moves else targets)
            loss.backward()
            gradient = image.grad
            losses.append(float(loss.detach()))
            if step == 0:
                found["gradient"] = gradient[:1].numpy().copy()
            if step % 10 == 0 and step:
                found[f"images/{step}"] = image[:1].detach().numpy().copy()
            rate, count = port.rates[step], step + 1
            if port.optimizer == "adam":
                first = port.betas[0] * first + (1 - port.betas[0]) * gradient
                second = port.betas[1] * second + (1 - port.betas[1]) * gradient**2
                bias1, bias2 = 1 - port.betas[0] ** count, 1 - port.betas[1] ** count
                if port.adam_inside:
                    change = rate * bias2**0.5 / bias1 * first / (second.sqrt() + port.adam_epsilon)
                else:
                    change = rate / bias1 * first / ((second / bias2).sqrt() + port.adam_epsilon)
            elif port.optimizer == "keras":
                velocity = port.momentum * velocity - rate * gradient
                change = -velocity
            elif port.optimizer == "torch":
                velocity = port.momentum * velocity + gradient
                change = rate * velocity
            else:
                change = rate * gradient
            image = image.detach() - change
            image = image.clamp(0, 1) if port.clip else image
        return {**found, "losses": np.array(losses), "learning_rates": np.array(port.rates[:updates])}
