"""Backing off: what happens to an image whose loss has jumped up."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from tfinvert.optimization.state import State

DIVERGED = 4.0  # times the lowest loss so far


def back_off(state: State, before: Sequence[tf.Tensor], losses: tf.Tensor, lowest: tf.Tensor) -> None:
    """Corrects the update that has just been made, for each image by itself.

    x <- x' + scale (x - x') with the values x' before the update. Where the loss is not finite or above four times the lowest,
    x <- the best values, scale <- scale / 2, and the moments of the optimizer are zeroed, since they lead away from there.

    Args:
      state: after the update.
      before: x', the values of its variables before the update.
      losses: the losses of x', [batch].
      lowest: the lowest losses before x', [batch].
    """
    scale, optimizer = state.scale, state.optimizer
    assert scale is not None
    assert optimizer is not None
    diverged = tf.logical_not(losses <= DIVERGED * lowest)  # True for NaN

    def correct() -> tf.Tensor:
        scale.assign(tf.where(diverged, 0.5 * scale, scale))
        for variable, old, best in zip(state.variables, before, state.best, strict=True):
            factor = per_image(scale, old)
            part = tf.where(factor == 1, variable, old + factor * (variable - old))
            variable.assign(tf.where(per_image(diverged, old), best, part))
        for slot in optimizer.variables:
            if any(slot.shape == variable.shape for variable in state.variables):
                slot.assign(tf.where(per_image(diverged, slot), 0.0, slot))
        return tf.constant(True)

    # It is hardly ever necessary, and it reads every value several times.
    tf.cond(tf.reduce_any(diverged) | tf.reduce_any(scale < 1), correct, lambda: tf.constant(False))


def per_image(values: tf.Tensor, variable: tf.Tensor) -> tf.Tensor:
    """[batch] in a shape that broadcasts to a variable [batch, ...]; for a batch of one, to any variable."""
    return tf.reshape(values, [-1] + [1] * (len(variable.shape) - 1))
