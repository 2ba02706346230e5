"""The image as a function of what is optimized.

One function for each parameterization, which is called what `--parameterization` calls it and takes what it needs of `size`,
`seed` and `levels`. `PARAMETERIZATIONS` lists them.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from tfinvert.images import generator, pixels
from tfinvert.images.files import COLOR_CORRELATION, COLOR_DEVIATION, MEAN_COLOR
from tfinvert.images.files import normalized as in_deviations
from tfinvert.system.errors import InputError
from tfinvert.system.functions import load_function
from tfinvert.system.tensorflow import autographed

NORMALIZED_BOUND = 1.5
SIGMOID_MARGIN = 1e-3  # the logits of 0 and 1 would be infinite
PYRAMID_RISE = 0.5  # from the weight of one level of a pyramid to that of the next coarser one, as a power of two


@dataclasses.dataclass(frozen=True)
class Parameterization:
    """How variables make an image.

    Attributes:
      start: image [batch, H, W, 3] in [0, 1] -> the values of the variables. Variables with one value for each image have
        the batch as their first axis.
      image: variables -> image [batch, H, W, 3].
      project: variables -> their values after each step, or None to leave them.
      box: the lowest and the highest value that variables may have, for optimizers with constraints, or None.
    """

    start: Callable[[np.ndarray], list[np.ndarray]]
    image: Callable[[Sequence[tf.Tensor]], tf.Tensor]
    project: Callable[[Sequence[tf.Tensor]], list[tf.Tensor]] | None = None
    box: tuple[float, float] | None = None

    def autographed(self) -> Parameterization:
        """The same, for a step that is traced without AutoGraph: functions of a user's may have an `if` about tensors."""
        project = None if self.project is None else autographed(self.project)
        return dataclasses.replace(self, image=autographed(self.image), project=project)


def parameterization(name: str, size: tuple[int, int], seed: int = 0, levels: int = 3) -> Parameterization:
    """A parameterization by its name.

    Args:
      name: a key of `PARAMETERIZATIONS`, or file.py:function for a function of the user's, which takes what it needs of `size`,
        `seed` and `levels`.
      size: (height, width) of the image.
      seed: the seed of the deep image prior's weights and noise.
      levels: the number of a pyramid's levels below the full resolution.

    Raises:
      InputError: there is no such file or function, or it returns something else.

    Example:
      >>> from tfinvert.images.parameterizations import parameterization
      >>> parameterization("clip", (24, 32)).box
      (0.0, 1.0)
    """
    function = PARAMETERIZATIONS.get(name) or load_function("--parameterization", name)
    values = {"size": size, "seed": seed, "levels": levels}
    made = function(**{key: value for key, value in values.items() if key in inspect.signature(function).parameters})
    if not isinstance(made, Parameterization):
        raise InputError(f"--parameterization={name} returned {made!r:.100}; expected a tfinvert.images Parameterization")
    return made.autographed()


def free() -> Parameterization:
    """The pixels, unconstrained, as in the homework: only images that are written are clipped."""
    return Parameterization(_as_they_are, _pixels)


def clip() -> Parameterization:
    """The pixels, clipped to [0, 1] after each step."""
    # A lambda has a line to itself, where AutoGraph looks for its source.
    return Parameterization(
        _as_they_are,
        _pixels,
        lambda values: [tf.clip_by_value(values[0], 0.0, 1.0)],
        box=(0.0, 1.0),
    )


def bounded() -> Parameterization:
    """The pixels, each drawn back into a ball around the mean color after each step (`pixels.bound_colors`)."""
    return Parameterization(
        _as_they_are,
        _pixels,
        lambda values: [pixels.bound_colors(values[0])],
    )


def sigmoid() -> Parameterization:
    """The logits of the pixels."""
    return Parameterization(
        lambda image: [_logit(image)],
        lambda logits: tf.sigmoid(logits[0]),
    )


def normalized() -> Parameterization:
    """The pixels in units of ImageNet's standard deviation from its mean, clamped to 1.5 of them, as CS231n does.

    Black and white lie beyond.
    """
    return Parameterization(
        lambda image: [in_deviations(image)],
        lambda values: values[0] * COLOR_DEVIATION + MEAN_COLOR,
        lambda values: [tf.clip_by_value(values[0], -NORMALIZED_BOUND, NORMALIZED_BOUND)],
        box=(-NORMALIZED_BOUND, NORMALIZED_BOUND),
    )


def pyramid(size: tuple[int, int], levels: int) -> Parameterization:
    """A sum of images, each of half the size of the one before and enlarged linearly, in decorrelated colors.

    image = inside(1/2 + C (w_0 z_0 + enlarge(w_1 z_1 + enlarge(w_2 z_2 + ...)))), where the weights w_l rise as 2^(l/2) and sum
    to 2, and C is the square root of the covariance of natural colors (`COLOR_CORRELATION`). An optimizer that moves every
    value by about as much, as Adam does, moves large and neutral things first, and leaves to single pixels what the coarser
    levels cannot say. Unlike in a spectrum (`fourier`), every value has a place, and the optimizer's moments belong to it.

    inside(x) clips to [0, 1]; its gradient is 0 only where descending would lead further out, so that no value is stuck
    outside.

    Args:
      size: (height, width).
      levels: the number of levels below the full resolution; levels below one pixel are left out. With 0 it is the image
        itself in decorrelated colors.
    """
    return _pyramid(size, levels, soft=False)


