"""The images that an optimization starts from. Plain NumPy, so that another framework can start from the same bytes."""

from collections.abc import Callable

import numpy as np

from tfinvert.images.files import MEAN_COLOR, load
from tfinvert.settings.presets import SIGMA


def initial_image(init: str, size: tuple[int, int], seed: int, resize: str = "crop") -> np.ndarray:
    """The image that an optimization starts from.

    Args:
      init: the name of a kind of noise (`STARTS`), or an image file.
      size: (height, width).
      seed: the seed of the noise.
      resize: how an image file is made to fit, as for `load`.

    Returns:
      float32 [1, height, width, 3], RGB; in [0, 1], except for mv2015 and mv2016.

    Raises:
      InputError: the image file cannot be used.

    Example:
      >>> from tfinvert import images
      >>> images.initial_image("noise", (24, 32), seed=1).shape
      (1, 24, 32, 3)
    """
    if init in STARTS:
        return STARTS[init]((1, *size, 3), np.random.default_rng(seed)).astype(np.float32)
    return load(init, size, resize)


def noise(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """sigmoid(u) with u ~ Uniform(-3, 3), as in the homework."""
    return 1.0 / (1.0 + np.exp(-rng.uniform(-3.0, 3.0, shape)))


def grey(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """0.5 with normal noise of standard deviation 0.01. The noise is so weak that it does not show in the result."""
    return np.clip(0.5 + 0.01 * rng.standard_normal(shape), 0, 1)


def mv2015(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """The mean color with normal noise, whose norm is that of a photograph (Mahendran & Vedaldi 2015)."""
    normal = rng.standard_normal(shape)
    return MEAN_COLOR + normal / np.linalg.norm(normal) * SIGMA / 255


def mv2016(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """The mean color with uniform noise, whose 95 % quantile is 80 / sqrt(3) gray levels (Mahendran & Vedaldi 2016)."""
    uniform = rng.uniform(-1.0, 1.0, shape)
    return MEAN_COLOR + uniform / np.quantile(uniform, 0.95) * (80 / 255) / np.sqrt(3)


# Name, as --init has it -> (shape [1, height, width, 3], random generator) -> image. The settings have the same names.
STARTS: dict[str, Callable[[tuple[int, ...], np.random.Generator], np.ndarray]] = {
    "noise": noise,
    "grey": grey,
    "mv2015": mv2015,
    "mv2016": mv2016,
}
