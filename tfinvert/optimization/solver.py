"""The loop: states of several problems step together, each step in one call of the network."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfinvert.optimization import lbfgs
from tfinvert.optimization.optimizers import Lbfgs
from tfinvert.optimization.snapshots import Snapshot, snapshot
from tfinvert.optimization.state import Problem, State, current_image
from tfinvert.optimization.step import Point, differentiate, evaluate, keep_best, update
from tfinvert.system.errors import NonFiniteLossError
from tfinvert.system.tensorflow import explain_errors


class Solver:
    """The steps of problems that share a network, traced once for as long as the solver lives.

    For another optimization with the same network, shapes and settings, exchange the target features (`terms.retarget`), bring
    the states back to the start (`state.reset`), and call `run` again: nothing is traced.

    Args:
      problems: they share their model and the size of their images. A problem with L-BFGS, whose line search asks for points
        of its own, is alone.
      states: one for each problem, all at the same step.

    Raises:
      ValueError: a problem with L-BFGS is not alone.
    """

    def __init__(self, problems: Sequence[Problem], states: Sequence[State]):
        self.problems, self.states = tuple(problems), tuple(states)
        if len(self.problems) > 1 and any(isinstance(problem.optimizer, Lbfgs) for problem in self.problems):
            raise ValueError("an optimization with L-BFGS cannot step together with others")

    # Concrete functions: TensorFlow warns of functions that are traced often, and would count those of all solvers as one.
    # AutoGraph takes several times as long as the tracing itself; a user's functions have it for themselves (`autographed`).

    @functools.cached_property
    def update(self) -> Callable[[], list[tuple[dict[str, tf.Tensor], tf.Tensor]]]:
        """`step.update` of the states."""
        return tf.function(lambda: update(self.problems, self.states), autograph=False).get_concrete_function()

    @functools.cached_property
    def evaluate(self) -> Callable[[], list[tuple[tf.Tensor, dict[str, tf.Tensor]]]]:
        """`step.evaluate` of the states."""
        return tf.function(lambda: evaluate(self.problems, self.states), autograph=False).get_concrete_function()

    @functools.cached_property
    def differentiate(self) -> Callable[[], list[Point]]:
        """`step.differentiate` of the states."""
        return tf.function(lambda: differentiate(self.problems, self.states), autograph=False).get_concrete_function()

    @property
    def step(self) -> int:
        """Number of updates so far."""
        return int(self.states[0].step)

    def run(self, steps: int, image_every: int = 1) -> Iterator[list[Snapshot | NonFiniteLossError]]:
        """Updates until `steps` updates have been made in all, giving the states before each; then the last states.

        A consumer that stops between two snapshots finds the states after the updates made so far, ready to be saved. With
        L-BFGS the updates between two of its restarts are made at once: `step` is then ahead of the snapshot.

        Args:
          steps: number of updates in all, with those before a restore.
          image_every: snapshots whose step is a multiple of it, and the last ones, carry the image.

        Yields:
          One snapshot for each problem. Where a loss is not finite, the error stands in its place, from there on. When no loss
          is finite any more, the last errors have been given.

        Raises:
          InputError: TensorFlow cannot differentiate the network on this processor.
        """
        errors: dict[int, NonFiniteLossError] = {}
        with explain_errors():
            for reached in self._all_steps(steps, image_every):
                for number, result in enumerate(reached):
                    if isinstance(result, NonFiniteLossError):
                        errors.setdefault(number, result)
                yield [errors.get(number, result) for number, result in enumerate(reached)]
                if len(errors) == len(self.states):
                    return

    def _all_steps(self, steps: int, image_every: int) -> Iterator[list[Snapshot | NonFiniteLossError]]:
        first = self.problems[0].optimizer
        if isinstance(first, Lbfgs):
            path = lbfgs.descend(self.problems[0], self.states[0], first, self.differentiate, steps, image_every)
            try:
                for reached in path:
                    yield [reached]
            except NonFiniteLossError as error:
                yield [error]
        else:
            for at in range(self.step, steps):
                images = self._images() if at % image_every == 0 else [None] * len(self.states)
                yield [
                    _result(problem, at, values, rate, image)
                    for problem, (values, rate), image in zip(self.problems, self.update(), images, strict=True)
                ]
        ends = self.evaluate()
        for state, (losses, _) in zip(self.states, ends, strict=True):
            keep_best(state, losses)
        rates = [0.0 if state.optimizer is None else state.optimizer.learning_rate for state in self.states]
        yield [
            _result(problem, self.step, values, rate, image)
            for problem, (_, values), rate, image in zip(self.problems, ends, rates, self._images(), strict=True)
        ]

    def _images(self) -> list[np.ndarray | None]:
        return [current_image(problem, state) for problem, state in zip(self.problems, self.states, strict=True)]


def run_alone(problem: Problem, state: State, steps: int, image_every: int = 1) -> Iterator[Snapshot]:
    """The snapshots of `Solver.run` for a single problem.

    Raises:
      NonFiniteLossError: at the first step whose loss is NaN or infinite.
    """
    for (reached,) in Solver([problem], [state]).run(steps, image_every):
        if isinstance(reached, NonFiniteLossError):
            raise reached
        yield reached


def _result(
    problem: Problem, step: int, values: dict[str, tf.Tensor], rate: Any, image: np.ndarray | None
) -> Snapshot | NonFiniteLossError:
    """The snapshot, or the error of a loss that should be finite: backing off mends any but the first."""
    try:
        return snapshot(step, values, float(tf.convert_to_tensor(rate)), image, finite=not (problem.backoff and step))
    except NonFiniteLossError as error:
        return error