def sigmoid_pyramid(size: tuple[int, int], levels: int) -> Parameterization:
    """A `pyramid` in which inside(x) is the sigmoid with the slope of the identity at 1/2.

    That is slower towards black and white, which a clipped image reaches too early where the features say little about single
    pixels. The benchmark measures both.
    """
    return _pyramid(size, levels, soft=True)


def _pyramid(size: tuple[int, int], levels: int, *, soft: bool) -> Parameterization:
    sizes = [(-(-size[0] // 2**level), -(-size[1] // 2**level)) for level in range(levels + 1) if 2**level < 2 * max(size)]
    weights = 2 ** (PYRAMID_RISE * np.arange(len(sizes)))
    weights = (2 * weights / weights.sum()).tolist()
    correlation = np.array(COLOR_CORRELATION, np.float32)
    inverse = np.linalg.inv(correlation).astype(np.float32)

    def start(image: np.ndarray) -> list[np.ndarray]:
        around = _logit(image) / 4 if soft else image - 0.5
        finest = (around @ inverse.T / weights[0]).astype(np.float32)
        return [finest, *(np.zeros((len(image), *s, 3), np.float32) for s in sizes[1:])]

    def image(variables: Sequence[tf.Tensor]) -> tf.Tensor:
        total = tf.convert_to_tensor(variables[-1])
        for number in reversed(range(len(sizes) - 1)):
            # In units of w_l: the small image takes the factor instead of the large one.
            large = tf.image.resize(total * (weights[number + 1] / weights[number]), sizes[number])
            total = large + tf.convert_to_tensor(variables[number])
        around = total @ (weights[0] * correlation.T)
        return tf.sigmoid(4 * around) if soft else pixels.clip_softly(0.5 + around)

    return Parameterization(start, image)


def fourier(size: tuple[int, int], decay: float = 1.0) -> Parameterization:
    """The spectrum of the logits, in decorrelated colors (Olah, Mordvintsev & Schubert 2017, "Feature Visualization").

    image = sigmoid(C irfft2(s / max(f, 1 / max(H, W))^decay)), where f is the frequency in cycles per pixel and C the square
    root of the covariance of natural colors (`COLOR_CORRELATION`). A step of gradient descent changes every frequency by as
    much as natural images have of it, instead of the high ones first.

    Args:
      size: (height, width).
      decay: the power of the frequency by which amplitudes fall.
    """
    height, width = size
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    # Orthonormal up to the fall of the spectrum: a spectrum of ones gives pixels of order one.
    scale = (np.sqrt(height * width) / np.maximum(frequency, 1 / max(size)) ** decay).astype(np.float32)
    scale /= np.sqrt(np.mean(np.square(scale))) / np.sqrt(height * width)
    correlation = np.array(COLOR_CORRELATION, np.float32)

    def start(image: np.ndarray) -> list[np.ndarray]:
        colors = _logit(image) @ np.linalg.inv(correlation).T
        spectrum = np.fft.rfft2(np.moveaxis(colors, -1, 1)) / scale
        return [np.stack([spectrum.real, spectrum.imag], axis=-1).astype(np.float32)]

    def image(variables: Sequence[tf.Tensor]) -> tf.Tensor:
        spectrum = tf.complex(variables[0][..., 0], variables[0][..., 1])
        colors = tf.signal.irfft2d(spectrum * scale, fft_length=[height, width])
        return tf.sigmoid(tf.einsum("bchw,dc->bhwd", colors, correlation))

    return Parameterization(start, image)


def deep_prior(size: tuple[int, int], seed: int) -> Parameterization:
    """The weights of a small convolutional generator, whose input is fixed noise (Ulyanov et al. 2018; `generator`).

    It starts from its seed alone: the image that `start` gets is not used. A batch has one image.

    Args:
      size: (height, width).
      seed: the seed of the noise; the weights have the next one.
    """
    noise = generator.input_noise(size, seed)

    def start(image: np.ndarray) -> list[np.ndarray]:
        if len(image) != 1:
            raise ValueError(f"a deep image prior makes one image, not a batch of {len(image)}")
        return generator.initial_weights(seed + 1)

    def image(variables: Sequence[tf.Tensor]) -> tf.Tensor:
        return generator.generate(noise, size, variables)

    return Parameterization(start, image)


# The settings, which do not import TensorFlow, have the same names.
PARAMETERIZATIONS: dict[str, Callable[..., Parameterization]] = {
    function.__name__: function for function in (free, clip, bounded, sigmoid, pyramid, sigmoid_pyramid, fourier, deep_prior)
}


def _as_they_are(image: np.ndarray) -> list[np.ndarray]:
    return [image]


def _pixels(variables: Sequence[tf.Tensor]) -> tf.Tensor:
    return tf.identity(variables[0])


def _logit(image: np.ndarray) -> np.ndarray:
    inside = np.clip(image, SIGMOID_MARGIN, 1 - SIGMOID_MARGIN)
    return np.log(inside / (1 - inside)).astype(np.float32)
