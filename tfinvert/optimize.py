"""The optimisation: one tf.function step on a tf.Variable. It knows no files and no flags."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence

import keras
import numpy as np
import tensorflow as tf

from tfinvert.errors import NonFiniteLossError
from tfinvert.parameterizations import Parameterization
from tfinvert.terms import Term


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """The state before an update.

    Attributes:
      step: number of updates so far.
      loss: the weighted sum of the terms, summed over the batch.
      terms: name -> value without its weight, summed over the batch.
      learning_rate: of the update that follows.
      image: [batch, H, W, 3] as it is, not clipped; None where it was not asked for.
    """

    step: int
    loss: float
    terms: dict[str, float]
    learning_rate: float
    image: np.ndarray | None


class Optimization:
    """A picture on its way down the loss; owns the variable, the optimiser, the step and the best image.

    Args:
      model: image [batch, H, W, 3] -> features by layer name.
      terms: summands of the loss.
      parameterization: how the variable makes the image.
      initial: [batch, H, W, 3] in [0, 1].
      optimizer: a Keras optimiser with its schedule.

    Attributes:
      checkpoint: a tf.train.Checkpoint of all state; a restored optimisation goes on to the same bytes.
    """

    def __init__(
        self,
        model: keras.Model,
        terms: Sequence[Term],
        parameterization: Parameterization,
        initial: np.ndarray,
        optimizer: keras.optimizers.Optimizer,
    ):
        self._model = model
        self._terms = tuple(terms)
        self._parameterization = parameterization
        self._variable = tf.Variable(parameterization.from_image(initial), name="pixels")
        self._optimizer = optimizer
        optimizer.build([self._variable])
        self._best = tf.Variable(initial, trainable=False, name="best_image")
        self._best_losses = tf.Variable(tf.fill([len(initial)], np.float32(np.inf)), trainable=False, name="best_losses")
        self._step_count = tf.Variable(0, trainable=False, dtype=tf.int64, name="step")
        self.checkpoint = tf.train.Checkpoint(
            pixels=self._variable,
            optimizer=optimizer,
            best_image=self._best,
            best_losses=self._best_losses,
            step=self._step_count,
        )
        # Traced once per object, so that a model can be optimised again with other terms.
        self._update = tf.function(self._update_once)
        self._evaluate = tf.function(self._losses)

    @property
    def step(self) -> int:
        """Number of updates so far."""
        return int(self._step_count)

    def image(self) -> np.ndarray:
        """The current image, [batch, H, W, 3], not clipped."""
        return self._parameterization.image(self._variable).numpy()

    def best_image(self) -> np.ndarray:
        """The image of the lowest loss so far, each picture of the batch by itself."""
        return self._best.numpy()

    def gradient(self) -> tf.Tensor:
        """The loss' gradient with respect to the variable, where it is now; nothing is updated."""
        return tf.function(self._differentiate)()[2]

    def run(self, steps: int, image_every: int = 1) -> Iterator[Snapshot]:
        """Updates until `steps` updates have been made in all, giving the state before each; then the last state.

        A consumer that stops between two snapshots finds the state of the updates made so far, ready to checkpoint.

        Args:
          steps: in all, those before a restore included.
          image_every: snapshots whose step is a multiple of it, and the last, carry the image.

        Raises:
          NonFiniteLossError: at the first step whose loss is NaN or infinite.
        """
        for step in range(self.step, steps):
            image = self.image() if step % image_every == 0 else None
            values, rate = self._update()
            yield self._snapshot(step, values, float(rate), image)
        losses, values = self._evaluate(self._image_tensor())
        self._keep_best(losses, self._image_tensor())
        yield self._snapshot(self.step, values, self._rate(), self.image())

    def _rate(self) -> float:
        return float(tf.convert_to_tensor(self._optimizer.learning_rate))

    def _snapshot(self, step: int, values: dict[str, tf.Tensor], rate: float, image: np.ndarray | None) -> Snapshot:
        terms = {name: float(value) for name, value in values.items()}
        loss = terms.pop("loss")
        if not math.isfinite(loss):
            raise NonFiniteLossError(step, loss)
        return Snapshot(step, loss, terms, rate, image)

    def _image_tensor(self) -> tf.Tensor:
        # A bare tf.Variable is no valid input of a TFSMLayer.
        return self._parameterization.image(tf.convert_to_tensor(self._variable))

    def _losses(self, image: tf.Tensor) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """The loss of each picture, and the logged sums over the batch."""
        features = self._model(image, training=False)
        values = {term.name: term.value(image, features) for term in self._terms}
        losses = tf.add_n([term.weight * values[term.name] for term in self._terms])
        return losses, {"loss": tf.reduce_sum(losses), **{name: tf.reduce_sum(v) for name, v in values.items()}}

    def _differentiate(self) -> tuple[tf.Tensor, dict[str, tf.Tensor], tf.Tensor, tf.Tensor]:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(self._variable)
            image = self._image_tensor()
            losses, values = self._losses(image)
            total = tf.reduce_sum(losses)
        return losses, values, tape.gradient(total, self._variable), image

    def _update_once(self) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
        losses, values, gradient, image = self._differentiate()
        self._keep_best(losses, image)
        rate = tf.convert_to_tensor(self._optimizer.learning_rate)
        self._optimizer.apply([gradient], [self._variable])
        if self._parameterization.project is not None:
            self._variable.assign(self._parameterization.project(self._variable))
        self._step_count.assign_add(1)
        return values, rate

    def _keep_best(self, losses: tf.Tensor, image: tf.Tensor) -> None:
        better = losses < self._best_losses  # False for NaN

        def keep() -> tf.Tensor:
            self._best.assign(tf.where(better[:, None, None, None], image, self._best))
            self._best_losses.assign(tf.where(better, losses, self._best_losses))
            return tf.constant(True)

        tf.cond(tf.reduce_any(better), keep, lambda: tf.constant(False))
