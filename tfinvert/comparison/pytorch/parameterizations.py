"""The image [1, H, W, 3] as a function of variables."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional

from tfinvert.images import COLOR_CORRELATION, MEAN_COLOR
from tfinvert.settings.inversion import Resolved

Variables = list[torch.Tensor]


@dataclasses.dataclass(frozen=True)
class TorchParameterization:
    """How variables make an image.

    Attributes:
      start: image -> the variables' values.
      image: variables -> image.
      project: changes the variables in place after each step.
    """

    start: Callable[[torch.Tensor], Variables]
    image: Callable[[Variables], torch.Tensor]
    project: Callable[[Variables], object] = lambda variables: None


def pixels(settings: Resolved) -> TorchParameterization:
    """The pixels themselves, unconstrained."""
    return TorchParameterization(lambda image: [image], _first)


def clipped_pixels(settings: Resolved) -> TorchParameterization:
    """The pixels, clipped to [0, 1] after each step."""
    return TorchParameterization(lambda image: [image], _first, lambda variables: variables[0].clamp_(0, 1))


def bounded_pixels(settings: Resolved) -> TorchParameterization:
    """The pixels, each drawn back into a ball of 160 gray levels around the mean color after each step."""

    def project(variables: Variables) -> None:
        mean = torch.tensor(MEAN_COLOR)
        length = (variables[0] - mean).norm(dim=-1, keepdim=True).clamp(min=1e-12)
        variables[0].copy_(mean + (variables[0] - mean) * (160 / 255 / length).clamp(max=1))

    return TorchParameterization(lambda image: [image], _first, project)


def logits(settings: Resolved) -> TorchParameterization:
    """The logits of the pixels."""
    return TorchParameterization(lambda image: [_logit(image)], lambda variables: torch.sigmoid(variables[0]))


def pyramid(settings: Resolved) -> TorchParameterization:
    """A sum of images of falling resolution, in decorrelated colors, clipped to [0, 1]; the finest comes first."""

    def image(variables: Variables) -> torch.Tensor:
        with torch.autocast("cpu", enabled=False):
            return _Clipped.apply(0.5 + _sum_of_levels(variables))

    return TorchParameterization(lambda image: _levels(settings, image - 0.5), image)


def sigmoid_pyramid(settings: Resolved) -> TorchParameterization:
    """The same, with a sigmoid in place of the clipping."""

    def image(variables: Variables) -> torch.Tensor:
        with torch.autocast("cpu", enabled=False):
            return torch.sigmoid(4 * _sum_of_levels(variables))

    return TorchParameterization(lambda image: _levels(settings, _logit(image) / 4), image)


PARAMETERIZATIONS: dict[str, Callable[[Resolved], TorchParameterization]] = {
    "free": pixels,
    "clip": clipped_pixels,
    "bounded": bounded_pixels,
    "sigmoid": logits,
    "pyramid": pyramid,
    "sigmoid_pyramid": sigmoid_pyramid,
}


def _first(variables: Variables) -> torch.Tensor:
    return variables[0]


def _logit(image: torch.Tensor) -> torch.Tensor:
    return torch.logit(image.clamp(1e-3, 1 - 1e-3))


def _levels(settings: Resolved, around: torch.Tensor) -> Variables:
    """The images of a pyramid whose sum is `around`: the finest has all of it, the others are 0."""
    size = around.shape[1:3]
    levels = [level for level in range(settings.pyramid_levels + 1) if 2**level < 2 * max(size)]
    images = [torch.zeros(1, *(math.ceil(side / 2**level) for side in size), 3) for level in levels]
    images[0] = torch.linalg.solve(torch.tensor(COLOR_CORRELATION), around[..., None])[..., 0] / _level_weights(images)[0]
    return images


def _sum_of_levels(levels: Variables) -> torch.Tensor:
    """The weighted sum of a pyramid's images, each enlarged to the size of the next finer one, in RGB."""
    weights = _level_weights(levels)
    total = weights[-1] * levels[-1]
    for finer, weight in zip(levels[-2::-1], weights[-2::-1], strict=True):
        total = functional.interpolate(total.permute(0, 3, 1, 2), size=finer.shape[1:3], mode="bilinear")
        total = total.permute(0, 2, 3, 1) + weight * finer
    return total @ torch.tensor(COLOR_CORRELATION).T


def _level_weights(levels: Variables) -> list[float]:
    """The weights of a pyramid's images: each is the root of two times the one before; they sum to 2."""
    rising = [math.sqrt(2) ** level for level in range(len(levels))]
    return [2 * weight / sum(rising) for weight in rising]


class _Clipped(torch.autograd.Function):
    """[0, 1], with the gradient of the identity wherever descending it does not lead further out."""

    @staticmethod
    def forward(ctx: Any, image: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(image)
        return image.clamp(0, 1)

    @staticmethod
    def backward(ctx: Any, *upstream: torch.Tensor) -> torch.Tensor:
        (image,), (gradient,) = ctx.saved_tensors, upstream
        return torch.where(((image < 0) & (gradient > 0)) | ((image > 1) & (gradient < 0)), 0.0, gradient)
