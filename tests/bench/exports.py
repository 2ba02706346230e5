"""Networks of torchvision up to their middle, with random weights: as .onnx files, and as the modules that rival them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from torch import nn

from tfinvert.networks.preprocessing import Preprocessing, parse

SIDE = 224
DEEP = {"mobilenet_v2": 8, "efficientnet_b0": 5, "vit_b_16": 2}  # modules of `features`, or blocks of the transformer


class Transformer(nn.Module):
    """The first blocks of a vision transformer: an image -> [batch, tokens, width]."""

    def __init__(self, whole: Any, blocks: int):
        super().__init__()
        self.whole, self.blocks = whole, nn.Sequential(*list(whole.encoder.layers)[:blocks])

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        tokens = self.whole.conv_proj(image).flatten(2).transpose(1, 2)
        first = self.whole.class_token.expand(tokens.shape[0], -1, -1)
        return self.blocks(torch.cat([first, tokens], dim=1) + self.whole.encoder.pos_embedding)


def module(name: str) -> nn.Module:
    """A network up to its middle, ready for inference; the same weights every time."""
    torch.manual_seed(0)
    whole = torchvision.models.get_model(name, weights=None).eval()
    part = Transformer(whole, DEEP[name]) if name.startswith("vit") else whole.features[: DEEP[name]]
    return part.requires_grad_(requires_grad=False)


def write(name: str, folder: Path) -> Path:
    """The .onnx file of a network, whose only output is `features`."""
    path = folder / f"{name}.onnx"
    if not path.exists():
        image = torch.zeros(1, 3, SIDE, SIDE)
        torch.backends.mha.set_fastpath_enabled(False)  # The exporter does not know attention as one operation.
        torch.onnx.export(module(name), (image,), str(path), dynamo=False, output_names=["features"])
    return path


class ModuleNetwork:
    """A module as a function from an image [batch, H, W, 3] to features, as `TorchNetwork` is one of a graph."""

    def __init__(self, name: str, layer: str, channels_last: bool):
        from torch.fx.experimental.optimization import fuse

        part = module(name)
        part = part if name.startswith("vit") else fuse(part).requires_grad_(requires_grad=False)  # batch norms folded
        self.layer, self.format = layer, torch.channels_last if channels_last else torch.contiguous_format
        self.part: Callable[..., torch.Tensor] = part.to(memory_format=self.format)
        prepare: Preprocessing = parse("torch")
        self.scale, self.shift = torch.tensor(prepare.scale), torch.tensor(prepare.shift)

    def __call__(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        value = self.part((image * self.scale + self.shift).permute(0, 3, 1, 2).contiguous(memory_format=self.format))
        return {self.layer: value.permute(0, 2, 3, 1) if value.ndim == 4 else value}

    def features(self, image: np.ndarray) -> dict[str, torch.Tensor]:
        with torch.no_grad():
            return {name: value.clone() for name, value in self(torch.tensor(image)).items()}
