"""LPIPS: how different two images look, by the features of a trained network (Zhang et al. 2018, arXiv 1801.03924)."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from tfinvert.metrics.inputs import image_pair
from tfinvert.system.errors import InputError


class FeatureNetwork(Protocol):
    """What `lpips` needs of a `tfinvert.Network`."""

    name: str

    @property
    def size(self) -> tuple[int, int]: ...
    @property
    def layers(self) -> Mapping[str, Any]: ...
    def at_size(self, size: tuple[int, int]) -> Any: ...
    def features(self, image: Any, layers: Any) -> Mapping[str, Any]: ...


class Trunk(NamedTuple):
    """A network that LPIPS has weights for.

    Attributes:
      layers: the layers that are compared, after their ReLU.
      channels: of each.
      mean: of the first layer's features of `_probe`, with torchvision's weights and preprocessing.
    """

    layers: tuple[str, ...]
    channels: tuple[int, ...]
    mean: float


TRUNKS = {
    "alex": Trunk(("conv1", "conv2", "conv3", "conv4", "conv5"), (64, 192, 384, 256, 256), 1.11775),
    "squeeze": Trunk(
        ("conv1", "fire3", "fire5", "fire6", "fire7", "fire8", "fire9"), (64, 128, 256, 384, 384, 512, 512), 0.50797
    ),
}
PROBE_SIZE = (64, 64)


def lpips(image: Any, target: Any, network: FeatureNetwork) -> float:
    """The LPIPS distance, version 0.1, of two images in [0, 1]; 0 where they are equal.

    sum over layers of the mean over places of w . (f / |f| - f0 / |f0|)^2, where f and f0 are the features at one place and w
    the weights of the `lpips` package for each channel, which were fitted to the judgments of people.

    Args:
      image: [H, W, 3], at least 64 pixels a side.
      target: the target image, of the same shape.
      network: torchvision's trained AlexNet or SqueezeNet 1.1, as `tfinvert.load` gives it; the part up to conv5 or
        fire9 will do.

    Raises:
      InputError: the network is another one or has other weights; or the packages `lpips` and `torch` are not installed.
      ValueError: the shapes differ.

    Example:
      >>> network = tfinvert.load("alexnet.onnx")  # doctest: +SKIP
      >>> lpips(result.image, target, network)  # doctest: +SKIP
      0.213
    """
    first, second = (value.astype(np.float32) for value in image_pair(image, target))
    if first.ndim != 3:
        raise InputError(f"an image of shape {first.shape}; expected [H, W, 3]")
    kind = _kind(network)
    trunk, total = TRUNKS[kind], 0.0
    features = network.at_size((first.shape[0], first.shape[1])).features(np.stack([first, second]), trunk.layers)
    for layer, weights in zip(trunk.layers, _weights(kind), strict=True):
        values = np.asarray(features[layer], np.float64)
        values /= np.sqrt(np.sum(values**2, axis=-1, keepdims=True)) + 1e-10
        total += float(np.mean(np.sum(weights * (values[0] - values[1]) ** 2, axis=-1)))
    return total


def _kind(network: FeatureNetwork) -> str:
    """Which trunk a network is; raises InputError for one that has no weights of LPIPS."""
    for kind, trunk in TRUNKS.items():
        shapes = [network.layers[name].shape[-1] if name in network.layers else 0 for name in trunk.layers]
        if tuple(shapes) == trunk.channels:
            features = network.at_size(PROBE_SIZE).features(_probe(), trunk.layers[:1])
            mean = float(np.mean(np.asarray(features[trunk.layers[0]])))
            if abs(mean - trunk.mean) > 1e-3 * trunk.mean:
                break
            return kind
    raise InputError(
        f"{network.name} is not what LPIPS was fitted to; expected torchvision's AlexNet or SqueezeNet 1.1 with its trained "
        "weights (IMAGENET1K_V1) and preprocessing"
    )


def _probe() -> np.ndarray:
    """An image whose features tell one training from another."""
    y, x = np.mgrid[0 : PROBE_SIZE[0], 0 : PROBE_SIZE[1]] / PROBE_SIZE[0]
    return np.stack([x, y, (1 + np.sin(20 * x * y)) / 2], axis=-1).astype(np.float32)


@cache
def _weights(kind: str) -> tuple[np.ndarray, ...]:
    """The weights of each layer, [channels], from the files in the `lpips` package, which itself is not imported."""
    package = importlib.util.find_spec("lpips")
    if package is None or package.origin is None or importlib.util.find_spec("torch") is None:
        raise InputError("LPIPS needs the packages lpips and torch: pip install lpips torch (the extra `lpips`)")
    import torch

    path = Path(package.origin).parent / "weights" / "v0.1" / f"{kind}.pth"
    state = torch.load(path, map_location="cpu", weights_only=True)
    return tuple(state[f"lin{number}.model.1.weight"].numpy().reshape(-1) for number in range(len(TRUNKS[kind].layers)))
