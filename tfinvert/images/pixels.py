"""Operations on pixels that parameterizations are made of."""

from collections.abc import Callable

import tensorflow as tf

from tfinvert.images.files import MEAN_COLOR

BOUND = 160 / 255  # Mahendran & Vedaldi 2016: twice B = 80 gray levels


def bound_colors(image: tf.Tensor, bound: float = BOUND) -> tf.Tensor:
    """Cuts each pixel's distance from the mean color, as a vector of RGB, to `bound` (Mahendran & Vedaldi 2016).

    Args:
      image: [batch, H, W, 3] in [0, 1].
      bound: the longest distance.
    """
    difference = image - MEAN_COLOR
    length = tf.sqrt(tf.reduce_sum(tf.square(difference), axis=-1, keepdims=True))
    return MEAN_COLOR + difference * tf.minimum(bound / tf.maximum(length, 1e-12), 1.0)


@tf.function(autograph=False)  # traced once per shape: TensorFlow keeps every custom gradient, and the graph around it
@tf.custom_gradient
def clip_softly(image: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
    """Clips to [0, 1], with the gradient of the identity wherever descending does not lead further out.

    Args:
      image: of any shape.
    """

    def gradient(upstream: tf.Tensor) -> tf.Tensor:
        outwards = ((image < 0) & (upstream > 0)) | ((image > 1) & (upstream < 0))
        return tf.where(outwards, 0.0, upstream)

    return tf.clip_by_value(image, 0.0, 1.0), gradient
