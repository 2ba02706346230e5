"""A small optimization that is recorded, for the tests of recording."""

import functools

import keras
import numpy as np
import tensorflow as tf

from tfinvert.images.parameterizations import parameterization
from tfinvert.objectives import terms
from tfinvert.optimization.solver import Solver
from tfinvert.optimization.state import Problem, current_image, init
from tfinvert.runs.directory import RunDirectory
from tfinvert.runs.recording import Recording, record

START = np.random.default_rng(0).uniform(0.3, 0.7, (1, 8, 8, 3)).astype(np.float32)


def solver(*targets, optimizers=()):
    """A solver with a problem for each target, or for the target 0.2."""

    def model(image, training=False):
        return {"f": image**2}

    adam = functools.partial(keras.optimizers.Adam, 0.01)
    problems = [
        Problem(
            model, tuple(terms.match({"f": tf.fill((1, 8, 8, 3), target)}, loss="mse")), parameterization("clip", (8, 8)), made
        )
        for target, made in zip(targets or (0.2,), optimizers or [adam] * 3, strict=False)
    ]
    return Solver(problems, [init(problem, START) for problem in problems])


def images_of(made):
    return [current_image(*pair) for pair in zip(made.problems, made.states, strict=True)]


def recorded(made, steps, save_every, run=None, *, measure=lambda snapshot: {}, **settings):
    """The outcome of a solver with one problem."""
    (outcome,) = record(made, [Recording(run, measure)], steps, save_every, **settings)
    return outcome


def directory(path):
    run = RunDirectory(path)
    run.create("--steps=8\n", {}, resume=path.exists())
    return run
