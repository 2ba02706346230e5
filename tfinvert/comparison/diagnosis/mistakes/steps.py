"""Mistakes in the learning rate and in the updates."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from tfinvert.comparison.diagnosis.mistakes.mistake import Mistake
from tfinvert.comparison.diagnosis.recipe import Recipe
from tfinvert.optimization.schedules import build_schedule

Change = Callable[[Recipe], Recipe]


def _rated(rates: Callable[[np.ndarray], np.ndarray]) -> Change:
    def change(recipe: Recipe) -> Recipe:
        changed = rates(recipe.rates)
        return recipe if np.allclose(changed, recipe.rates, rtol=1e-6, atol=0) else recipe.change(rates=changed)

    return change


def _scheduled(offset: Callable[[Recipe], int] = lambda recipe: 0, **changes: Any) -> Change:
    """The rates of another schedule, or of another step of it."""

    def change(recipe: Recipe) -> Recipe:
        schedule: Any = build_schedule(dataclasses.replace(recipe.settings, **changes))
        steps = [max(step + offset(recipe), 0) for step in range(len(recipe.rates))]
        rates = np.array([float(schedule(step) if callable(schedule) else schedule) for step in steps])
        return _rated(lambda _: rates)(recipe)

    return change


def _epoch(recipe: Recipe) -> int:
    """The steps in which the rate of an exponential schedule falls once, which ports take for an epoch."""
    return (recipe.settings.decay_steps or 0) if recipe.settings.schedule == "exponential" else 0


def _in_stairs(recipe: Recipe) -> Recipe:
    if not _epoch(recipe):
        return recipe
    falls = np.arange(len(recipe.rates)) // _epoch(recipe)
    return _rated(lambda rates: rates[0] * recipe.settings.decay_rate**falls)(recipe)


def _without_warmup(recipe: Recipe) -> Recipe:
    return _scheduled(schedule="cosine")(recipe) if recipe.settings.schedule == "warmup_cosine" else recipe


def _updated(**changes: Any) -> Change:
    return lambda recipe: recipe.change(update=dataclasses.replace(recipe.update, **changes))


def _adam(**changes: Any) -> Change:
    """Another number of Adam, where the optimizer is Adam."""
    return lambda recipe: _updated(**changes)(recipe) if recipe.update.rule == "adam" else recipe


RATES: dict[str, Change] = {
    "The learning rate is ten times as large.": _rated(lambda rates: 10 * rates),
    "The learning rate is a tenth.": _rated(lambda rates: rates / 10),
    "The learning rate is twice as large.": _rated(lambda rates: 2 * rates),
    "The learning rate is half as large.": _rated(lambda rates: rates / 2),
    "The schedule is one step late.": _scheduled(lambda recipe: -1),
    "The schedule is one step early.": _scheduled(lambda recipe: 1),
    "The schedule is one epoch (the steps of one decay) late.": _scheduled(lambda recipe: -_epoch(recipe)),
    "The schedule is one epoch (the steps of one decay) early.": _scheduled(_epoch),
    "The learning rate falls in stairs, once in each epoch, not in every step.": _in_stairs,
    "The learning rate is constant: there is no schedule.": _scheduled(schedule="constant"),
    "The warm-up is missing.": _without_warmup,
    "The schedule is a cosine.": _scheduled(schedule="cosine"),
}
MOMENTA = {
    "momentum": "as in Keras, where the velocity holds the learning rate",
    "torch_momentum": "as in PyTorch, where the learning rate multiplies the velocity",
    "dampened": "with dampening",
    "nesterov": "of Nesterov's kind",
}
UPDATES: dict[str, Change] = {
    **{f"Adam's epsilon is {value:g}.": _adam(epsilon=value) for value in (1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3)},
    **{
        f"Adam's epsilon is {value:g} and is added after the bias correction, as in PyTorch.": _adam(
            epsilon=value, inside=False
        )
        for value in (1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3)
    },
    "Adam does not correct the bias of its moments.": _adam(corrected=False),
    **{
        f"Adam's betas are {first:g} and {second:g}.": _adam(betas=(first, second))
        for first, second in ((0.9, 0.99), (0.5, 0.999), (0.9, 0.9), (0.99, 0.999), (0.9, 0.9999))
    },
    "The optimizer is plain gradient descent.": _updated(rule="momentum", momentum=0.0),
    **{
        f"The optimizer is gradient descent with momentum {momentum:g}, {words}.": _updated(rule=rule, momentum=momentum)
        for momentum in (0.9, 0.5, 0.99)
        for rule, words in MOMENTA.items()
    },
    "The optimizer is Adam.": _updated(rule="adam"),
    "The optimizer is RMSprop.": _updated(rule="rmsprop"),
    "The optimizer is Adagrad.": _updated(rule="adagrad"),
    **{f"The optimizer has a weight decay of {value:g}.": _updated(decay=value) for value in (1e-4, 5e-4, 1e-2)},
    "The pixels are clipped to 0..1 after each update.": lambda recipe: recipe.change(clip=True),
    "The pixels are never clipped.": lambda recipe: recipe.change(clip=False),
    "The target is recomputed in each step with gradients through it, and is updated like the image.": (
        lambda recipe: recipe.change(target_moves=True)
    ),
}
MISTAKES = (
    *(Mistake(cause, "learning_rates", change) for cause, change in RATES.items()),
    *(Mistake(cause, "losses", change) for cause, change in UPDATES.items()),
)
