"""The update rules of ports, in NumPy: each as the frameworks write it, and as it is often written wrongly."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

Rule = Callable[[np.ndarray, float], np.ndarray]  # (gradient, learning rate) -> what is added to the pixels


@dataclasses.dataclass(frozen=True)
class Update:
    """An update rule and its numbers.

    Attributes:
      rule: a key of `RULES`.
      betas: of Adam.
      epsilon: of Adam.
      inside: whether epsilon is added before the bias correction, as in TensorFlow 1 and Keras, or after it, as in the paper
        and in PyTorch.
      corrected: whether Adam corrects the bias of its moments.
      momentum: of gradient descent.
      decay: the weight decay, which is added to the gradient.
    """

    rule: str
    betas: tuple[float, float] = (0.9, 0.999)
    epsilon: float = 1e-8
    inside: bool = True
    corrected: bool = True
    momentum: float = 0.0
    decay: float = 0.0


def adam(update: Update) -> Rule:
    """Kingma & Ba 2015, algorithm 1, or as at the end of their section 2, where epsilon is added before the bias correction."""
    first: Any = 0.0
    second: Any = 0.0
    (beta1, beta2), count = update.betas, 0

    def step(gradient: np.ndarray, rate: float) -> np.ndarray:
        nonlocal first, second, count
        count += 1
        first = beta1 * first + (1 - beta1) * gradient
        second = beta2 * second + (1 - beta2) * gradient**2
        bias1, bias2 = (1 - beta1**count, 1 - beta2**count) if update.corrected else (1.0, 1.0)
        if update.inside:
            return -rate * np.sqrt(bias2) / bias1 * first / (np.sqrt(second) + update.epsilon)
        return -rate / bias1 * first / (np.sqrt(second / bias2) + update.epsilon)

    return step


def _with_velocity(
    next_velocity: Callable[[Any, np.ndarray, float], np.ndarray], change: Callable[[np.ndarray, np.ndarray, float], np.ndarray]
) -> Rule:
    """The rule of (velocity, gradient, rate) -> velocity and (velocity, gradient, rate) -> what is added to the pixels."""
    velocity: Any = 0.0

    def step(gradient: np.ndarray, rate: float) -> np.ndarray:
        nonlocal velocity
        velocity = next_velocity(velocity, gradient, rate)
        return change(velocity, gradient, rate)

    return step


def momentum(update: Update) -> Rule:
    """Keras: the velocity holds the learning rate. v = momentum v - rate g; x = x + v."""
    return _with_velocity(lambda v, g, rate: update.momentum * v - rate * g, lambda v, g, rate: v)


def torch_momentum(update: Update) -> Rule:
    """PyTorch: the learning rate multiplies the whole velocity. v = momentum v + g; x = x - rate v."""
    return _with_velocity(lambda v, g, rate: update.momentum * v + g, lambda v, g, rate: -rate * v)


def dampened(update: Update) -> Rule:
    """v = momentum v + (1 - momentum) g; x = x - rate v."""
    return _with_velocity(lambda v, g, rate: update.momentum * v + (1 - update.momentum) * g, lambda v, g, rate: -rate * v)


def nesterov(update: Update) -> Rule:
    """Keras' Nesterov momentum. v = momentum v - rate g; x = x + momentum v - rate g."""
    return _with_velocity(lambda v, g, rate: update.momentum * v - rate * g, lambda v, g, rate: update.momentum * v - rate * g)


def rmsprop(update: Update) -> Rule:
    """Keras' RMSprop with rho 0.9."""
    second: Any = 0.0

    def step(gradient: np.ndarray, rate: float) -> np.ndarray:
        nonlocal second
        second = 0.9 * second + 0.1 * gradient**2
        return -rate * gradient / np.sqrt(second + update.epsilon)

    return step


def adagrad(update: Update) -> Rule:
    """PyTorch's Adagrad."""
    total: Any = 0.0

    def step(gradient: np.ndarray, rate: float) -> np.ndarray:
        nonlocal total
        total = total + gradient**2
        return -rate * gradient / (np.sqrt(total) + update.epsilon)

    return step


RULES: dict[str, Callable[[Update], Rule]] = {
    "adam": adam,
    "momentum": momentum,
    "torch_momentum": torch_momentum,
    "dampened": dampened,
    "nesterov": nesterov,
    "rmsprop": rmsprop,
    "adagrad": adagrad,
}


def build(update: Update) -> Rule:
    """The function that makes updates, with its memory empty."""
    return RULES[update.rule](update)
