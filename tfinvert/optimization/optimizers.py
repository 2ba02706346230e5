"""The optimizers: Keras' own and any of the user's, the rules of Mahendran & Vedaldi, and the settings of SciPy's L-BFGS."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from tfinvert.optimization.schedules import Constant, build_schedule
from tfinvert.settings.inversion import ADAM_BETA_2, Resolved
from tfinvert.system.errors import InputError, shown

GRAY_LEVEL = 1 / 255
# Methods of Keras' `apply` that an optimizer may have of its own, as Nadam has.
STEPS = ("apply", "_backend_apply_gradients", "_backend_update_step")
# What Keras' `apply` does beside the update rule.
EXTRAS = (
    "weight_decay",
    "clipnorm",
    "clipvalue",
    "global_clipnorm",
    "use_ema",
    "loss_scale_factor",
    "gradient_accumulation_steps",
)


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
        velocity.assign(velocity * _unless_changed(self._learning_rate, self.iterations))
        super().update_step(gradient, variable, learning_rate)


class NormalizedMomentum(keras.optimizers.Optimizer):
    """The update rule of Mahendran & Vedaldi 2016, like AdaGrad with a memory that fades.

    G <- decay G + g^2; d <- decay d - g / (1 / rate + sqrt(G)); x <- x + d, in gray levels: x, d and 1/g there are 255 times
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
        step = gradient / (1 / learning_rate + tf.sqrt(squares) / GRAY_LEVEL)
        velocity.assign(self.decay * velocity * _unless_changed(self._learning_rate, self.iterations) - step)
        variable.assign(variable + velocity)


def _unless_changed(rate: Any, iterations: Any) -> tf.Tensor | float:
    """1, or 0 at a step whose learning rate is another than that of the step before."""
    if not isinstance(rate, keras.optimizers.schedules.LearningRateSchedule):
        return 1.0
    now = tf.convert_to_tensor(iterations)
    return tf.cast(tf.equal(rate(now), rate(tf.maximum(now - 1, 0))), tf.float32)


@dataclasses.dataclass(frozen=True)
class Lbfgs:
    """L-BFGS with box constraints, SciPy's (Byrd, Lu, Nocedal & Zhu 1995). It chooses the lengths of its steps by itself.

    Attributes:
      memory: number of gradients that the curvature is estimated from.
      restart: iterations after which that memory is emptied. There a run can be stopped and resumed.
    """

    memory: int = 20
    restart: int = 20


def build_optimizer(
    settings: Resolved, optimizer: Any = None, schedule: Any = None
) -> Callable[[], keras.optimizers.Optimizer] | Lbfgs:
    """The optimizer of an inversion, as `Problem.optimizer` has it.

    Args:
      settings: `optimizer` is adam, sgd, mv2016 or lbfgs. They use `learning_rate` and the schedule, `beta_2` and
        `epsilon` (adam), `momentum` and `momentum_reset` (sgd).
      optimizer: any Keras optimizer, which has a learning rate of its own, or `Lbfgs`, instead of the named one.
      schedule: any Keras LearningRateSchedule instead of the named one.

    Raises:
      InputError: an object is no Keras optimizer or schedule, or the optimizer cannot be copied.
    """
    if isinstance(optimizer, Lbfgs):
        return optimizer
    if isinstance(optimizer, keras.optimizers.Optimizer):
        return copies(optimizer)
    if optimizer is not None:
        raise InputError(f"the optimizer is {shown(optimizer)}; expected a name, or a keras.optimizers.Optimizer")
    if settings.optimizer == "lbfgs":
        return Lbfgs()
    rate = build_schedule(settings) if schedule is None else schedule
    if schedule is not None and not isinstance(schedule, keras.optimizers.schedules.LearningRateSchedule):
        expected = "a name, or a keras.optimizers.schedules.LearningRateSchedule"
        raise InputError(f"the schedule is {shown(schedule)}; expected {expected}")
    sgd = MomentumSGD if settings.momentum_reset else keras.optimizers.SGD
    factories: dict[str, Callable[[Any], keras.optimizers.Optimizer]] = {
        "adam": functools.partial(Adam, beta_2=settings.beta_2 or ADAM_BETA_2, epsilon=settings.epsilon),
        "sgd": functools.partial(sgd, momentum=settings.momentum),
        "mv2016": NormalizedMomentum,
    }
    return functools.partial(_following, factories[settings.optimizer], rate)


def _following(
    factory: Callable[[Any], keras.optimizers.Optimizer], schedule: keras.optimizers.schedules.LearningRateSchedule
) -> keras.optimizers.Optimizer:
    """An optimizer whose learning rate follows a schedule.

    One with a constant rate has a variable for it besides, which it does not read: checkpoints hold it, of version 0.1 too.
    """
    if not isinstance(schedule, Constant):
        return factory(schedule)
    optimizer = factory(schedule.learning_rate)
    optimizer._learning_rate = schedule
    return optimizer


def copies(optimizer: keras.optimizers.Optimizer) -> Callable[[], keras.optimizers.Optimizer]:
    """A function that makes new optimizers with the settings of this one, which itself is never used.

    Raises:
      InputError: it cannot be copied.

    Example:
      >>> float(copies(keras.optimizers.SGD(0.5))().learning_rate)
      0.5
    """

    def copied() -> keras.optimizers.Optimizer:
        try:
            return type(optimizer).from_config(optimizer.get_config())
        except (NotImplementedError, TypeError, ValueError) as error:
            reason = " ".join(str(error).split())[:200]
            raise InputError(
                f"the optimizer {type(optimizer).__name__} cannot be copied ({reason}): its get_config and its schedule's must "
                "name all arguments, and classes of your own need keras.saving.register_keras_serializable"
            ) from error

    copied()
    return copied


def apply_gradients(
    optimizer: keras.optimizers.Optimizer, gradients: Sequence[tf.Tensor], variables: Sequence[tf.Variable], rate: tf.Tensor
) -> None:
    """One update of the variables, in a function that TensorFlow traces.

    Args:
      optimizer: built for the variables.
      gradients: one for each variable.
      variables: what is updated.
      rate: the optimizer's learning rate in this step.
    """
    own = any(getattr(type(optimizer), name) is not getattr(keras.optimizers.Optimizer, name) for name in STEPS)
    if not own and not any(getattr(optimizer, name) for name in EXTRAS):
        for gradient, variable in zip(gradients, variables, strict=True):
            optimizer.update_step(gradient, variable, rate)
        optimizer.iterations.assign_add(1)
        return
    # TensorFlow keeps the graph that Keras' `apply` is traced in for as long as the process lives: a small one, not the step's.
    scaled = [optimizer.scale_loss(gradient) for gradient in gradients]
    tf.function(lambda gradients: optimizer.apply(gradients, variables))(scaled)
