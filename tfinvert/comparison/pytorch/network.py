"""The canonical ONNX graph (batch norms folded, paddings written out), run with torch.nn.functional."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from tfinvert.networks.onnx.graph import Graph, attributes
from tfinvert.networks.preprocessing import Preprocessing

Attributes = dict[str, Any]


class TorchNetwork:
    """A canonical graph as a function from an image [batch, H, W, 3] to features, [batch, H, W, channels] each.

    Args:
      graph: the graph. `OPERATORS` has each of its operators.
      layers: layer name -> tensor of the graph.
      prepare: how the network's input is made of an image.
      channels_last: whether tensors have their channels last in memory, or before the rows as is usual in PyTorch.

    Raises:
      KeyError: an operator is not in `OPERATORS`.
    """

    def __init__(self, graph: Graph, layers: dict[str, str], prepare: Preprocessing, channels_last: bool = True):
        self.image, self.layers = graph.image, layers
        # Plain values and functions, which torch.compile can look through.
        self.nodes: list[tuple[Callable, Attributes, list[str], str]] = []
        for node in graph.nodes:
            inputs, options = [name for name in node.input if name], attributes(node)
            if node.op_type == "Pad" and len(inputs) > 1:  # an input since opset 11
                options["pads"] = graph.weights[inputs.pop()].tolist()
            self.nodes.append((OPERATORS[node.op_type], options, inputs, node.output[0]))
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
        for operator, options, inputs, output in self.nodes:
            values[output] = operator(options, *[values[name] for name in inputs])
        features = {name: values[tensor] for name, tensor in self.layers.items()}
        return {name: v.permute(0, 2, 3, 1) if v.ndim == 4 else v for name, v in features.items()}

    def features(self, image: np.ndarray) -> dict[str, torch.Tensor]:
        """The features of an image [batch, H, W, 3], by layer name, without gradients."""
        with torch.no_grad():
            return {name: value.clone() for name, value in self(torch.tensor(image)).items()}


# ------------------------------------------------------------ operators: (attributes, inputs [batch, channels, H, W]) -> output


def _convolution(options: Attributes, value: torch.Tensor, kernel: torch.Tensor, *bias: torch.Tensor) -> torch.Tensor:
    padded = _padded(options, value, list(kernel.shape[2:]), 0.0)
    strides, dilations = options.get("strides", [1, 1]), options.get("dilations", [1, 1])
    return functional.conv2d(padded, kernel, bias[0] if bias else None, strides, 0, dilations, options.get("group", 1))


def _max_pool(options: Attributes, value: torch.Tensor) -> torch.Tensor:
    kernel = options["kernel_shape"]
    return functional.max_pool2d(_padded(options, value, kernel, float("-inf")), kernel, options.get("strides", [1, 1]))


def _average_pool(options: Attributes, value: torch.Tensor) -> torch.Tensor:
    kernel, strides = options["kernel_shape"], options.get("strides", [1, 1])
    padded = _padded(options, value, kernel, 0.0)
    mean = functional.avg_pool2d(padded, kernel, strides)
    if options.get("count_include_pad") or padded is value:
        return mean
    # ONNX and TensorFlow leave the padding out of the average.
    inside = _padded(options, torch.ones_like(value), kernel, 0.0)
    return mean / functional.avg_pool2d(inside, kernel, strides)


def _padded(options: Attributes, value: torch.Tensor, kernel: Sequence[int], border: float) -> torch.Tensor:
    return functional.pad(value, _pads(options, value.shape[2:], kernel), value=border)


def _pads(options: Attributes, size: Sequence[int], kernel: Sequence[int]) -> list[int]:
    """torch.nn.functional.pad's [left, right, top, bottom]."""
    if options.get("auto_pad") == b"SAME_UPPER":
        strides, dilations = options.get("strides", [1, 1]), options.get("dilations", [1, 1])
        total = [
            max((math.ceil(n / s) - 1) * s + (k - 1) * d + 1 - n, 0)
            for n, k, s, d in zip(size, kernel, strides, dilations, strict=True)
        ]
        return [total[1] // 2, total[1] - total[1] // 2, total[0] // 2, total[0] - total[0] // 2]
    top, left, bottom, right = options.get("pads", [0] * 4)
    return [left, right, top, bottom]


def _batch_norm(options: Attributes, value: torch.Tensor, *statistics: torch.Tensor) -> torch.Tensor:
    scale, offset, mean, variance = statistics[:4]
    return functional.batch_norm(value, mean, variance, scale, offset, eps=options.get("epsilon", 1e-5))


def _gemm(options: Attributes, value: torch.Tensor, matrix: torch.Tensor, *bias: torch.Tensor) -> torch.Tensor:
    return functional.linear(value, matrix if options.get("transB") else matrix.T, *bias)


def _pad(options: Attributes, value: torch.Tensor) -> torch.Tensor:
    pads = options["pads"]
    return functional.pad(value, [pads[3], pads[7], pads[2], pads[6]])


def _space_to_depth(options: Attributes, value: torch.Tensor) -> torch.Tensor:
    # ONNX puts the places in a block before the channels, PyTorch the channels before the places.
    depth = functional.pixel_unshuffle(value, options["blocksize"])
    return depth.unflatten(1, (value.shape[1], -1)).transpose(1, 2).flatten(1, 2)


def _local_response(options: Attributes, value: torch.Tensor) -> torch.Tensor:
    # ONNX divides alpha by the size itself, as PyTorch does.
    alpha, beta, k = options.get("alpha", 1e-4), options.get("beta", 0.75), options.get("bias", 1.0)
    return functional.local_response_norm(value, options["size"], alpha=alpha, beta=beta, k=k)


OPERATORS: dict[str, Callable[..., torch.Tensor]] = {
    "Conv": _convolution,
    "MaxPool": _max_pool,
    "AveragePool": _average_pool,
    "BatchNormalization": _batch_norm,
    "Gemm": _gemm,
    "Pad": _pad,
    "SpaceToDepth": _space_to_depth,
    "LRN": _local_response,
    "Relu": lambda options, value: torch.relu(value),
    "Add": lambda options, first, second: torch.add(first, second),
    "Mul": lambda options, first, second: torch.mul(first, second),
    "MatMul": lambda options, first, second: torch.matmul(first, second),
    "Sigmoid": lambda options, value: torch.sigmoid(value),
    "Concat": lambda options, *parts: torch.cat(parts, dim=options.get("axis", 1)),
    "Flatten": lambda options, value: value.flatten(1),
    "GlobalAveragePool": lambda options, value: value.mean(dim=(2, 3), keepdim=True),
}
