"""What is optimized, and where an optimization stands: a frozen `Problem` and a `State` of variables."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from tfinvert.images.parameterizations import Parameterization
from tfinvert.objectives.terms import Term
from tfinvert.optimization.optimizers import Lbfgs


@dataclasses.dataclass(frozen=True)
class Problem:
    """A loss of images and how it is lowered.

    Attributes:
      model: image [batch, H, W, 3] -> features by layer name.
      terms: the summands of the loss.
      parameterization: how the variables make the image.
      optimizer: makes a new Keras optimizer, which has its learning rate or schedule; or the settings of SciPy's L-BFGS.
      transform: (image, number of updates so far) -> image as the network sees it in that step. None: the image itself. Terms
        that look at the image see it untransformed.
      backoff: an image whose loss is not finite, or more than four times its lowest so far, returns to where it was lowest and
        goes on with steps of half the size. Otherwise a loss that is not finite ends the run.
    """

    model: Callable[..., dict[str, tf.Tensor]]
    terms: tuple[Term, ...]
    parameterization: Parameterization
    optimizer: Callable[[], keras.optimizers.Optimizer] | Lbfgs
    transform: Callable[[tf.Tensor, tf.Tensor], tf.Tensor] | None = None
    backoff: bool = False


@dataclasses.dataclass(frozen=True, eq=False)
class State:
    """Where an optimization of a batch of images stands: variables, which the steps change in place.

    Attributes:
      variables: what the image is made of.
      best: their values where the loss was lowest, for each image of the batch.
      best_losses: these losses, [batch]; where weights are annealed, the losses with the last weights.
      step: number of updates so far, int64.
      optimizer: the Keras optimizer with its slots; None with L-BFGS, which keeps nothing between its restarts.
      scale: what the updates of each image are multiplied by, [batch]; None without `backoff`.
    """

    variables: list[tf.Variable]
    best: list[tf.Variable]
    best_losses: tf.Variable
    step: tf.Variable
    optimizer: keras.optimizers.Optimizer | None = None
    scale: tf.Variable | None = None


def init(problem: Problem, initial: np.ndarray) -> State:
    """The state before the first step.

    Args:
      problem: what is optimized.
      initial: the image from which it starts, [batch, H, W, 3] in [0, 1].
    """
    start = problem.parameterization.start(initial)
    variables = [tf.Variable(value, name=f"variable_{number}") for number, value in enumerate(start)]
    return State(
        variables,
        [tf.Variable(value, trainable=False, name=f"best_{number}") for number, value in enumerate(start)],
        tf.Variable(tf.fill([len(initial)], np.float32(np.inf)), trainable=False, name="best_losses"),
        tf.Variable(0, trainable=False, dtype=tf.int64, name="step"),
        _new_optimizer(problem, variables),
        tf.Variable(tf.ones([len(initial)]), trainable=False, name="scale") if problem.backoff else None,
    )


def reset(problem: Problem, state: State, initial: np.ndarray) -> None:
    """Brings a state to what `init` gives, in place, so that what was traced with it can be used again.

    Args:
      problem: the problem of the state.
      state: a state at any step.
      initial: [batch, H, W, 3] in [0, 1], of the same shape as the image before.
    """
    start = problem.parameterization.start(initial)
    for variable, value in zip([*state.variables, *state.best], [*start, *start], strict=True):
        variable.assign(value)
    forget_best(state)
    state.step.assign(0)
    if state.scale is not None:
        state.scale.assign(tf.ones_like(state.scale))
    new = _new_optimizer(problem, state.variables)  # the memory of some of Keras' optimizers does not begin with zeros
    if state.optimizer is not None and new is not None:
        for variable, value in zip(state.optimizer.variables, new.variables, strict=True):
            variable.assign(value)


def checkpoint(state: State) -> tf.train.Checkpoint:
    """The state as TensorFlow saves and restores it. A restored optimization continues to the same bytes.

    The keys are the names of the fields, as in version 0.1, whose checkpoints are restored too.
    """
    fields = {field.name: getattr(state, field.name) for field in dataclasses.fields(state)}
    return tf.train.Checkpoint(**{name: value for name, value in fields.items() if value is not None})


def image_tensor(problem: Problem, state: State) -> tf.Tensor:
    """The current image, [batch, H, W, 3], not clipped."""
    # A bare tf.Variable is no valid input of a TFSMLayer.
    return problem.parameterization.image([tf.convert_to_tensor(variable) for variable in state.variables])


def current_image(problem: Problem, state: State) -> np.ndarray:
    """The current image as an array, [batch, H, W, 3], not clipped."""
    return image_tensor(problem, state).numpy()


def best_image(problem: Problem, state: State) -> np.ndarray:
    """The image with the lowest loss so far, [batch, H, W, 3], not clipped; each image of the batch by itself."""
    return problem.parameterization.image([tf.convert_to_tensor(value) for value in state.best]).numpy()


def best_losses(state: State) -> np.ndarray:
    """The lowest losses so far, [batch]; where weights are annealed, the losses with the last weights."""
    return state.best_losses.numpy()


def forget_best(state: State) -> None:
    """Forgets the lowest losses, so that the next image counts as the best.

    It is called where losses from here on are not comparable with those before, as after a change of the precision.
    """
    state.best_losses.assign(tf.fill(state.best_losses.shape, np.float32(np.inf)))


def _new_optimizer(problem: Problem, variables: list[tf.Variable]) -> keras.optimizers.Optimizer | None:
    """An optimizer before its first step, with slots for the variables; None for L-BFGS."""
    if isinstance(problem.optimizer, Lbfgs):
        return None
    optimizer = problem.optimizer()
    optimizer.build(variables)
    return optimizer
