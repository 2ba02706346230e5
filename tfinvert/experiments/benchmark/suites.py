"""What a benchmark has where nothing is said, and which layers `--layers` stands for."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tfinvert.networks.network import Network


@dataclasses.dataclass(frozen=True)
class Suite:
    """What a benchmark has where nothing is said: networks, layers, methods, the number and the pixels of photographs.

    Without a `size`, each network has its own.
    """

    networks: tuple[str, ...]
    layers: tuple[str, ...]
    methods: tuple[str, ...]
    photographs: int | None
    size: tuple[int, int] | None


STRIDES, ALL = "strides", "all"  # values of --layers
SUITES = {
    "small": Suite(("resnet18", "squeezenet1.1"), (STRIDES,), ("auto", "mv2015", "mv2016", "homework"), 4, (112, 112)),
    "full": Suite(("resnet18", "squeezenet1.1", "alexnet", "vgg16-bn"), (ALL,), ("own",), None, None),
}
SHALLOWEST = 4  # stride of the first of `STRIDES`; before it every method finds the image


def choose_layers(network: Network, chosen: Sequence[str]) -> tuple[str, ...]:
    """The layers of a network that `--layers` stands for, in the network's order. None for a network that has none of them."""
    from tfinvert.experiments.sweep import distinct

    if tuple(chosen) == (ALL,):
        return distinct(network)
    if tuple(chosen) == (STRIDES,):
        last: dict[int, str] = {}
        for name in distinct(network):
            stride = network.layers[name].stride
            if stride is not None and max(stride) >= SHALLOWEST:
                last[max(stride)] = name
        return tuple(last.values())
    return tuple(name for name in chosen if name in network.layers)
