"""The graph of a request: cut to its layers, with the weights that it runs with, in the form that runs fastest."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tfinvert.images import files as images
from tfinvert.networks import names, random_weights, zoo
from tfinvert.networks import onnx as graphs
from tfinvert.networks.conversion.request import Request
from tfinvert.networks.onnx import Graph
from tfinvert.networks.preprocessing import BGR, Preprocessing, into_kernels, network_input, parse
from tfinvert.networks.structure import makes_brightness
from tfinvert.system.errors import InputError

# Photographs other than the default image, so that the statistics of random weights are not those of what is inverted.
PHOTOGRAPHS = ("chelsea", "coffee")
DEEPEST = 3  # layers that are named where others cannot be converted


def cut_graph(request: Request) -> tuple[Graph, dict[str, str]]:
    """The network of a request, cut to its layers and pooled, and layer name -> tensor, in the order [batch, channels, places].

    Random weights are not yet filled in.

    Raises:
      InputError: the file is no usable network, or a layer is not in it.
    """
    whole = graphs.tidy(graphs.with_output(_source(request), request.output))
    if parse(request.preprocessing).channels == BGR and any(makes_brightness(node, whole) for node in whole.nodes):
        raise InputError(
            f"--preprocessing is {request.preprocessing!r}, which puts blue first, and {whole.name} takes images of one "
            "channel; give one without an order, such as 0..255 or mean=...;std=..."
        )
    layers = names.resolve_layers(whole, request.layers)
    if request.size is not None:
        whole = graphs.resized(whole, request.size)
    try:
        part = graphs.settle(graphs.cut(whole, layers.values()))
    except graphs.UnsupportedError as error:
        refused = graphs.unsupported(whole)
        working = [name for name, tensor in names.layer_names(whole).items() if tensor not in refused][-DEEPEST:]
        raise InputError(f"{error}; the deepest layers that work: {', '.join(working) or 'none that has a name'}") from None
    return graphs.in_one_order(graphs.with_pooling(part, request.pool), layers)


def with_weights(request: Request, part: Graph) -> Graph:
    """The cut graph of a request with the weights that it runs with."""
    if request.weights != "random":
        return part
    return random_weights.filled(part, network_input(calibration_images(part), parse(request.preprocessing)))


def calibration_images(part: Graph) -> np.ndarray:
    """The images that random weights are calibrated on, [n, H, W, 3].

    Two photographs do for most networks. Where activations and gates multiply, as in EfficientNet, other images would be
    hundreds of times as strong at its end as these two; so it also sees their negatives, mirrors of them, and all of these with
    twice the contrast.
    """
    found = [images.load(name, part.size, "squash") for name in PHOTOGRAPHS]
    if random_weights.begins_smooth(part):
        half = part.size[1] // 2
        found += [variant for image in found for variant in (1 - image, np.roll(image[:, :, ::-1], half, axis=2))]
        found += [np.clip(2 * image - 0.5, 0, 1) for image in found]
    return np.concatenate(found).astype(np.float32)


def folded(request: Request, part: Graph, *, stems: bool = True, pools: bool = False) -> tuple[Graph, Preprocessing]:
    """The cut graph of a request, with weights, in the form that runs fastest (`graph.fold`), and how images are prepared.

    Where convolutions alone read the image, the order of its colors and their scale are in their kernels. A plain request keeps
    its kernels, but for batch norms.
    """
    if request.plain:
        return graphs.fold(part, stems=False), parse(request.preprocessing)
    part, preprocessing = into_kernels(part, parse(request.preprocessing))
    return graphs.fold(part, stems=stems, pools=pools), preprocessing


def example_input(request: Request, part: Graph, photograph: str) -> np.ndarray:
    """A photograph of scikit-image as the network's own input, [1, 3, H, W]."""
    return network_input(images.load(photograph, part.size, "squash"), parse(request.preprocessing))


def _source(request: Request) -> Graph:
    if request.file is None:
        assert request.model is not None
        return zoo.model(request.model).topology()
    return graphs.read(Path(request.file))
