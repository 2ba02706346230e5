"""Class scores of a network that was cut to its layer `scores`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import keras
import numpy as np
import tensorflow as tf

from tfinvert.networks.heads import SIGMOID, SOFTMAX
from tfinvert.networks.names import SCORES


def class_scores(model: keras.Model) -> Callable[[tf.Tensor], tf.Tensor]:
    """The unnormalized class scores as a function: images [batch, H, W, 3] in [0, 1] -> [batch, classes].

    Args:
      model: from images to {layer name: features}, `scores` among them.
    """
    return lambda image: by_class(model(tf.convert_to_tensor(image), training=False)[SCORES])


def probabilities(model: keras.Model, image: tf.Tensor | np.ndarray, activation: str = SOFTMAX) -> np.ndarray:
    """The probabilities of the classes, [batch, classes], for images [batch, H, W, 3] in [0, 1]."""
    scores = class_scores(model)(image)
    return (tf.sigmoid(scores) if activation == SIGMOID else tf.nn.softmax(scores)).numpy()


def log_probabilities(scores: tf.Tensor, activation: str) -> tf.Tensor:
    """The logarithm of the softmax of scores [batch, classes], or of their sigmoid."""
    return tf.math.log_sigmoid(scores) if activation == SIGMOID else tf.nn.log_softmax(scores)


def by_class(scores: tf.Tensor) -> tf.Tensor:
    """The layer `scores` as [batch, classes], averaged over positions where an image is large enough for several.

    A single score z is that of class 1, and -z is that of class 0: these are the logarithms of the odds of each.
    """
    flat = scores if scores.shape.rank == 2 else tf.reduce_mean(scores, axis=list(range(1, scores.shape.rank - 1)))
    return tf.concat([-flat, flat], axis=-1) if flat.shape[-1] == 1 else flat


def of_classes(scores: Callable[[tf.Tensor], tf.Tensor], classes: Sequence[int]) -> Callable[[tf.Tensor], tf.Tensor]:
    """A function to [batch, all classes] as a function to [batch], the score of each image's own class.

    The images can be several copies of a batch, one after the other.
    """

    def own(value: tf.Tensor) -> tf.Tensor:
        every = scores(value)
        own_classes = tf.tile(tf.constant(list(classes)), [tf.shape(every)[0] // len(classes)])
        return tf.gather(every, own_classes, axis=1, batch_dims=1)

    return own
