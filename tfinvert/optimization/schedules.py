"""Learning rates over the steps, as Keras schedules."""

from __future__ import annotations

from typing import Any

import keras

from tfinvert.settings.inversion import Resolved


@keras.saving.register_keras_serializable("tfinvert")
class Constant(keras.optimizers.schedules.LearningRateSchedule):
    """The same learning rate in every step.

    Example:
      >>> float(Constant(0.01)(step=7))
      0.009999999776482582
    """

    def __init__(self, learning_rate: float):
        super().__init__()
        self.learning_rate = learning_rate

    def __call__(self, step: Any) -> Any:
        return keras.ops.convert_to_tensor(self.learning_rate, "float32")

    def get_config(self) -> dict[str, Any]:
        return {"learning_rate": self.learning_rate}


def build_schedule(settings: Resolved) -> keras.optimizers.schedules.LearningRateSchedule:
    """The learning rate by step that settings name; step 0 is the first update.

    - constant: `learning_rate` in every step;
    - exponential: it is multiplied by `decay_rate` every `decay_steps` steps (default: the whole run), continuously;
    - piecewise: it is multiplied by `decay_factors[i]` after `decay_boundaries[i]` steps;
    - cosine: it falls to `final_fraction` of it by the last step (Loshchilov & Hutter 2017, arXiv 1608.03983, one cycle);
    - warmup_cosine: it rises from 0 over `warmup_steps`, then falls along a cosine.

    Args:
      settings: `schedule` is one of these names; `presets.resolve` has chosen one where none was given.
    """
    schedules = keras.optimizers.schedules
    schedule, rate = settings.schedule, settings.learning_rate
    if schedule == "constant":
        return Constant(rate)
    if schedule == "exponential":
        return schedules.ExponentialDecay(rate, settings.decay_steps or settings.steps, settings.decay_rate)
    if schedule == "piecewise":
        # Keras' boundaries are inclusive: a boundary of 1000 changes the rate at step 1001.
        boundaries = [boundary - 1 for boundary in settings.decay_boundaries]
        return schedules.PiecewiseConstantDecay(boundaries, [rate, *(rate * factor for factor in settings.decay_factors)])
    if schedule == "cosine":
        return schedules.CosineDecay(rate, settings.steps, alpha=settings.final_fraction)
    return schedules.CosineDecay(
        0.0,
        settings.steps - settings.warmup_steps,
        alpha=settings.final_fraction,
        warmup_target=rate,
        warmup_steps=settings.warmup_steps,
    )
