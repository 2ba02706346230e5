"""The loop: loss, gradient, update."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from tfinvert.comparison.pytorch.network import TorchNetwork
from tfinvert.comparison.pytorch.optimizers import OPTIMIZERS, Backoff
from tfinvert.comparison.pytorch.parameterizations import PARAMETERIZATIONS
from tfinvert.comparison.pytorch.terms import feature_error, regularization, strength
from tfinvert.settings.inversion import Resolved

Targets = dict[str, torch.Tensor]


def gradient(
    settings: Resolved, network: TorchNetwork, targets: Targets, initial: np.ndarray, offsets: np.ndarray | None = None
) -> np.ndarray:
    """The gradient of the loss with respect to the variables, where they start, one variable after the other, [n]."""
    parameterization = PARAMETERIZATIONS[settings.parameterization](settings)
    variables = _variables(parameterization.start(torch.tensor(initial)))
    offset = None if offsets is None else torch.tensor(offsets[0])
    error, regularizers = _losses(settings, network, parameterization.image(variables), targets, offset)
    (error + regularizers).backward()
    return np.concatenate([variable.grad.numpy().ravel() for variable in variables if variable.grad is not None])


def optimize(
    settings: Resolved,
    network: TorchNetwork,
    targets: Targets,
    initial: np.ndarray,
    *,
    steps: int,
    offsets: np.ndarray | None = None,
    reduced: int = 0,
    compiled: bool = False,
) -> Iterator[tuple[float, np.ndarray | None]]:
    """The loss before each update and at the end, there with the image [1, H, W, 3].

    Args:
      settings: names the terms, the schedule (of `settings.steps` steps), the optimizer and the parameterization.
      network: image -> features.
      targets: the features to match, by layer name.
      initial: [1, H, W, 3], TensorFlow's own bytes.
      steps: the number of updates.
      offsets: [steps + 1, 2], how far the network sees the image moved in each step; None for not at all.
      reduced: the number of steps, the first ones, that are made in bfloat16.
      compiled: whether the loss goes through torch.compile.
    """
    parameterization = PARAMETERIZATIONS[settings.parameterization](settings)
    variables = _variables(parameterization.start(torch.tensor(initial)))
    optimizer = OPTIMIZERS[settings.optimizer](settings, variables)
    backoff = Backoff(optimizer, variables) if settings.backoff else None

    def evaluate(variables: list[torch.Tensor], offset: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
        return _losses(settings, network, parameterization.image(variables), targets, offset)

    function = torch.compile(evaluate) if compiled else evaluate
    for step in range(steps):
        offset = None if offsets is None else torch.tensor(offsets[step])
        with torch.autocast("cpu", torch.bfloat16, enabled=step < reduced):
            error, regularizers = function(variables, offset)
            loss = error + strength(settings, step) * regularizers
        yield float(loss.detach()), None
        for variable in variables:
            variable.grad = None
        loss.backward()
        if backoff is None:
            optimizer.step(step)
        else:
            backoff.step(step, float((error + settings.regularizer_final * regularizers).detach()))
        with torch.no_grad():
            parameterization.project(variables)
    with torch.no_grad():
        error, regularizers = evaluate(variables, None if offsets is None else torch.tensor(offsets[steps]))
        yield float(error + strength(settings, steps) * regularizers), parameterization.image(variables).numpy().copy()


def _variables(values: list[torch.Tensor]) -> list[torch.Tensor]:
    return [value.requires_grad_() for value in values]


def _losses(
    settings: Resolved, network: TorchNetwork, image: torch.Tensor, targets: Targets, offset: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """The error of the features, of the image moved down and right by `offset` in a circle, and the regularizers."""
    seen = image
    if offset is not None:
        rows, columns = ((torch.arange(side) - by) % side for side, by in zip(image.shape[1:3], offset, strict=True))
        seen = image[:, rows][:, :, columns]
    return feature_error(settings, network(seen), targets), regularization(settings, image)
