"""Who trained a network, and for what images, recognized by its first kernel. The names of files do not tell."""

from __future__ import annotations

import dataclasses

import numpy as np

from tfinvert.networks.onnx import Graph

FILTERS = 4  # of the first kernel, whose fingerprint is taken
DEAD = 1e-3  # a filter whose norm is smaller, as a fraction of the largest, holds noise
TOLERANCE = 0.01  # by which a fingerprint may differ, which is more than half precision or 8 bits change it


@dataclasses.dataclass(frozen=True)
class Training:
    """A training of a network.

    Attributes:
      words: who trained it.
      preprocessing: how it takes its images, as in `preprocessing.parse`.
      fingerprint: as `fingerprint` gives it.
    """

    words: str
    preprocessing: str
    fingerprint: tuple[float, ...]


GLUON = "the training of the ONNX model zoo (GluonCV)"
TORCHVISION = "the training of torchvision (IMAGENET1K_V1)"
LITE = "the training of EfficientNet-Lite (TensorFlow)"
# Networks whose weights were at hand: SqueezeNet 1.1 of both, AlexNet, ResNet18 and VGG16 of torchvision, EfficientNet-Lite
# 0 to 2. The other files of the zoo are known by their checksums. Torchvision's other networks take their images alike.
TRAININGS = (
    Training(GLUON, "torch", (0.762, 0.593, 0.260, 0.694, 0.658, 0.291, 0.576, 0.717, 0.392, 0.217, 0.803, 0.555)),
    Training(TORCHVISION, "torch", (0.412, 0.783, 0.466, 0.489, 0.718, 0.496, 0.527, 0.785, 0.325, 0.621, 0.747, 0.238)),
    Training(TORCHVISION, "torch", (0.490, 0.761, 0.425, 0.401, 0.707, 0.583, 0.794, 0.420, 0.439, 0.509, 0.742, 0.435)),
    Training(TORCHVISION, "torch", (0.556, 0.738, 0.382, 0.373, 0.737, 0.564, 0.559, 0.677, 0.479, 0.758, 0.116, 0.642)),
    Training(TORCHVISION, "torch", (0.790, 0.216, 0.574, 0.371, 0.722, 0.583, 0.523, 0.756, 0.394, 0.581, 0.563, 0.587)),
    Training(LITE, "mean=127;std=128", (0.365, 0.924, 0.115, 0.329, 0.926, 0.183, 0.205, 0.971, 0.122, 0.658, 0.183, 0.731)),
    Training(LITE, "mean=127;std=128", (0.316, 0.812, 0.490, 0.291, 0.948, 0.129, 0.092, 0.699, 0.709, 0.722, 0.691, 0.037)),
    Training(LITE, "mean=127;std=128", (0.233, 0.151, 0.961, 0.094, 0.994, 0.064, 0.484, 0.834, 0.265, 0.575, 0.694, 0.433)),
)


def fingerprint(kernel: np.ndarray) -> np.ndarray:
    """How strongly the first live filters of a kernel read each color.

    It does not depend on the scale of a filter, because exporters fold batch norms into it, nor on the precision in which the
    kernel is stored. It does depend on the order of the colors.

    Args:
      kernel: [filters, colors, height, width].

    Returns:
      The norm of each color's part of a filter, as a fraction of the filter's norm, for the first four filters whose norm is
      not almost 0, [4 * colors]; fewer where there are fewer.
    """
    parts = np.sqrt(np.square(kernel.astype(np.float64)).sum(axis=(2, 3)))
    norms = np.sqrt(np.square(parts).sum(axis=1, keepdims=True))
    live = norms[:, 0] > DEAD * norms.max(initial=0)
    return (parts[live] / norms[live])[:FILTERS].ravel()


def recognize(kernel: np.ndarray | None) -> Training | None:
    """The training that the first kernel of a network is from, [filters, colors, height, width]; None where it is unknown."""
    if kernel is None or kernel.ndim != 4:
        return None
    own = fingerprint(kernel)
    for training in TRAININGS:
        known = np.array(training.fingerprint)
        if own.shape == known.shape and np.abs(own - known).max() < TOLERANCE:
            return training
    return None


def first_kernel(graph: Graph) -> np.ndarray | None:
    """The kernel of the first convolution of a graph; None where it has none, or one that is computed."""
    return next((graph.weights.get(node.input[1]) for node in graph.nodes if node.op_type == "Conv"), None)


def words(graph: Graph) -> str:
    """Who trained the weights of a graph, in words; empty where that is not known."""
    training = recognize(first_kernel(graph))
    return training.words if training else ""
