"""Random changes of the image on its way into the network. Their random numbers are a function of (seed, step)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from tfinvert.system.errors import InputError, last_line, shown
from tfinvert.system.tensorflow import autographed


def own(transform: Any) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    """A user's transform, whose results are checked while a step is traced.

    Raises:
      InputError: it is no function; and when it is called, if it fails or gives another shape or type than the image's.
    """
    if not callable(transform):
        raise InputError(f"the transform is {shown(transform)}; expected a function (image, step) -> image")
    function = autographed(transform)

    def checked(image: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
        try:
            result = function(image, step)
        except Exception as error:  # whatever a user's function raises
            raise InputError(f"the transform cannot be computed: {last_line(error)}") from error
        if not tf.is_tensor(result) or result.shape != image.shape or result.dtype != image.dtype:
            given = f"{result.dtype.name} {list(result.shape)}" if tf.is_tensor(result) else shown(result)
            raise InputError(f"the transform gives {given}; expected {image.dtype.name} {list(image.shape)}, as its image has")
        return result

    return checked


def random_offsets(seed: int, step: tf.Tensor, lowest: int, highest: int) -> tf.Tensor:
    """Two whole numbers from `lowest` to `highest`, int32 [2]: always the same ones for a seed and a step."""
    pair = tf.stack([tf.constant(seed, tf.int64), tf.cast(step, tf.int64)])
    return tf.random.stateless_uniform([2], pair, lowest, highest + 1, tf.int32)


def shift(image: tf.Tensor, offset: tf.Tensor) -> tf.Tensor:
    """The image moved down and right by whole pixels, in a circle: what leaves on one side comes in on the other.

    Args:
      image: [batch, H, W, channels].
      offset: int32 [2], (down, right).
    """
    return tf.roll(image, offset, axis=[1, 2])


def jitter(image: tf.Tensor, pixels: int, seed: int, step: tf.Tensor) -> tf.Tensor:
    """The image at one of `pixels` x `pixels` places around its own, as the network sees it in this step.

    Its gradient goes back the same way: the image itself stays where it is. (Mahendran & Vedaldi 2016, who move a window
    over a larger image instead of moving in a circle.)

    Args:
      image: [batch, H, W, channels]; the whole batch moves alike.
      pixels: 1 for no jitter, 2 for 0 or 1 pixels along each axis, 3 for -1 to 1, and so on.
      seed, step: of the random numbers.
    """
    return shift(image, jitter_offset(pixels, seed, step))


def jitter_offset(pixels: int, seed: int, step: tf.Tensor) -> tf.Tensor:
    """How far `jitter` moves the image in a step, int32 [2], (down, right)."""
    return random_offsets(seed, step, -((pixels - 1) // 2), pixels // 2)


def jittering(pixels: int, seed: int, steps: int) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    """(image, number of updates so far) -> image, moved by `jitter` in the first `steps` steps and as it is from then on."""

    def transform(image: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
        return tf.cond(step < steps, lambda: jitter(image, pixels, seed, step), lambda: image)

    return transform


def jitter_offsets(pixels: int, seed: int, jittered: int, steps: int) -> np.ndarray:
    """How far `jittering` moves the image in each of `steps` steps and after them, int64 [steps + 1, 2], (down, right).

    Args:
      pixels, seed: as for `jitter`.
      jittered: number of steps in which it moves; 0 in the others.
      steps: number of steps.
    """
    offsets = np.zeros((steps + 1, 2), np.int64)
    for step in range(min(jittered, steps)):
        offsets[step] = jitter_offset(pixels, seed, tf.constant(step))
    return offsets


def turned(image: tf.Tensor, angle: tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
    """The image turned about its middle by an angle (radians, counterclockwise) and made `scale` times as large.

    Its size stays; what comes in from outside is the image reflected at its border. Bilinear.

    Args:
      image: [batch, H, W, channels].
      angle, scale: scalars.
    """
    height, width = image.shape[1:3]
    middle_x, middle_y = (width - 1) / 2, (height - 1) / 2
    cosine, sine = tf.cos(angle) / scale, tf.sin(angle) / scale
    # Where each pixel of the result comes from: x' = c x - s y + ..., y' = s x + c y + ..., with y pointing down.
    row = [
        *(cosine, -sine, middle_x - cosine * middle_x + sine * middle_y),
        *(sine, cosine, middle_y - sine * middle_x - cosine * middle_y),
        *(0.0, 0.0),
    ]
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=image,
        transforms=tf.cast(tf.stack(row), tf.float32)[None],
        output_shape=[height, width],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="REFLECT",
    )


def robust(pixels: int, seed: int, degrees: float = 5.0, zoom: float = 0.1) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    """The transform of feature visualization: each step the image jitters, and is turned and scaled a little.

    What is left is what the network sees from everywhere (Olah, Mordvintsev & Schubert 2017, "Feature Visualization").

    Args:
      pixels, seed: as of `jitter`.
      degrees: largest angle to either side.
      zoom: largest change of size, up or down, as a fraction.

    Returns:
      (image, step) -> image.
    """

    def transform(image: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
        # Another seed than the jitter's, whose two numbers would go with the angle and the size.
        pair = tf.stack([tf.constant(seed + 1, tf.int64), tf.cast(step, tf.int64)])
        uniform = tf.random.stateless_uniform([2], pair, -1.0, 1.0)
        return turned(jitter(image, pixels, seed, step), uniform[0] * degrees * math.pi / 180, 1 + zoom * uniform[1])

    return transform
