"""The optimizers and their learning rates."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

import torch

from tfinvert.settings.inversion import Resolved


def learning_rate(settings: Resolved, step: int) -> float:
    """The rate of the update after `step` updates."""
    return SCHEDULES[settings.schedule](settings, step)


def _exponential(settings: Resolved, step: int) -> float:
    return settings.learning_rate * settings.decay_rate ** (step / (settings.decay_steps or settings.steps))


def _piecewise(settings: Resolved, step: int) -> float:
    passed = sum(step >= boundary for boundary in settings.decay_boundaries)
    return settings.learning_rate * (1.0, *settings.decay_factors)[passed]


def _cosine(settings: Resolved, step: int, before: int = 0) -> float:
    progress = min((step - before) / (settings.steps - before), 1.0)
    falling = 0.5 * (1 + math.cos(math.pi * progress))
    return settings.learning_rate * (settings.final_fraction + (1 - settings.final_fraction) * falling)


def _warmup_cosine(settings: Resolved, step: int) -> float:
    if step < settings.warmup_steps:
        return settings.learning_rate * step / settings.warmup_steps
    return _cosine(settings, step, settings.warmup_steps)


SCHEDULES: dict[str, Callable[[Resolved, int], float]] = {
    "constant": lambda settings, step: settings.learning_rate,
    "exponential": _exponential,
    "piecewise": _piecewise,
    "cosine": _cosine,
    "warmup_cosine": _warmup_cosine,
}


class Optimizer(Protocol):
    """Changes variables in place, by their gradients."""

    def step(self, step: int) -> None:
        """Makes the update after `step` updates."""

    def moments(self) -> list[torch.Tensor]:
        """The memory of earlier gradients."""


class Adam:
    """PyTorch's Adam with TensorFlow's epsilon.

    TensorFlow adds epsilon to the root of the second moment before its bias is corrected, PyTorch after (Kingma & Ba 2015,
    section 2 and algorithm 1). With gradients of 1e-7 the two are different optimizers.
    """

    def __init__(self, settings: Resolved, variables: list[torch.Tensor]):
        self.settings = settings
        betas = (0.9, settings.beta_2)
        self.adam = torch.optim.Adam(variables, lr=settings.learning_rate, betas=betas, eps=settings.epsilon, fused=True)

    def step(self, step: int) -> None:
        """Makes the update after `step` updates."""
        epsilon = self.settings.epsilon / math.sqrt(1 - self.settings.beta_2 ** (step + 1))
        self.adam.param_groups[0].update(lr=learning_rate(self.settings, step), eps=epsilon)
        self.adam.step()

    def moments(self) -> list[torch.Tensor]:
        """The memory of earlier gradients."""
        return [moment for state in self.adam.state.values() for moment in (state["exp_avg"], state["exp_avg_sq"])]


class Momentum:
    """Gradient descent with momentum. Keras keeps the rate inside the momentum, PyTorch outside."""

    def __init__(self, settings: Resolved, variables: list[torch.Tensor]):
        self.settings, self.variables = settings, variables
        self.velocities = [torch.zeros_like(variable) for variable in variables]

    def step(self, step: int) -> None:
        """Makes the update after `step` updates."""
        rate, changed = _rate_and_change(self.settings, step)
        with torch.no_grad():
            for variable, velocity in zip(self.variables, self.velocities, strict=True):
                assert variable.grad is not None
                if changed and self.settings.momentum_reset:
                    velocity.zero_()
                velocity.mul_(self.settings.momentum).sub_(rate * variable.grad)
                variable += velocity

    def moments(self) -> list[torch.Tensor]:
        """The memory of earlier gradients."""
        return self.velocities


class NormalizedMomentum:
    """The update rule of Mahendran & Vedaldi 2016, section 4, in gray levels."""

    def __init__(self, settings: Resolved, variables: list[torch.Tensor]):
        self.settings, self.variables = settings, variables
        self.velocities = [torch.zeros_like(variable) for variable in variables]
        self.squares = [torch.zeros_like(variable) for variable in variables]

    def step(self, step: int) -> None:
        """Makes the update after `step` updates."""
        rate, changed = _rate_and_change(self.settings, step)
        with torch.no_grad():
            for variable, velocity, squares in zip(self.variables, self.velocities, self.squares, strict=True):
                assert variable.grad is not None
                if changed:
                    velocity.zero_()
                squares.mul_(0.9).add_(variable.grad**2)
                velocity.mul_(0.9).sub_(variable.grad / (1 / rate + 255 * squares.sqrt()))
                variable += velocity

    def moments(self) -> list[torch.Tensor]:
        """The memory of earlier gradients."""
        return [*self.velocities, *self.squares]


OPTIMIZERS: dict[str, Callable[[Resolved, list[torch.Tensor]], Optimizer]] = {
    "adam": Adam,
    "sgd": Momentum,
    "mv2016": NormalizedMomentum,
}


def _rate_and_change(settings: Resolved, step: int) -> tuple[float, bool]:
    """The rate of the update after `step` updates, and whether it is another than the rate of the one before."""
    rate = learning_rate(settings, step)
    return rate, rate != learning_rate(settings, max(step - 1, 0))


class Backoff:
    """An optimizer that goes back to the best variables where the loss is four times its lowest, at half the step size."""

    def __init__(self, optimizer: Optimizer, variables: list[torch.Tensor]):
        self.optimizer, self.variables = optimizer, variables
        self.best, self.lowest, self.scale = [variable.detach().clone() for variable in variables], math.inf, 1.0

    def step(self, step: int, loss: float) -> None:
        """Makes the update after `step` updates, before which the loss, with the weights of the last step, is `loss`."""
        diverged = not loss <= 4 * self.lowest  # NaN as well
        before = [variable.detach().clone() for variable in self.variables]
        if loss < self.lowest:
            self.best, self.lowest = before, loss
        self.optimizer.step(step)
        with torch.no_grad():
            if diverged:
                self.scale /= 2
                for moment in self.optimizer.moments():
                    moment.zero_()
            for variable, old, best in zip(self.variables, before, self.best, strict=True):
                if diverged:
                    variable.copy_(best)
                elif self.scale < 1:
                    variable.copy_(old + self.scale * (variable - old))
