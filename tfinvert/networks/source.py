"""What a network is made from, as `Network` sees it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from tfinvert.networks.heads import Head
from tfinvert.networks.layer import Layer
from tfinvert.networks.recognition import Recognized

if TYPE_CHECKING:
    import keras

    from tfinvert.networks.conversion.request import Request


class Source(Protocol):
    """What a network is made from: an .onnx file (`OnnxFile`), a PyTorch module, or a Keras model (`KerasModel`).

    Attributes:
      name: of the network.
      size: (height, width) of its images.
      weights: where they came from, in words.
      recognized: how it takes its images, and how that is known.
      layers: every layer with a name of its own, in the order of the network.
    """

    name: str

    @property
    def size(self) -> tuple[int, int]: ...
    @property
    def weights(self) -> str: ...
    @property
    def recognized(self) -> Recognized: ...
    @property
    def layers(self) -> Mapping[str, Layer]: ...

    @property
    def head(self) -> Head:
        """Where the class scores are; raises InputError where there are none."""

    def layer(self, name: str) -> Layer:
        """A layer as it was measured after conversion; the name may be `scores`, `last`, or a tensor of an .onnx file."""

    def check(self, layers: tuple[str, ...]) -> None:
        """Raises InputError for layers that do not exist or do not fit, without a download or a conversion."""

    def prepare(self, layers: tuple[str, ...]) -> None:
        """Starts what `build` waits for; raises InputError for an unknown layer."""

    def build(self, layers: tuple[str, ...]) -> keras.Model:
        """A new model from an image to {layer name: features}."""

    def build_plain(self, layers: tuple[str, ...]) -> keras.Model:
        """The same, of Keras layers with the network's own kernels, whichever way is faster."""

    def file(self, layers: tuple[str, ...]) -> Path | None:
        """A file of the converted network in the cache, another one where features are others; None without a conversion."""

    def connections(self, layers: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
        """As `Network.connections`."""

    def provenance(self) -> dict[str, Any]:
        """What run.json says about the network."""

    def at_size(self, size: tuple[int, int]) -> Source:
        """The same for images of another size."""

    def at_precision(self, precision: str) -> Source:
        """The same in the form that a run in this precision needs."""

    def settings(self) -> dict[str, Any]:
        """The settings of a run that stand for the network."""

    @property
    def request(self) -> Request:
        """What the network is converted from."""
