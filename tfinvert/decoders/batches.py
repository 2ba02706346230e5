"""What a decoder is trained on, as a tf.data pipeline."""

from __future__ import annotations

import dataclasses

import numpy as np
import tensorflow as tf

from tfinvert.decoders.image_set import ImageSet

MEAN_IMAGE_DRAWS = 256


@dataclasses.dataclass(frozen=True)
class TrainingData:
    """Images in the order in which a training draws them.

    Attributes:
      image_set: the images.
      seed, augment: as of `ImageSet.draw`.
      features: the features of each image's center, [len(image_set), ...], where they are at hand.
    """

    image_set: ImageSet
    seed: int
    augment: bool
    features: np.ndarray | None = None

    def build_batches(self, numbers: np.ndarray, batch_size: int) -> tf.data.Dataset:
        """Batches of (inputs, images), cropped by several threads ahead of the step that takes them.

        Args:
          numbers: which draws, in order; `Share.draw_numbers` gives those of a training.
          batch_size: images in a batch; what does not fill a batch at the end is left out.

        Returns:
          A dataset of float32 pairs. Images are [batch, height, width, 3], RGB in [0, 1]. Inputs are their features where
          they are at hand, else the images themselves.
        """
        shape, features = self.image_set.center(0).shape, self.features

        def draw(number: np.int64) -> tuple[np.ndarray, ...]:
            index, image = self.image_set.draw(int(number), self.seed, augment=self.augment)
            return (image,) if features is None else (image, np.asarray(features[index], np.float32))

        def pair(number: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            types = (tf.uint8,) if features is None else (tf.uint8, tf.float32)
            drawn = tf.numpy_function(draw, [number], types, stateful=False)
            image = tf.cast(tf.ensure_shape(drawn[0], shape), tf.float32) / 255.0
            return image if features is None else tf.ensure_shape(drawn[1], features.shape[1:]), image

        pairs = tf.data.Dataset.from_tensor_slices(numbers).map(pair, num_parallel_calls=tf.data.AUTOTUNE)
        return pairs.batch(batch_size, drop_remainder=True).prefetch(tf.data.AUTOTUNE)

    def mean_image(self) -> np.ndarray:
        """The mean of the first draws, float32 [height, width, 3] in [0, 1]."""
        drawn = [self.image_set.draw(number, self.seed, augment=self.augment)[1] for number in range(MEAN_IMAGE_DRAWS)]
        return np.mean(np.stack(drawn), axis=0, dtype=np.float32) / np.float32(255)
