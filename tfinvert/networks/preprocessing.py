"""From RGB in [0, 1] to what a network was trained on: before the network, or in the kernels that read the image."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

import numpy as np

from tfinvert.images import files as images
from tfinvert.networks import onnx as graphs
from tfinvert.system.errors import InputError


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


BGR = (2, 1, 0)
# The words are those of keras.applications, and the ranges say what the network takes. `caffe` subtracts the mean of BVLC's
# ilsvrc_2012_mean.npy.
PREPROCESSING = {
    "torch": _standardized(images.MEAN_COLOR, images.COLOR_DEVIATION),
    "caffe": Preprocessing(BGR, (255.0,) * 3, (-104.00698793, -116.66876762, -122.67891434)),
    "tf": Preprocessing((0, 1, 2), (2.0,) * 3, (-1.0,) * 3),
    "-1..1": Preprocessing((0, 1, 2), (2.0,) * 3, (-1.0,) * 3),
    "0..255": Preprocessing((0, 1, 2), (255.0,) * 3, (0.0,) * 3),
    "none": Preprocessing((0, 1, 2), (1.0,) * 3, (0.0,) * 3),
}


SYNTAX = (
    "or mean=...;std=... with one number or three each, on the scale from 0 to 1, or from 0 to 255 where a number is above 1"
)


def parse(text: str) -> Preprocessing:
    """What a value of `--preprocessing` means.

    Args:
      text: a key of `PREPROCESSING`, or `mean=M;std=S` for (value - M) / S. M and S are one number or three, for red, green
        and blue, separated by commas; without one of the two, M is 0 and S is 1. They are on the scale from 0 to 1; where one
        of the numbers is above 1, they are all on that from 0 to 255. `;order=bgr` behind either says that the network takes
        blue first; the numbers of mean and std are then in that order, too.

    Raises:
      InputError: the text is none of these.

    Example:
      >>> parse("mean=127;std=128").scale[0]
      1.9921875
      >>> parse("0..255;order=bgr").channels
      (2, 1, 0)
    """
    name, *rest = (part.strip() for part in text.split(";"))
    named = PREPROCESSING.get(name)
    parts = dict(_part(text, part) for part in (rest if named else [name, *rest]))
    if len(parts) < len(rest) + (named is None) or (named and parts.keys() - {"order"}):
        raise _wrong(text)
    made = named or _explicit(text, parts)
    if "order" not in parts or made.channels == BGR:
        return made
    if named:  # each color keeps its own numbers
        made = dataclasses.replace(made, scale=made.scale[::-1], shift=made.shift[::-1])
    return dataclasses.replace(made, channels=BGR)


def _part(text: str, part: str) -> tuple[str, str]:
    """The name and the value of a part such as `std=128`."""
    name, _, value = (word.strip() for word in part.partition("="))
    if name not in ("mean", "std", "order") or (name == "order" and value != "bgr"):
        raise _wrong(text)
    return name, value


def _explicit(text: str, parts: Mapping[str, str]) -> Preprocessing:
    """The preprocessing that a mean and a standard deviation say."""
    if not parts.keys() & {"mean", "std"}:
        raise _wrong(text)
    try:
        given = {name: [float(number) for number in value.split(",")] for name, value in parts.items() if name != "order"}
    except ValueError:
        raise _wrong(text) from None
    mean, std = given.get("mean", [0.0]), given.get("std", [1.0])
    if {len(mean), len(std)} - {1, 3} or not all(math.isfinite(number) for number in (*mean, *std)) or min(std) <= 0:
        raise _wrong(text)
    unit = 255.0 if max(map(abs, (*mean, *std))) > 1 else 1.0
    mean, std = (values * 3 if len(values) == 1 else values for values in (mean, std))
    scale = tuple(unit / deviation for deviation in std)
    shift = tuple(-average / deviation for average, deviation in zip(mean, std, strict=True))
    return Preprocessing((0, 1, 2), scale, shift)  # type: ignore[arg-type]


def _wrong(text: str) -> InputError:
    return InputError(f"--preprocessing is {text!r}; expected one of {', '.join(PREPROCESSING)}, {SYNTAX}")


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
