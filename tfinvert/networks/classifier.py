"""A network whose last layer says what is in a picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from tfinvert.networks import imagenet
from tfinvert.networks.names import SCORES
from tfinvert.networks.network import Network


class Classifier:
    """Class scores and names of a network that was converted with its layer `scores`.

    Attributes:
      network: the network.
      count: number of its classes.
    """

    def __init__(self, network: Network):
        self.network = network
        self.count = network.layers[SCORES].shape[-1]

    def scores(self, image: tf.Tensor) -> tf.Tensor:
        """Unnormalized scores, [batch, classes], of images [batch, H, W, 3] in [0, 1]."""
        return flat(self.network.model(tf.convert_to_tensor(image), training=False)[SCORES])

    def probabilities(self, image: tf.Tensor) -> np.ndarray:
        """Softmax of the scores, [batch, classes]."""
        return tf.nn.softmax(self.scores(image)).numpy()

    def name(self, index: int) -> str:
        """What a class is called."""
        return imagenet.name(index, self.count)

    def indices(self, names: Sequence[str]) -> list[int]:
        """The classes that a user names; raises InputError for one that the network does not have."""
        found = [imagenet.find(name) for name in names]
        for index in found:
            imagenet.check(index, self.count)
        return found


def flat(scores: tf.Tensor) -> tf.Tensor:
    """The layer `scores` as [batch, classes], averaged over positions where a picture is large enough for several."""
    return scores if scores.shape.rank == 2 else tf.reduce_mean(scores, axis=[1, 2])


def of_classes(scores: Callable[[tf.Tensor], tf.Tensor], classes: Sequence[int]) -> Callable[[tf.Tensor], tf.Tensor]:
    """A function to [batch, all classes] as one to [batch], the score of each picture's own class."""
    return lambda value: tf.gather(scores(value), tf.constant(list(classes)), axis=1, batch_dims=1)
