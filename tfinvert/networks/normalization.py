"""What a network does to the values of an image before its first weights, and so in which range it takes them.

What stands there is measured instead of read: a black image and images of one color go through it. So it may be written with
any operations, such as a subtraction and a division, a Rescaling, a batch norm of the image, or an exchange of its colors.
"""

from __future__ import annotations

import numpy as np

from tfinvert.networks import onnx as graphs
from tfinvert.networks.structure import makes_brightness
from tfinvert.system.errors import InputError

WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
SMALL, LARGE = 0.3, 1.5  # factors below and above which an image of another range is taken
CENTERED = -0.3  # a mean that is subtracted from values in [0, 1]
CENTERED_BYTES = -20.0  # likewise from values in [0, 255]
BLUE_FIRST = 0.02  # red's mean is larger than blue's in photographs, by about 0.08 of the range


def probes(size: tuple[int, int], colors: int = 3) -> np.ndarray:
    """A black image, and one of each color in [0, 1] alone, float32 [1 + colors, height, width, colors]."""
    values = np.concatenate([np.zeros((1, colors)), np.eye(colors)]).astype(np.float32)
    return np.broadcast_to(values[:, None, None, :], (1 + colors, *size, colors)).copy()


def taken_range(values: np.ndarray) -> str | None:
    """How a network takes its images, by what it makes of `probes` before its first weights.

    Args:
      values: of one pixel of each probe, [1 + colors, colors].

    Returns:
      What `preprocessing.parse` takes: `-1..1`, `none` for values from 0 to 1, or `0..255`; the last two with `;order=bgr`
      where the means of blue, green and red are subtracted in this order. None where nothing is done that tells the range, such
      as in an Inception network that turns torch's normalization into its own, or where the colors are mixed.
    """
    shift, factors = values[0].astype(np.float64), (values[1:] - values[0]).astype(np.float64).T  # [output, input]
    if ((np.abs(factors) > 1e-3 * np.abs(factors).max(initial=1e-12)).sum(axis=1) != 1).any():
        return None
    read = np.abs(factors).argmax(axis=1)  # the color of the image that each output reads
    scale = factors[np.arange(len(read)), read]
    factor, offset = np.abs(scale).mean(), shift.mean()
    if np.abs(shift / scale - 1).max() < 0.05:
        return "-1..1"
    if factor > LARGE or (factor >= SMALL and CENTERED >= offset > CENTERED_BYTES):
        name, top = "none", 1.0
    elif factor < SMALL or offset <= CENTERED_BYTES:
        name, top = "0..255", 255.0
    else:
        return None
    mean = np.empty(len(read))
    mean[read] = -shift / scale / top  # of each color of the image
    is_bgr = len(mean) == 3 and mean[2] - mean[0] > BLUE_FIRST and mean.min() > 0 and mean.max() < 1
    return f"{name};order=bgr" if is_bgr else name


def range_in_graph(graph: graphs.Graph) -> str | None:
    """How a graph takes its images, by what comes before its first weights; None where that says nothing.

    A network of one channel is asked with a black and a white image.
    """
    gray = [node.output[0] for node in graph.nodes if makes_brightness(node, graph)]
    first = next((node for node in graph.nodes if node.op_type in WEIGHTED and node.output[0] not in gray), None)
    if first is None or first.input[0] in (graph.image, *gray):
        return None
    part = graphs.cut(graph, first.input[:1])
    weighted = [node for node in part.nodes if node.op_type in WEIGHTED and node.output[0] not in gray]
    if weighted or graph.image not in part.consumers():
        return None
    from tfinvert.networks.conversion import verify  # imports onnxruntime, which few networks need for this

    sides = part.proto(batch=1).graph.input[0].type.tensor_type.shape.dim
    last = sides[-1].dim_value in (1, 3) and sides[1].dim_value not in (1, 3)
    colors = (sides[-1] if last else sides[1]).dim_value
    try:
        images = np.stack([np.zeros((*part.size, 3)), np.ones((*part.size, 3))]) if gray else probes(part.size, colors)
        images = images.astype(np.float32)
        images = images if last else images.transpose(0, 3, 1, 2)
        values = [verify.reference(part, image[None])[part.outputs[0]][0] for image in images]
    except InputError:
        return None  # conversion will say what is wrong
    return taken_range_of_maps(np.stack(values), 1 if gray else colors)


def taken_range_of_maps(values: np.ndarray, colors: int = 3) -> str | None:
    """As `taken_range`, for whole images [1 + colors, ...] with their channels first or last; their middle counts."""
    if values.ndim != 4 or colors not in (values.shape[1], values.shape[-1]):
        return None
    maps = values if values.shape[-1] == colors else values.transpose(0, 2, 3, 1)
    return taken_range(maps[:, maps.shape[1] // 2, maps.shape[2] // 2])
