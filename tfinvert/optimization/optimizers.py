"""The optimizers: Keras' own, the rules of Mahendran & Vedaldi, and what is needed to call SciPy's L-BFGS."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
import tensorflow as tf

from tfinvert.optimization.schedules import schedule
from tfinvert.settings.config import Config

GREY_LEVEL = 1 / 255


class Adam(keras.optimizers.Adam):
    """Keras' Adam (Kingma & Ba 2015), whose update is one operation instead of a dozen passes over the pixels."""

    def update_step(self, gradient: tf.Tensor, variable: Any, learning_rate: tf.Tensor) -> None:
        index = self._get_variable_index(variable)
        updates = tf.cast(tf.convert_to_tensor(self.iterations) + 1, tf.float32)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[index].value.handle,
            v=self._velocities[index].value.handle,
            beta1_power=tf.pow(self.beta_1, updates),
            beta2_power=tf.pow(self.beta_2, updates),
            lr=learning_rate,
            beta1=self.beta_1,
            beta2=self.beta_2,
            epsilon=self.epsilon,
            grad=gradient,
        )


class MomentumSGD(keras.optimizers.SGD):
    """Gradient descent with momentum that is zeroed when the learning rate changes (Mahendran & Vedaldi 2015)."""

    def update_step(self, gradient: tf.Tensor, variable: Any, learning_rate: tf.Tensor) -> None:
        velocity = self.momentums[self._get_variable_index(variable)]
        velocity.assign(velocity * _unless_changed(self))
        super().update_step(gradient, variable, learning_rate)


class NormalizedMomentum(keras.optimizers.Optimizer):
    """The update rule of Mahendran & Vedaldi 2016, like AdaGrad with a memory that fades.

    G <- decay G + g^2; d <- decay d - g / (1 / rate + sqrt(G)); x <- x + d, in grey levels: x, d and 1/g there are 255 times
    what they are here, so that the rate is 255^2 times that of an image in [0, 1]. d is zeroed when the rate changes.

    Args:
      learning_rate: for images in [0, 1].
      decay: of both memories.
    """

    def __init__(self, learning_rate: Any, decay: float = 0.9):
        super().__init__(learning_rate=learning_rate, name="normalized_momentum")
        self.decay = decay

    def build(self, variables: list[Any]) -> None:
        if self.built:
            return
        super().build(variables)
        self._squares = [self.add_variable_from_reference(v, name="squares") for v in variables]
        self._velocities = [self.add_variable_from_reference(v, name="velocity") for v in variables]

    def update_step(self, gradient: tf.Tensor, variable: Any, learning_rate: tf.Tensor) -> None:
        index = self._get_variable_index(variable)
        squares, velocity = self._squares[index], self._velocities[index]
        squares.assign(self.decay * squares + tf.square(gradient))
        step = gradient / (1 / learning_rate + tf.sqrt(squares) / GREY_LEVEL)
        velocity.assign(self.decay * velocity * _unless_changed(self) - step)
        variable.assign(variable + velocity)


def _unless_changed(optimizer: keras.optimizers.Optimizer) -> tf.Tensor | float:
    """1, or 0 at a step whose learning rate is another than that of the step before."""
    rate = optimizer._learning_rate
    if not isinstance(rate, keras.optimizers.schedules.LearningRateSchedule):
        return 1.0
    now = tf.convert_to_tensor(optimizer.iterations)
    return tf.cast(tf.equal(rate(now), rate(tf.maximum(now - 1, 0))), tf.float32)


@dataclasses.dataclass(frozen=True)
class Lbfgs:
    """L-BFGS with box constraints, SciPy's (Byrd, Lu, Nocedal & Zhu 1995). It chooses its steps by itself.

    Attributes:
      memory: gradients that the curvature is estimated from.
      restart: iterations after which that memory is emptied: there a run can be stopped and resumed.
    """

    memory: int = 20
    restart: int = 20


def optimizer(config: Config) -> keras.optimizers.Optimizer | Lbfgs:
    """The optimizer that a config names, with its schedule."""
    if config.optimizer == "lbfgs":
        return Lbfgs()
    rate = schedule(config)
    if config.optimizer == "adam":
        return Adam(rate, epsilon=config.epsilon)
    if config.optimizer == "mv2016":
        return NormalizedMomentum(rate)
    return (MomentumSGD if config.momentum_reset else keras.optimizers.SGD)(rate, momentum=config.momentum)
