"""List the layers of a network: names, shapes, receptive fields, and their error against onnxruntime.

Example:
  >>> import tfinvert
  >>> tfinvert.layers(network="resnet18", layers="res2").rows[0].shape
  (56, 56, 64)
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar

from tfinvert.experiments.invert import Settings as InvertSettings
from tfinvert.settings.fields import Settings as AnySettings
from tfinvert.settings.fields import define, setting
from tfinvert.settings.groups import HomeworkNetworkSettings

if TYPE_CHECKING:
    from tfinvert.networks.layer import Layer
    from tfinvert.networks.network import Network


@define
class Settings(HomeworkNetworkSettings):
    """The layers"""

    positional: ClassVar[tuple[str, ...]] = ("network", "layers")
    ignores: ClassVar[tuple[type[AnySettings], ...]] = (InvertSettings,)
    needs_tensorflow = False
    layers: tuple[str, ...] = setting(default=(), doc="The layers to list, separated by commas. Default: all that have a name.")


@dataclasses.dataclass(frozen=True)
class LayersResult:
    """The layers of a network.

    Attributes:
      title: the network, its weights, and how it is used.
      rows: the layers, in the order of the network.
    """

    title: str
    rows: tuple[Layer, ...]

    def summary(self) -> str:
        """The table: name, tensor in the .onnx file, shape, stride, receptive field, largest relative error."""
        cells = [("layer", "ONNX tensor", "shape", "stride", "receptive field", "error against onnxruntime")]
        cells += [
            (
                layer.name,
                layer.tensor,
                _times(layer.shape),
                _times(layer.stride) if layer.stride else "-",
                _times(layer.receptive_field) if layer.receptive_field else "whole image",
                "-" if layer.error is None else f"{layer.error:.1e}",
            )
            for layer in self.rows
        ]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
        return "\n".join([self.title, *lines])


def prepare(settings: Settings, network: Network) -> None:
    """Starts the conversion to all layers at once."""
    network.prepare(settings.layers or network.layers)


def run(settings: Settings, network: Network) -> LayersResult:
    """Lists the layers of the network."""
    names = settings.layers or tuple(network.layers)
    rows = tuple(network.layer(name) for name in names)
    about = f"images of {_times(network.size)}, {settings.pool} pooling, preprocessing {network.preprocessing}"
    return LayersResult(f"{settings.onnx or network.name}: {network.weights}\n{about}", rows)


def _times(numbers: tuple[int, ...]) -> str:
    return "x".join(map(str, numbers))
