"""The networks that style transfer needs: one for each size of picture, from coarse to fine."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import TYPE_CHECKING

from tfinvert.images import files as images
from tfinvert.networks.conversion.convert import Conversion, request_for
from tfinvert.settings.config import StyleConfig

if TYPE_CHECKING:
    from tfinvert.networks.network import Network


class Scale:
    """One size of the content, and the networks for it and for the style pictures; they are converted at the same time.

    Attributes:
      size: (height, width) of the content.
      style_sizes: of each style picture.
    """

    def __init__(self, config: StyleConfig, halvings: int, stack: contextlib.ExitStack):
        """Starts the conversions; `halvings` of the sides of the config make this scale. Raises InputError."""
        self.size = images.proportional_size(config.image, config.side >> halvings)
        style_side = config.style_side >> halvings
        self.style_sizes = [images.proportional_size(source, style_side) for source in config.style_images]
        layers = tuple(dict.fromkeys((*config.layers, *config.style_layers)))
        self._conversions: dict[tuple[int, int], Conversion] = {}
        for size in (self.size, *self.style_sizes):
            if size not in self._conversions:
                request = dataclasses.replace(request_for(config, layers), size=size)
                self._conversions[size] = stack.enter_context(Conversion(request))
        self.request = self._conversions[self.size].request
        self._name = config.network_name()

    def network(self, size: tuple[int, int]) -> Network:
        """The network for pictures of a size."""
        from tfinvert.networks.network import load  # imports TensorFlow

        return load(self._conversions[size].result(), self._name)


def scales(config: StyleConfig, stack: contextlib.ExitStack) -> list[Scale]:
    """The scales of a run, from coarse to fine, their conversions under way; raises InputError."""
    return [Scale(config, halvings, stack) for halvings in reversed(range(config.scales))]
