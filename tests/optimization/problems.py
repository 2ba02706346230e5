"""Small problems whose gradients can be worked out by hand."""

import functools

import keras
import numpy as np

from tfinvert.images.parameterizations import parameterization
from tfinvert.objectives import terms
from tfinvert.optimization.solver import Solver
from tfinvert.optimization.state import Problem, init

SIZE = (6, 6)
TARGET = np.random.default_rng(0).uniform(0.2, 0.8, (1, *SIZE, 3)).astype(np.float32)
START = np.full((1, *SIZE, 3), 0.5, np.float32)
EXACT_RATE = TARGET.size / 8  # with which gradient descent reaches the target in one step; twice as much never does


def doubling() -> keras.Model:
    """A network whose one layer is twice the image."""
    image = keras.Input((*SIZE, 3))
    return keras.Model(image, {"double": keras.layers.Rescaling(2.0)(image)})


def adam(rate=0.05):
    """A factory of Keras' Adam."""
    return functools.partial(keras.optimizers.Adam, rate, epsilon=1e-8)


def sgd(rate):
    """A factory of gradient descent."""
    return functools.partial(keras.optimizers.SGD, rate)


def doubled(target=TARGET, pixels="free", optimizer=None, extra=(), model=None, seed=0, **options) -> Problem:
    """The problem of finding an image whose double is twice the target."""
    matched = terms.match({"double": 2 * target}, loss="mse")
    made = parameterization(pixels, SIZE, seed=seed, levels=1)
    return Problem(model or doubling(), (*matched, *extra), made, optimizer or adam(), **options)


def alone(problem, start=START) -> Solver:
    """The solver of one problem."""
    return Solver([problem], [init(problem, start)])


def finished(solver, steps):
    """The solver after some steps."""
    for _ in solver.run(steps):
        pass
    return solver
