"""The image as a function of what is optimised, and where it starts."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf

from tfinvert import images

SIGMOID_MARGIN = 1e-3  # an image file's 0 and 1 would be infinitely far out


@dataclasses.dataclass(frozen=True)
class Parameterization:
    """How a variable makes an image.

    Attributes:
      from_image: image in [0, 1] -> the variable's value, [batch, H, W, 3] both.
      image: variable -> image.
      project: what is done to the variable after each step, or None.
    """

    from_image: Callable[[np.ndarray], np.ndarray]
    image: Callable[[tf.Tensor], tf.Tensor]
    project: Callable[[tf.Tensor], tf.Tensor] | None = None


def _logit(image: np.ndarray) -> np.ndarray:
    inside = np.clip(image, SIGMOID_MARGIN, 1 - SIGMOID_MARGIN)
    return np.log(inside / (1 - inside)).astype(np.float32)


PIXELS = {
    # The homework: the pixels themselves, unconstrained; only the pictures that are written are clipped.
    "free": Parameterization(lambda image: image, tf.identity),
    "clip": Parameterization(lambda image: image, tf.identity, lambda value: tf.clip_by_value(value, 0.0, 1.0)),
    "sigmoid": Parameterization(_logit, tf.sigmoid),
}


def initial_image(init: str, size: tuple[int, int], seed: int) -> np.ndarray:
    """The image that the optimisation starts from.

    Args:
      init: "noise" for the homework's sigmoid(u), u ~ Uniform(-3, 3); "grey" for 0.5 with normal noise of deviation
        0.01, from which no structure of the start is left in the picture; else an image file.
      size: (height, width).
      seed: of the noise. NumPy's generator, so that another framework can start from the same bytes.

    Returns:
      float32 [1, height, width, 3] in [0, 1].
    """
    shape = (1, *size, 3)
    rng = np.random.default_rng(seed)
    if init == "noise":
        uniform = rng.uniform(-3.0, 3.0, shape)
        return (1.0 / (1.0 + np.exp(-uniform))).astype(np.float32)
    if init == "grey":
        return np.clip(0.5 + 0.01 * rng.standard_normal(shape), 0, 1).astype(np.float32)
    return images.load(Path(init) if Path(init).exists() else init, size)
