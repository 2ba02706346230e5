"""Class scores of a network that was cut to its layer `scores`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import keras
import numpy as np
import tensorflow as tf

from tfinvert.networks.names import SCORES


def class_scores(model: keras.Model) -> Callable[[tf.Tensor], tf.Tensor]:
    """The unnormalized class scores as a function: images [batch, H, W, 3] in [0, 1] -> [batch, classes].

    Args:
      model: from images to {layer name: features}, `scores` among them.
    """
    return lambda image: flat(model(tf.convert_to_tensor(image), training=False)[SCORES])


def probabilities(model: keras.Model, image: tf.Tensor | np.ndarray) -> np.ndarray:
    """The softmax of the class scores, [batch, classes], for images [batch, H, W, 3] in [0, 1]."""
    return tf.nn.softmax(class_scores(model)(image)).numpy()


def flat(scores: tf.Tensor) -> tf.Tensor:
    """The layer `scores` as [batch, classes], averaged over positions where an image is large enough for several."""
    return scores if scores.shape.rank == 2 else tf.reduce_mean(scores, axis=[1, 2])


def of_classes(scores: Callable[[tf.Tensor], tf.Tensor], classes: Sequence[int]) -> Callable[[tf.Tensor], tf.Tensor]:
    """A function to [batch, all classes] as a function to [batch], the score of each image's own class."""
    return lambda value: tf.gather(scores(value), tf.constant(list(classes)), axis=1, batch_dims=1)
