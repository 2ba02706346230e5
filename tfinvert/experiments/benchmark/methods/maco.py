"""MACO: only the phases of the image's spectrum are optimized; their amplitudes are those of photographs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tfinvert import images
from tfinvert.experiments.benchmark import inversions
from tfinvert.experiments.benchmark.methods import Task
from tfinvert.images.files import COLOR_CORRELATION, SAMPLES

SOURCE = (
    "Fel et al. 2023, arXiv 2306.06805, and https://github.com/serre-lab/Horama, with Adam in place of NAdam at a rate of 1. "
    "The amplitudes are the mean of scikit-image's sample photographs, because ImageNet's are a download; without random "
    "crops, because the target has a place"
)
STEPS = 2000


def run(task: Task) -> None:
    """Inverts with phases as variables."""
    inversions.run_problem(task, _build(task), tv_weight=0.0, alpha_weight=0.0, init="noise", steps=STEPS)


def amplitudes(size: tuple[int, int]) -> np.ndarray:
    """The mean amplitude of photographs at each frequency, in decorrelated colors, [3, height, width // 2 + 1]."""
    inverse = np.linalg.inv(np.array(COLOR_CORRELATION))
    photographs = np.concatenate([images.load(name, size) for name in SAMPLES]).clip(0.01, 0.99)
    colors = np.log(photographs / (1 - photographs)) @ inverse.T
    return np.abs(np.fft.rfft2(np.moveaxis(colors, -1, 1))).mean(axis=0).astype(np.float32)


def phases(size: tuple[int, int], seed: int) -> Any:
    """The parameterization: image = sigmoid(C standardized(irfft2(r e^(i p)))), where p are the variables and r `amplitudes`.

    Phases are drawn from a normal distribution; the image to start from is not used. As in the authors' code, phases and colors
    are brought to mean 0 and variance 1 on the way.
    """
    import tensorflow as tf

    from tfinvert.images.parameterizations import Parameterization

    amplitude, correlation = amplitudes(size), np.array(COLOR_CORRELATION, np.float32)

    def start(image: np.ndarray) -> list[np.ndarray]:
        shape = (len(image), *amplitude.shape)
        return [np.random.default_rng(seed).standard_normal(shape).astype(np.float32)]

    def image(variables: Sequence[tf.Tensor]) -> tf.Tensor:
        phase = _standardized(variables[0])
        spectrum = tf.complex(amplitude * tf.cos(phase), amplitude * tf.sin(phase))
        colors = _standardized(tf.signal.irfft2d(spectrum, fft_length=list(size)))
        return tf.sigmoid(tf.einsum("bchw,dc->bhwd", colors, correlation))

    return Parameterization(start, image)


def _standardized(values: Any) -> Any:
    """Values [batch, channels, height, width] with mean 0 and variance 1 in each image."""
    import tensorflow as tf

    mean, variance = tf.nn.moments(values, [1, 2, 3], keepdims=True)
    return (values - mean) / (tf.sqrt(variance) + 1e-4)


def _build(task: Task) -> Any:
    def build(resolved: Any, targets: Mapping[str, Any]) -> Any:
        import keras

        from tfinvert.optimization import inversion
        from tfinvert.optimization.state import Problem

        size = task.network.size
        terms = tuple(inversion.build_terms(resolved, targets, size))
        model = task.network.cut((task.layer,))
        return Problem(model, terms, phases(size, task.seed), lambda: keras.optimizers.Adam(1.0))

    return build
