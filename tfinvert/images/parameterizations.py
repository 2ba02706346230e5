"""The image as a function of what is optimized, and where it starts."""

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from tfinvert.images import files as images
from tfinvert.images.files import COLOR_CORRELATION, MEAN_COLOR
from tfinvert.settings.config import SIGMA

NORMALIZED_BOUND = 1.5
SIGMOID_MARGIN = 1e-3  # an image file's 0 and 1 would be infinitely far out
BOUND = 160 / 255  # Mahendran & Vedaldi 2016: twice B = 80 grey levels
PYRAMID_RISE = 0.5  # of the weights from one level of a pyramid to the next coarser one, as a power of two
PRIOR_INPUT = 16  # channels of noise that the deep image prior starts from
PRIOR_CHANNELS = (64, 64, 48, 32, 16)  # of its stages, from the coarsest, each half the size of the next


@dataclasses.dataclass(frozen=True)
class Parameterization:
    """How variables make an image.

    Attributes:
      start: image [batch, H, W, 3] in [0, 1] -> the variables' values. Those with one value for each picture of the batch
        have it first.
      image: variables -> image.
      project: what is done to the variables after each step, or None.
      box: (lowest, highest) value that variables may have, for optimizers that know of constraints, or None.
    """

    start: Callable[[np.ndarray], list[np.ndarray]]
    image: Callable[[Sequence[tf.Tensor]], tf.Tensor]
    project: Callable[[Sequence[tf.Tensor]], list[tf.Tensor]] | None = None
    box: tuple[float, float] | None = None


def parameterization(name: str, size: tuple[int, int], seed: int = 0, levels: int = 3) -> Parameterization:
    """A parameterization by its name.

    - free: the pixels themselves, unconstrained, as in the homework; only pictures that are written are clipped;
    - clip: the pixels, clipped to [0, 1] after each step;
    - bounded: the pixels, each color drawn back into a ball around the mean color (`bounded`);
    - sigmoid: logits of the pixels;
    - pyramid: the sum of images of falling resolution, their colors decorrelated, clipped to [0, 1] (`pyramid`);
    - sigmoid_pyramid: likewise, with a sigmoid in place of the clipping;
    - fourier: the spectrum of the logits, its colors decorrelated (`fourier`);
    - deep_prior: the weights of a convolutional generator (`deep_image_prior`).

    Args:
      name: one of these.
      size: (height, width) of the image.
      seed: of the deep image prior's weights and noise.
      levels: of the pyramid below the full resolution.
    """
    if name in ("pyramid", "sigmoid_pyramid"):
        return pyramid(size, levels, soft=name == "sigmoid_pyramid")
    if name == "fourier":
        return fourier(size)
    if name == "deep_prior":
        return deep_image_prior(size, seed)
    return {
        "free": Parameterization(lambda image: [image], lambda pixels: tf.identity(pixels[0])),
        "clip": Parameterization(
            lambda image: [image],
            lambda pixels: tf.identity(pixels[0]),
            lambda pixels: [tf.clip_by_value(pixels[0], 0.0, 1.0)],
            box=(0.0, 1.0),
        ),
        "bounded": Parameterization(
            lambda image: [image],
            lambda pixels: tf.identity(pixels[0]),
            lambda pixels: [bounded(pixels[0])],  # on a line of its own: AutoGraph looks for it there
        ),
        "sigmoid": Parameterization(lambda image: [_logit(image)], lambda logits: tf.sigmoid(logits[0])),
    }[name]


def normalized() -> Parameterization:
    """CS231n's: the pixels in units of ImageNet's deviation from its mean, clamped to 1.5 there; black lies beyond."""
    return Parameterization(
        lambda image: [images.normalized(image)],
        lambda pixels: pixels[0] * images.COLOR_DEVIATION + MEAN_COLOR,
        lambda pixels: [tf.clip_by_value(pixels[0], -NORMALIZED_BOUND, NORMALIZED_BOUND)],
        box=(-NORMALIZED_BOUND, NORMALIZED_BOUND),
    )


