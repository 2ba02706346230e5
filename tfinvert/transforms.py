"""Random changes of the image on its way into the network. Their random numbers are a function of (seed, step)."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from tfinvert.config import Config


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
    return shift(image, random_offsets(seed, step, -((pixels - 1) // 2), pixels // 2))


def run_transform(config: Config) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor] | None:
    """The transform of a run: (image, number of updates) -> image as the network sees it, or None for none."""
    if config.jitter <= 1:
        return None
    steps = config.jitter_steps or config.steps

    def transform(image: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
        return tf.cond(step < steps, lambda: jitter(image, config.jitter, config.seed, step), lambda: image)

    return transform
