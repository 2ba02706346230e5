"""What is measured beside the rivals: networks, layers and settings."""

from __future__ import annotations

import dataclasses
import importlib.util
from pathlib import Path
from typing import Any

from tests.bench.orders import HOMEWORK
from tfinvert.networks.network import Network
from tfinvert.settings.inversion import InversionSettings

PLAIN, DEFAULT = "plain pixels", "the default settings"


@dataclasses.dataclass(frozen=True)
class Case:
    """A row of the table.

    Attributes:
      model: a network of the zoo, or one of `exports.MODULES`.
      layer: the layer that is inverted.
      settings: `PLAIN` for Adam on plain pixels as in the homework, `DEFAULT` for what tfinvert chooses.
      pool: as for `tfinvert.load`.
    """

    model: str
    layer: str
    settings: str = PLAIN
    pool: str = "max"

    @property
    def name(self) -> str:
        return f"{self.model} {self.layer}, {self.settings}"

    @property
    def is_exported(self) -> bool:
        """Whether the network is exported from torchvision, where that is installed."""
        return self.layer == EXPORTED

    def missing(self) -> str:
        """Why the case cannot be measured here, or an empty text."""
        if self.is_exported and importlib.util.find_spec("torchvision") is None:
            return f"{self.name} needs torchvision"
        return ""

    def source(self, folder: Path) -> str:
        """What `tfinvert.load` takes; an exported network is written into the folder."""
        if not self.is_exported:
            return self.model
        from tests.bench import exports

        return str(exports.write(self.model, folder))

    def order(self, network: Network, precision: str) -> dict[str, Any]:
        """The resolved settings of an inversion, as a worker takes them."""
        if self.settings == PLAIN:
            made = InversionSettings(**HOMEWORK, layers=(self.layer,), precision=precision)
        else:
            from tfinvert.optimization import presets

            given = InversionSettings(layers=(self.layer,), precision=precision)
            made = presets.resolve(given, {self.layer: network.layer(self.layer)}, network.size)
        return dataclasses.asdict(made)


EXPORTED = "features"  # the name of the output that `exports.write` gives
# The homework's layers, and layers of other networks with plain pixels; then what a user gets who sets nothing.
CASES = (
    Case("vgg16-bn", "conv1_1", pool="avg"),
    Case("vgg16-bn", "conv3_1", pool="avg"),
    Case("vgg16-bn", "pool5", pool="avg"),
    Case("resnet18", "res2"),
    Case("alexnet", "conv3"),
    Case("squeezenet1.1", "fire5"),
    Case("resnet18", "res2", DEFAULT),
    Case("resnet18", "res4", DEFAULT),
    Case("resnet18", "res6", DEFAULT),
    Case("squeezenet1.1", "fire4", DEFAULT),
    Case("squeezenet1.1", "fire9", DEFAULT),
    Case("alexnet", "conv3", DEFAULT),
    Case("mobilenet_v2", EXPORTED),
    Case("efficientnet_b0", EXPORTED),
    Case("vit_b_16", EXPORTED),
)