def bounded(image: tf.Tensor, bound: float = BOUND) -> tf.Tensor:
    """Each pixel's distance from the mean color, as a vector of RGB, is cut to `bound` (Mahendran & Vedaldi 2016).

    Args:
      image: [batch, H, W, 3] in [0, 1].
    """
    difference = image - MEAN_COLOR
    length = tf.sqrt(tf.reduce_sum(tf.square(difference), axis=-1, keepdims=True))
    return MEAN_COLOR + difference * tf.minimum(bound / tf.maximum(length, 1e-12), 1.0)


def pyramid(size: tuple[int, int], levels: int, *, soft: bool = False) -> Parameterization:
    """A sum of images, each half the size of the one before, enlarged linearly; their colors are decorrelated.

    image = inside(1/2 + C (w_0 z_0 + enlarge(w_1 z_1 + enlarge(w_2 z_2 + ...)))), with w_l rising as 2^(l/2) and 2 in all, and
    C the square root of the covariance of natural colors (`COLOR_CORRELATION`). An optimizer that moves every value by
    about as much, as Adam does, moves large and neutral things first, and leaves to single pixels what the coarser levels
    cannot say. Unlike a spectrum (`fourier`), every value has a place, so that the optimizer's moments are those of that place.

    inside(x) clips to [0, 1]; its gradient is 0 only where descending would lead further out, so that no value is stuck
    outside. With `soft` it is the sigmoid with the slope of the identity at 1/2: slower towards black and white, which a
    clipped picture reaches too early where the features say little about single pixels. docs/quality.md measures both.

    Args:
      size: (height, width).
      levels: below the full resolution; 0 is the image itself in decorrelated colors. Levels below one pixel are left out.
      soft: a sigmoid instead of clipping.
    """
    sizes = [(-(-size[0] // 2**level), -(-size[1] // 2**level)) for level in range(levels + 1) if 2**level < 2 * max(size)]
    enlarge = [
        tuple(_linear_interpolation(full, part) for full, part in zip(large, small, strict=True))
        for large, small in itertools.pairwise(sizes)
    ]
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
        for number in reversed(range(len(enlarge))):
            down, across = enlarge[number]
            # In units of w_l: a small matrix takes the factor instead of the large image.
            total = tf.einsum("hi,bijc->bhjc", down * (weights[number + 1] / weights[number]), total)
            total = tf.einsum("wj,bhjc->bhwc", across, total) + tf.convert_to_tensor(variables[number])
        around = total @ (weights[0] * correlation.T)
        return tf.sigmoid(4 * around) if soft else _clipped(0.5 + around)

    return Parameterization(start, image)


@tf.function(autograph=False)  # as in terms.py: a custom gradient is kept, with the graph around it
@tf.custom_gradient
def _clipped(image: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
    """Clipped to [0, 1], with the gradient of the identity wherever descending it does not lead further out."""

    def gradient(upstream: tf.Tensor) -> tf.Tensor:
        outwards = ((image < 0) & (upstream > 0)) | ((image > 1) & (upstream < 0))
        return tf.where(outwards, 0.0, upstream)

    return tf.clip_by_value(image, 0.0, 1.0), gradient


def _linear_interpolation(full: int, part: int) -> np.ndarray:
    """The matrix [full, part] that enlarges a row of pixels linearly, the border repeated."""
    places = (np.arange(full) + 0.5) * part / full - 0.5
    before = np.floor(places).astype(int)
    matrix = np.zeros((full, part), np.float32)
    for offset, share in ((0, 1 - (places - before)), (1, places - before)):
        np.add.at(matrix, (np.arange(full), np.clip(before + offset, 0, part - 1)), share)
    return matrix


def fourier(size: tuple[int, int], decay: float = 1.0) -> Parameterization:
    """The spectrum of an image whose colors are decorrelated (Olah, Mordvintsev & Schubert 2017).

    image = sigmoid(C irfft2(s / max(f, 1 / max(H, W))^decay)), with f in cycles per pixel and C the square root of the
    covariance of natural colors: a step of gradient descent changes all frequencies by as much as natural pictures have
    of them, instead of the high ones first.

    Args:
      size: (height, width).
      decay: power of the frequency by which amplitudes fall.
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


def deep_image_prior(size: tuple[int, int], seed: int) -> Parameterization:
    """A small convolutional generator whose weights are optimized; its input is fixed noise (Ulyanov et al. 2018).

    Five stages of 3x3 convolution, instance normalization and leaky ReLU, from 1/16 of the size up by bilinear doubling,
    then a 1x1 convolution to RGB and a sigmoid. It has no start but its seed: the image that it is given is not used, and a
    batch has one picture.

    Args:
      size: (height, width).
      seed: of the noise and of the weights.
    """
    rng = np.random.default_rng(seed)
    sizes = [tuple(max(1, -(-side // 2**n)) for side in size) for n in reversed(range(len(PRIOR_CHANNELS)))]
    noise = rng.uniform(0, 0.1, (1, *sizes[0], PRIOR_INPUT)).astype(np.float32)

    def start(image: np.ndarray) -> list[np.ndarray]:
        if len(image) != 1:
            raise ValueError(f"a deep image prior makes one picture, not a batch of {len(image)}")
        weights = np.random.default_rng(seed + 1)
        inputs = PRIOR_INPUT
        made = []
        for channels in PRIOR_CHANNELS:
            made.append((weights.standard_normal((3, 3, inputs, channels)) * np.sqrt(2 / (9 * inputs))).astype(np.float32))
            made += [np.ones(channels, np.float32), np.zeros(channels, np.float32)]
            inputs = channels
        made.append((weights.standard_normal((1, 1, inputs, 3)) * np.sqrt(1 / inputs)).astype(np.float32))
        return [*made, np.zeros(3, np.float32)]

    def image(variables: Sequence[tf.Tensor]) -> tf.Tensor:
        value = tf.constant(noise)
        for number, stage_size in enumerate(sizes):
            if number:
                value = tf.image.resize(value, stage_size)
            kernel, scale, offset = variables[3 * number : 3 * number + 3]
            value = tf.nn.conv2d(value, kernel, 1, "SAME")
            mean, variance = tf.nn.moments(value, [1, 2], keepdims=True)
            value = tf.nn.leaky_relu(scale * (value - mean) * tf.math.rsqrt(variance + 1e-5) + offset)
        return tf.sigmoid(tf.nn.conv2d(value, variables[-2], 1, "SAME") + variables[-1])

    return Parameterization(start, image)


def initial_image(init: str, size: tuple[int, int], seed: int) -> np.ndarray:
    """The image that the optimization starts from.

    Args:
      init: "noise" for the homework's sigmoid(u), u ~ Uniform(-3, 3); "grey" for 0.5 with normal noise of deviation
        0.01, from which no structure of the start is left in the picture; "mv2015" for the mean color with
        normal noise of the norm of a photograph (Mahendran & Vedaldi 2015); "mv2016" for the mean color with uniform noise
        whose 95 % quantile is B / sqrt(3) = 46 grey levels (Mahendran & Vedaldi 2016); else an image file.
      size: (height, width).
      seed: of the noise. NumPy's generator, so that another framework can start from the same bytes.

    Returns:
      float32 [1, height, width, 3]; in [0, 1] but for the papers' starts.
    """
    shape = (1, *size, 3)
    rng = np.random.default_rng(seed)
    if init == "noise":
        uniform = rng.uniform(-3.0, 3.0, shape)
        return (1.0 / (1.0 + np.exp(-uniform))).astype(np.float32)
    if init == "grey":
        return np.clip(0.5 + 0.01 * rng.standard_normal(shape), 0, 1).astype(np.float32)
    if init == "mv2015":
        normal = rng.standard_normal(shape)
        return (MEAN_COLOR + normal / np.linalg.norm(normal) * SIGMA / 255).astype(np.float32)
    if init == "mv2016":
        uniform = rng.uniform(-1.0, 1.0, shape)
        return (MEAN_COLOR + uniform / np.quantile(uniform, 0.95) * (80 / 255) / np.sqrt(3)).astype(np.float32)
    return images.load(Path(init) if Path(init).exists() else init, size)


def _logit(image: np.ndarray) -> np.ndarray:
    inside = np.clip(image, SIGMOID_MARGIN, 1 - SIGMOID_MARGIN)
    return np.log(inside / (1 - inside)).astype(np.float32)
