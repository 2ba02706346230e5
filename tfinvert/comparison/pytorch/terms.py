"""The terms of the loss, of one image [1, H, W, 3], as the settings say."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch.nn import functional

from tfinvert.images import MEAN_COLOR
from tfinvert.settings.inversion import Resolved


def feature_error(
    settings: Resolved, features: Mapping[str, torch.Tensor], targets: Mapping[str, torch.Tensor]
) -> torch.Tensor:
    """The weighted mean over the layers of the error of their features."""
    weights = settings.layer_weights or (1.0,) * len(targets)
    loss = torch.zeros(())
    for weight, (layer, target) in zip(weights, targets.items(), strict=True):
        loss = loss + weight / len(targets) * FEATURE_LOSSES[settings.feature_loss](features[layer].float(), target)
    return loss


FEATURE_LOSSES: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "mse": lambda features, target: torch.mean((features - target) ** 2),
    "normalized": lambda features, target: torch.mean((features - target) ** 2) / torch.mean(target**2),
}


def regularization(settings: Resolved, image: torch.Tensor) -> torch.Tensor:
    """The weighted sum of the terms that look at the image alone, with the weights of the first step."""
    weights = {"tv": settings.tv_weight, "alpha_norm": settings.alpha_weight}
    loss = torch.zeros(())
    for name, weight in weights.items():
        if weight:
            loss = loss + weight * REGULARIZERS[name](settings, image)
    return loss


def strength(settings: Resolved, step: int) -> float:
    """The fraction of the regularizers' weights that is left after `step` updates."""
    return settings.regularizer_final ** min(step / settings.steps, 1.0)


def total_variation(settings: Resolved, image: torch.Tensor) -> torch.Tensor:
    """The differences between neighboring pixels, below and to the right."""
    down, right = image[:, 1:] - image[:, :-1], image[:, :, 1:] - image[:, :, :-1]
    return REDUCTIONS[settings.tv_reduction](VARIATIONS[settings.tv_kind](down, right, settings.tv_beta), image)


def alpha_norm(settings: Resolved, image: torch.Tensor) -> torch.Tensor:
    """The distance from the mean color, to the power of alpha."""
    squares = DISTANCES[settings.alpha_kind]((image - torch.tensor(MEAN_COLOR)) ** 2)
    return REDUCTIONS[settings.alpha_reduction](_power(squares, settings.alpha / 2).sum(), image)


def _power_of_lengths(down: torch.Tensor, right: torch.Tensor, beta: float) -> torch.Tensor:
    squares = functional.pad(down, (0, 0, 0, 0, 0, 1)) ** 2 + functional.pad(right, (0, 0, 0, 1)) ** 2
    return _power(squares, beta / 2).sum()


def _power(squares: torch.Tensor, exponent: float) -> torch.Tensor:
    """squares^exponent; 0 with a gradient of 0 below 1e-12."""
    nothing = squares < 1e-12
    return torch.where(nothing, 0.0, torch.where(nothing, 1.0, squares) ** exponent)


# The names of terms that are no layer's.
REGULARIZERS: dict[str, Callable[[Resolved, torch.Tensor], torch.Tensor]] = {
    "tv": total_variation,
    "alpha_norm": alpha_norm,
}
VARIATIONS: dict[str, Callable[[torch.Tensor, torch.Tensor, float], torch.Tensor]] = {
    "l1": lambda down, right, beta: down.abs().sum() + right.abs().sum(),
    "l2": lambda down, right, beta: (down**2).sum() + (right**2).sum(),
    "beta": _power_of_lengths,
}
DISTANCES: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "values": lambda squares: squares,
    "pixels": lambda squares: squares.sum(dim=-1),
}
REDUCTIONS: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "sum": lambda value, image: value,
    "mean": lambda value, image: value / image.numel(),
}
