"""Decoders: networks that map a layer's features back to the image in one pass (Dosovitskiy & Brox 2016, arXiv 1506.02753)."""

from __future__ import annotations

import math
from typing import Any

import keras

LARGEST_CHANNELS = 256
SLOPE = 0.2  # of the leaky ReLUs
HALVINGS_OF_VECTORS = 5  # a vector becomes a grid of the image's size divided by 2 so many times
LARGEST_STRETCH = 1.3  # features are resized where their stride differs from a power of 2 by more than this factor


def build_decoder(
    shape: tuple[int, ...],
    size: tuple[int, int],
    *,
    upsampling: str = "transposed",
    width: int = 32,
    scale: float = 1.0,
    precision: str = "float32",
    seed: int = 0,
) -> keras.Model:
    """A decoder for features of a shape.

    Spatial features pass through two 3x3 convolutions and then through one up-sampling by 2 after another, the last of
    which gives the RGB image. Vectors pass through two dense layers first, which give a grid. Between all of them are leaky
    ReLUs of slope 0.2.

    The grid is padded until it covers the image, and the result is cropped about its center, so that features stay over
    the pixels that they came from.

    Args:
      shape: [height, width, channels] or [channels], without the batch.
      size: (height, width) of the image.
      upsampling: "transposed" for 4x4 transposed convolutions of stride 2 as in the paper, "resize" for nearest neighbors
        and a 3x3 convolution, which has no checkerboard.
      width: channels at half the image's size; twice as many at each further halving, up to 256.
      scale: what features are divided by, such as their root mean square.
      precision: "float32", or "bfloat16" for bfloat16 arithmetic with float32 variables and output.
      seed: seed of the initial weights.

    Returns:
      A model from features [batch, *shape] to RGB [batch, height, width, 3], about [0, 1], not clipped.

    Example:
      >>> build_decoder((27, 27, 256), (224, 224), width=8).output_shape
      (None, 224, 224, 3)
    """
    make = _LayerMaker(upsampling, precision, seed)
    halvings = HALVINGS_OF_VECTORS if len(shape) == 1 else _count_halvings(shape, size)
    channels = [min(width * 2**i, LARGEST_CHANNELS) for i in reversed(range(max(halvings, 1)))]
    cells = (math.ceil(size[0] / 2**halvings), math.ceil(size[1] / 2**halvings))
    features = keras.Input(shape, name="features")
    value = keras.layers.Rescaling(1.0 / scale, dtype=make.policy)(features)
    if len(shape) == 1:
        value = _grid_of_vector(make, value, cells, 32 * width, channels[0])
    else:
        stretches = [side * 2**halvings / pixels for side, pixels in zip(shape, size, strict=False)]
        resized = not all(1 / LARGEST_STRETCH < stretch < LARGEST_STRETCH for stretch in stretches)
        value = _grid_of_features(make, value, cells, channels[0], resized=resized)
    for count in channels[1:]:
        value = make.activated(make.doubled(value, count))
    last: dict[str, Any] = {"slope": None, "dtype": "float32"}
    value = make.doubled(value, 3, **last) if halvings else make.convolved(value, 3, **last)
    surplus = [side - pixels for side, pixels in zip(value.shape[1:3], size, strict=True)]
    if any(surplus):
        value = keras.layers.Cropping2D(tuple((n // 2, n - n // 2) for n in surplus))(value)
    # The names of the layers are part of the files that decoders are kept in.
    return keras.Model(features, keras.layers.Rescaling(0.5, 0.5, name="picture")(value), name="decoder")


class _LayerMaker:
    """Makes the layers of a decoder. Every layer with weights takes the next seed, so their order decides the weights.

    Attributes:
      policy: the arithmetic of the layers.
    """

    def __init__(self, upsampling: str, precision: str, seed: int):
        self.policy = keras.DTypePolicy("mixed_bfloat16" if precision == "bfloat16" else "float32")
        self._upsampling = upsampling
        self._seeds = iter(range(seed * 100, seed * 100 + 100))

    def weighted(self, kind: type[keras.Layer], *arguments: Any, slope: float | None = SLOPE, **options: Any) -> keras.Layer:
        """A layer with He's initial weights (2015, arXiv 1502.01852, eq. 15) for the leaky ReLU that follows, or for none."""
        gain = 2.0 / (1 + slope**2) if slope is not None else 1.0
        initializer = keras.initializers.VarianceScaling(gain, "fan_in", "untruncated_normal", seed=next(self._seeds))
        return kind(*arguments, kernel_initializer=initializer, **{"dtype": self.policy, **options})

    def activated(self, value: keras.KerasTensor) -> keras.KerasTensor:
        """The value after a leaky ReLU."""
        return keras.layers.LeakyReLU(negative_slope=SLOPE, dtype=self.policy)(value)

    def convolved(self, value: keras.KerasTensor, count: int, **options: Any) -> keras.KerasTensor:
        """The value after a 3x3 convolution to `count` channels."""
        return self.weighted(keras.layers.Conv2D, count, 3, padding="same", **options)(value)

    def doubled(self, value: keras.KerasTensor, count: int, **options: Any) -> keras.KerasTensor:
        """The value at twice its height and width, with `count` channels."""
        if self._upsampling == "transposed":
            return self.weighted(keras.layers.Conv2DTranspose, count, 4, 2, padding="same", **options)(value)
        convolution = self.weighted(keras.layers.Conv2D, count, 3, padding="same", **options)
        return convolution(keras.layers.UpSampling2D(2, dtype=self.policy)(value))


def _grid_of_vector(
    make: _LayerMaker, value: keras.KerasTensor, cells: tuple[int, int], hidden: int, channels: int
) -> keras.KerasTensor:
    """[batch, n] -> [batch, *cells, channels] by two dense layers, the first of which gives `hidden` values."""
    value = make.activated(make.weighted(keras.layers.Dense, hidden)(value))
    value = make.activated(make.weighted(keras.layers.Dense, math.prod(cells) * channels)(value))
    return keras.layers.Reshape((*cells, channels), dtype=make.policy)(value)


def _grid_of_features(
    make: _LayerMaker, value: keras.KerasTensor, cells: tuple[int, int], channels: int, *, resized: bool
) -> keras.KerasTensor:
    """[batch, h, w, c] -> [batch, at least *cells, channels] by two convolutions."""
    if resized:
        value = keras.layers.Resizing(*cells, interpolation="bilinear", dtype=make.policy)(value)
    padding = [max(math.ceil((cell - side) / 2), 0) for cell, side in zip(cells, value.shape[1:3], strict=True)]
    if any(padding):
        value = keras.layers.ZeroPadding2D(tuple(padding), dtype=make.policy)(value)
    for _ in range(2):
        value = make.activated(make.convolved(value, channels))
    return value


def _count_halvings(shape: tuple[int, ...], size: tuple[int, int]) -> int:
    """How often the image was halved on the way to features of this shape, to the nearest whole number."""
    return max(round(sum(math.log2(pixels / side) for side, pixels in zip(shape, size, strict=False)) / 2), 0)
