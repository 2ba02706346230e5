"""From RGB in [0, 1] to what a network was trained on: before the network, or in the kernels that read the image."""

from __future__ import annotations

import dataclasses

import numpy as np

from tfinvert.images import files as images
from tfinvert.networks import onnx as graphs


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """`value[..., channels] * scale + shift`.

    Attributes:
      channels: order of the color channels, (0, 1, 2) for RGB or (2, 1, 0) for BGR.
      scale, shift: per channel, in that order.
    """

    channels: tuple[int, int, int]
    scale: tuple[float, float, float]
    shift: tuple[float, float, float]


def _standardized(mean: tuple[float, ...], deviation: tuple[float, ...]) -> Preprocessing:
    scale = tuple(1 / d for d in deviation)
    shift = tuple(-m / d for m, d in zip(mean, deviation, strict=True))
    return Preprocessing((0, 1, 2), scale, shift)  # type: ignore[arg-type]


# The words are those of keras.applications, and the ranges say what the network takes. `caffe` subtracts the mean of BVLC's
# ilsvrc_2012_mean.npy.
PREPROCESSING = {
    "torch": _standardized(images.MEAN_COLOR, images.COLOR_DEVIATION),
    "caffe": Preprocessing((2, 1, 0), (255.0,) * 3, (-104.00698793, -116.66876762, -122.67891434)),
    "tf": Preprocessing((0, 1, 2), (2.0,) * 3, (-1.0,) * 3),
    "-1..1": Preprocessing((0, 1, 2), (2.0,) * 3, (-1.0,) * 3),
    "0..255": Preprocessing((0, 1, 2), (255.0,) * 3, (0.0,) * 3),
    "none": Preprocessing((0, 1, 2), (1.0,) * 3, (0.0,) * 3),
}


def network_input(image: np.ndarray, preprocessing: Preprocessing) -> np.ndarray:
    """Images as an .onnx file takes them: [batch, H, W, 3], RGB in [0, 1] -> [batch, 3, H, W], float32."""
    scale, shift = np.asarray(preprocessing.scale, np.float32), np.asarray(preprocessing.shift, np.float32)
    prepared = image[..., preprocessing.channels] * scale + shift
    return np.ascontiguousarray(prepared.transpose(0, 3, 1, 2))


def into_kernels(graph: graphs.Graph, preprocessing: Preprocessing) -> tuple[graphs.Graph, Preprocessing]:
    """The graph with scale and order of the colors in the kernels that read the image, and the preprocessing that is left.

    With W the kernel and x the image, W * (scale x + shift) = (W scale) * (x + shift / scale). The shift stays outside,
    because a convolution pads with zeros after it. Where other nodes than convolutions read the image, nothing changes.
    """
    readers = graph.consumers().get(graph.image, [])
    if any(n.op_type != "Conv" or n.input[1] not in graph.weights or graph.weights[n.input[1]].shape[1] != 3 for n in readers):
        return graph, preprocessing
    order = np.argsort(preprocessing.channels)  # a kernel's channel for each of red, green, blue
    scale = np.array(preprocessing.scale)[order]
    weights, changed = dict(graph.weights), {}
    for node in readers:
        kernel = weights[node.input[1]][:, order] * scale[:, None, None]
        changed[id(node)] = name = f"{node.output[0]}/scaled"
        weights[name] = kernel.astype(np.float32)
    nodes = [
        graphs.remake(node, inputs=[node.input[0], changed[id(node)], *node.input[2:]]) if id(node) in changed else node
        for node in graph.nodes
    ]
    red, green, blue = (np.array(preprocessing.shift)[order] / scale).tolist()
    left = Preprocessing(channels=(0, 1, 2), scale=(1.0, 1.0, 1.0), shift=(red, green, blue))
    return dataclasses.replace(graph, nodes=tuple(nodes), weights=weights), left
