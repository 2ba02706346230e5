"""The generator of the deep image prior: a small convolutional network from fixed noise to an image (Ulyanov et al. 2018)."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

INPUT_CHANNELS = 16
CHANNELS = (64, 64, 48, 32, 16)  # of the stages, from the coarsest; each has half the size of the next


def input_noise(size: tuple[int, int], seed: int) -> np.ndarray:
    """What the generator makes an image of (height, width) from: uniform in [0, 0.1], [1, height / 16, width / 16, 16]."""
    shape = (1, *_sizes(size)[0], INPUT_CHANNELS)
    return np.random.default_rng(seed).uniform(0, 0.1, shape).astype(np.float32)


def initial_weights(seed: int) -> list[np.ndarray]:
    """Kernel, scale and offset of each stage, then kernel and offset of the last convolution (He et al. 2015)."""
    rng = np.random.default_rng(seed)
    weights, inputs = [], INPUT_CHANNELS
    for channels in CHANNELS:
        weights.append((rng.standard_normal((3, 3, inputs, channels)) * np.sqrt(2 / (9 * inputs))).astype(np.float32))
        weights += [np.ones(channels, np.float32), np.zeros(channels, np.float32)]
        inputs = channels
    weights.append((rng.standard_normal((1, 1, inputs, 3)) * np.sqrt(1 / inputs)).astype(np.float32))
    return [*weights, np.zeros(3, np.float32)]


def generate(noise: np.ndarray, size: tuple[int, int], weights: Sequence[tf.Tensor]) -> tf.Tensor:
    """The image [1, height, width, 3] in [0, 1] that the generator makes.

    Five stages of bilinear doubling (except the first), 3x3 convolution, instance normalization and leaky ReLU; then a 1x1
    convolution to RGB, and a sigmoid.

    Args:
      noise: as `input_noise` makes it.
      size: (height, width).
      weights: as `initial_weights` orders them.
    """
    value = tf.constant(noise)
    for number, stage_size in enumerate(_sizes(size)):
        if number:
            value = tf.image.resize(value, stage_size)
        kernel, scale, offset = weights[3 * number : 3 * number + 3]
        value = tf.nn.conv2d(value, kernel, 1, "SAME")
        mean, variance = tf.nn.moments(value, [1, 2], keepdims=True)
        value = tf.nn.leaky_relu(scale * (value - mean) * tf.math.rsqrt(variance + 1e-5) + offset)
    return tf.sigmoid(tf.nn.conv2d(value, weights[-2], 1, "SAME") + weights[-1])


def _sizes(size: tuple[int, int]) -> list[tuple[int, ...]]:
    """(height, width) of each stage, from the coarsest."""
    return [tuple(max(1, -(-side // 2**n)) for side in size) for n in reversed(range(len(CHANNELS)))]
