"""Learning rates over the steps, as Keras schedules."""

import keras

from tfinvert.settings.config import Config, DecoderConfig


def schedule(config: Config) -> keras.optimizers.schedules.LearningRateSchedule | float:
    """The schedule that a config names, `auto` being resolved (`presets.at_depth`); step 0 is the first update.

    - constant: `learning_rate`;
    - exponential: times `decay_rate` every `decay_steps` steps (default: the whole run), continuously;
    - piecewise: times `decay_factors[i]` after `decay_boundaries[i]` steps;
    - cosine: down to `final_fraction` of it by the last step (Loshchilov & Hutter 2017, arXiv 1608.03983, one cycle);
    - warmup_cosine: from 0 up over `warmup_steps`, then cosine.
    """
    schedules = keras.optimizers.schedules
    rate = config.learning_rate
    if config.schedule == "constant":
        return rate
    if config.schedule == "exponential":
        return schedules.ExponentialDecay(rate, config.decay_steps or config.steps, config.decay_rate)
    if config.schedule == "piecewise":
        # Keras' boundaries are inclusive: a boundary of 1000 changes the rate at step 1001.
        boundaries = [boundary - 1 for boundary in config.decay_boundaries]
        return schedules.PiecewiseConstantDecay(boundaries, [rate, *(rate * factor for factor in config.decay_factors)])
    if config.schedule == "cosine":
        return schedules.CosineDecay(rate, config.steps, alpha=config.final_fraction)
    return schedules.CosineDecay(
        0.0,
        config.steps - config.warmup_steps,
        alpha=config.final_fraction,
        warmup_target=rate,
        warmup_steps=config.warmup_steps,
    )


def decoder_rate(config: DecoderConfig, steps_per_epoch: int) -> keras.optimizers.schedules.LearningRateSchedule:
    """Halved every `halve_every` epochs, as the published decoders were trained; where that is 0, down a cosine to 0."""
    if config.halve_every:
        steps = config.halve_every * steps_per_epoch
        return keras.optimizers.schedules.ExponentialDecay(config.learning_rate, steps, 0.5, staircase=True)
    return keras.optimizers.schedules.CosineDecay(config.learning_rate, config.epochs * steps_per_epoch)
