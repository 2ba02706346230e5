"""Convolutions of 3x3 by the algorithm of Winograd: 36 products for every 4x4 places of a pair of channels instead of 144.

With matrices A, B and G, the places of a tile are A' [(G g G') * (B' d B)] A for the kernel g and the 6x6 places d that the
tile reads (Lavin & Gray 2015, "Fast Algorithms for Convolutional Neural Networks", section 4.2). Here all of it is products of
matrices, at which TensorFlow is fast: one along the rows of the image and one along its columns, before and after those of the
channels. The gradients of these products are of the same kind, and take as long.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import tensorflow as tf

TILE, READ = 4, 6  # places along a side of a tile, and of what it reads
# Where polynomials are multiplied, and at infinity. With the usual 0, 1, -1, 2 and -2, rounding is four times as large.
POINTS = (0.0, 0.75, -0.75, 1.5, -1.5)
FEWER = 1.9  # times fewer operations, transforms included, from which it is faster
READING = 8  # With this many tiles, multiplying takes as long as reading the weights, which are four times those of the kernel.
SMALLEST = 5e8  # operations of a convolution from which it is faster: two threads share small products badly


class Transforms(NamedTuple):
    """The matrices A' [4, 6], G [6, 3] and B' [6, 6]."""

    output: np.ndarray
    kernel: np.ndarray
    image: np.ndarray


@functools.cache
def transforms() -> Transforms:
    """The matrices of `POINTS`, by the construction of Toom and Cook."""
    others = [[other for other in POINTS if other != point] for point in POINTS]
    output = [[*(point**row for point in POINTS), float(row == TILE - 1)] for row in range(TILE)]
    scales = [np.prod([point - other for other in left]) for point, left in zip(POINTS, others, strict=True)]
    kernel = [[point**column / scale for column in range(3)] for point, scale in zip(POINTS, scales, strict=True)]
    image = [[*np.poly(left)[::-1], 0.0] for left in others]
    return Transforms(np.array(output), np.array([*kernel, [0.0, 0.0, 1.0]]), np.array([*image, np.poly(POINTS)[::-1]]))


def is_faster(places: Sequence[int], channels: Sequence[int]) -> bool:
    """Whether this algorithm is faster than a usual convolution, on a processor in float32.

    Args:
      places: (height, width) of the result.
      channels: numbers of channels that are read and made.
    """
    usual = 2 * 9 * np.prod(places) * np.prod(channels)
    rows, columns = (READ * -(-side // TILE) for side in places)
    products = 2 * (rows * columns + READING * READ**2) * np.prod(channels)
    around = sum(2 * rows * places[1] * (places[0] + columns) * count for count in channels)
    return bool(usual >= SMALLEST and usual >= FEWER * (products + around))


def convolution(image: tf.Tensor, kernel: np.ndarray, *, same: bool) -> tf.Tensor:
    """A convolution of stride 1.

    Args:
      image: float32 [batch, height, width, in]. The batch may be unknown; the other three must be known.
      kernel: [3, 3, in, out].
      same: whether a border of zeros is around the image, so that the result has as many places.

    Returns:
      float32 [batch, height, width, out], with two rows and columns less where there is no border. It differs from what
      `tf.nn.conv2d` gives by about 3e-6 of its largest value.
    """
    import tensorflow as tf  # after onnx2tf, which must set its environment first

    height, width, channels = image.shape[1:]
    into_rows, out_of_rows = _along(height, same)
    into_columns, out_of_columns = _along(width, same)
    rows, columns, made = len(into_rows) // READ, len(into_columns) // READ, kernel.shape[-1]
    weights = np.einsum("ai,bj,ijck->abck", transforms().kernel, transforms().kernel, kernel)
    weights = tf.constant(weights.reshape(READ**2, channels, made), tf.float32)
    value = tf.matmul(into_rows, tf.reshape(image, [-1, height, width * channels]))
    value = tf.matmul(into_columns, tf.reshape(value, [-1, width, channels]))
    value = tf.transpose(tf.reshape(value, [-1, READ, rows, READ, columns * channels]), [1, 3, 0, 2, 4])
    value = tf.matmul(tf.reshape(value, [READ**2, -1, channels]), weights)
    value = tf.transpose(tf.reshape(value, [READ, READ, -1, rows, columns * made]), [2, 0, 3, 1, 4])
    value = tf.matmul(out_of_columns, tf.reshape(value, [-1, READ * columns, made]))
    value = tf.matmul(out_of_rows, tf.reshape(value, [-1, READ * rows, len(out_of_columns) * made]))
    return tf.reshape(value, [-1, len(out_of_rows), len(out_of_columns), made])


def _along(side: int, same: bool) -> tuple[np.ndarray, np.ndarray]:
    """The matrices B' and A' for all tiles along a side: [6 tiles, side] and [places, 6 tiles], the tiles of a row together."""
    places = side if same else side - 2
    tiles = -(-places // TILE)
    into = np.zeros((READ, tiles, side), np.float32)
    out_of = np.zeros((places, READ, tiles), np.float32)
    for tile in range(tiles):
        first = TILE * tile - same
        read = slice(max(first, 0), min(first + READ, side))
        into[:, tile, read] = transforms().image[:, read.start - first : read.stop - first]
        made = slice(TILE * tile, min(TILE * (tile + 1), places))
        out_of[made, :, tile] = transforms().output[: made.stop - made.start]
    return into.reshape(READ * tiles, side), out_of.reshape(places, READ * tiles)
