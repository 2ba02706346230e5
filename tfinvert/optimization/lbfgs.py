"""The steps of L-BFGS, which SciPy makes outside the graph of TensorFlow."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tfinvert.optimization.optimizers import Lbfgs
from tfinvert.optimization.snapshots import Snapshot, snapshot
from tfinvert.optimization.state import Problem, State, current_image
from tfinvert.optimization.step import Point, keep_best


def descend(
    problem: Problem, state: State, settings: Lbfgs, differentiate: Callable[[], list[Point]], steps: int, image_every: int
) -> Iterator[Snapshot]:
    """Updates a state until `steps` updates have been made in all, or no step lowers the loss; gives the state before each.

    The updates between two restarts are made at once: `state.step` is then ahead of the snapshot.

    Args:
      problem: what is optimized; its `box` bounds the variables.
      state: changed in place.
      settings: of the method.
      differentiate: gives the `Point` where the state is, as the only one of a list.
      steps: number of updates in all, with those before a restore.
      image_every: snapshots whose step is a multiple of it carry the image.

    Raises:
      NonFiniteLossError: the loss became NaN or infinite.
    """
    from scipy.optimize import minimize

    lowest, highest = problem.parameterization.box or (None, None)
    while (first := int(state.step)) < steps:
        path = _Path(problem, state, differentiate, first, image_every)
        start = np.concatenate([value.numpy().ravel() for value in state.variables]).astype(np.float64)
        solution = minimize(
            path.evaluate,
            start,
            jac=True,
            method="L-BFGS-B",
            bounds=None if problem.parameterization.box is None else [(lowest, highest)] * len(start),
            callback=path.accept,
            options={
                "maxiter": min(settings.restart, steps - first),
                "maxcor": settings.memory,
                "ftol": 0.0,
                "gtol": 0.0,
                "maxfun": 10**6,
            },
        )
        _assign(state, solution.x)
        if solution.nit == 0:  # no step lowers the loss any more
            return
        state.step.assign(first + solution.nit)
        yield from path.snapshots[: solution.nit]


class _Path:
    """The points between two restarts.

    Attributes:
      snapshots: of the points that SciPy has accepted, the first included.
    """

    def __init__(self, problem: Problem, state: State, differentiate: Callable[[], list[Point]], first: int, image_every: int):
        self.snapshots: list[Snapshot] = []
        self._problem, self._state, self._differentiate = problem, state, differentiate
        self._first, self._image_every = first, image_every

    def evaluate(self, flat: np.ndarray) -> tuple[float, np.ndarray]:
        """The loss and its gradient."""
        _assign(self._state, flat)
        (self._latest,) = self._differentiate()
        if not self.snapshots:
            self.accept(flat)
        gradient = np.concatenate([part.numpy().ravel() for part in self._latest.gradients])
        return float(self._latest.values["loss"]), gradient.astype(np.float64)

    def accept(self, flat: np.ndarray) -> Any:
        """Takes the point that was evaluated last, which is the one that SciPy accepts."""
        step = self._first + len(self.snapshots)
        image = current_image(self._problem, self._state) if step % self._image_every == 0 else None
        keep_best(self._state, self._latest.losses)
        self.snapshots.append(snapshot(step, self._latest.values, 0.0, image))


def _assign(state: State, flat: np.ndarray) -> None:
    """Puts the values [n] into the variables, one after the other."""
    shapes = [variable.shape for variable in state.variables]
    splits = np.cumsum([math.prod(shape) for shape in shapes])[:-1]
    for variable, part, shape in zip(state.variables, np.split(flat, splits), shapes, strict=True):
        variable.assign(part.reshape(shape).astype(np.float32))
