"""Direct Ascent Synthesis: the image is a sum of resolutions, from 1 pixel to its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tfinvert.experiments.benchmark import inversions
from tfinvert.experiments.benchmark.methods import Task

SOURCE = (
    "Fort & Whitaker 2025, arXiv 2502.07753: image = 1/2 + tanh(sum over resolutions) / 2. With Adam at a rate of 0.01, with "
    "powers of two as resolutions, and without noise and shifts, because the target has a place"
)
STEPS, RATE = 1000, 0.01


def run(task: Task) -> None:
    """Inverts with the resolutions' pixels as variables."""
    inversions.run_problem(task, _build(task), tv_weight=0.0, alpha_weight=0.0, init="grey", steps=STEPS)


def resolutions(size: tuple[int, int]) -> Any:
    """The parameterization: image = 1/2 + tanh(sum_r enlarge(z_r)) / 2, r = 1, 2, 4, ... pixels and the full size."""
    import tensorflow as tf

    from tfinvert.images.parameterizations import Parameterization

    powers = [2**n for n in range(max(size).bit_length()) if 2**n < min(size)]
    sizes = [(power, power) for power in powers] + [size]

    def start(image: np.ndarray) -> list[np.ndarray]:
        finest = np.arctanh(np.clip(2 * image - 1, -0.99, 0.99))
        coarse = [np.zeros((len(image), *each, 3), np.float32) for each in sizes[:-1]]
        return [*coarse, finest.astype(np.float32)]

    def image(variables: Sequence[tf.Tensor]) -> tf.Tensor:
        enlarged = [tf.image.resize(value, size, method="bicubic") for value in variables[:-1]]
        return 0.5 + tf.tanh(tf.add_n([*enlarged, tf.convert_to_tensor(variables[-1])])) / 2

    return Parameterization(start, image)


def _build(task: Task) -> Any:
    def build(resolved: Any, targets: Mapping[str, Any]) -> Any:
        import keras

        from tfinvert.optimization import inversion
        from tfinvert.optimization.state import Problem

        size = task.network.size
        terms = tuple(inversion.build_terms(resolved, targets, size))
        model = task.network.cut((task.layer,))
        return Problem(model, terms, resolutions(size), lambda: keras.optimizers.Adam(RATE))

    return build
