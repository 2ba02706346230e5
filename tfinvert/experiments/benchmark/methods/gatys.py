"""Gatys' content reconstruction: L-BFGS on the pixels from white noise, with no regularizer."""

from __future__ import annotations

from typing import Any

import numpy as np

from tfinvert.experiments.benchmark.methods import Task

SOURCE = (
    "Gatys, Ecker & Bethge 2015, arXiv 1508.06576, equations 1 and 2; SciPy's L-BFGS-B with bounds as in "
    "https://github.com/leongatys/DeepTextures, with a memory of 20 and 2,000 iterations"
)
ALONE = True
STEPS, MEMORY = 2000, 20


def run(task: Task) -> None:
    """Minimizes half of the squared distance of the features; a step is an iteration of L-BFGS, with its line search."""
    from scipy.optimize import minimize

    (targets,) = task.features
    shape = (1, *task.network.size, 3)
    start = np.clip(0.5 + 0.25 * np.random.default_rng(task.seed).standard_normal(shape), 0, 1)
    value_and_gradient = _traced(task.network, task.layer)

    def evaluate(pixels: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = value_and_gradient(pixels.reshape(shape).astype(np.float32), targets[task.layer])
        return float(value), gradient.numpy().ravel().astype(np.float64)

    options = {"maxiter": STEPS, "maxcor": MEMORY, "maxfun": 10 * STEPS, "ftol": 0.0, "gtol": 0.0}
    found = minimize(
        evaluate,
        start.ravel(),
        jac=True,
        method="L-BFGS-B",
        bounds=[(0.0, 1.0)] * start.size,
        callback=lambda pixels: task.clock.step(lambda: pixels.reshape(shape)),
        options=options,
    )
    task.clock.take(lambda: found.x.reshape(shape))


def _traced(network: Any, layer: str) -> Any:
    """(image, target features) -> (half of the squared distance, its gradient), traced once for all images."""
    import tensorflow as tf

    def value_and_gradient(image: tf.Tensor, target: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(image)
            loss = tf.reduce_sum((model(image, training=False)[layer] - target) ** 2) / 2
        return loss, tape.gradient(loss, image)

    key = __name__, layer
    if key not in network.kept:
        model = network.cut((layer,))
        network.kept[key] = tf.function(value_and_gradient)
    return network.kept[key]
