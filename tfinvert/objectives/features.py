"""How far features are from their targets. Every function gives one number per image: those of a batch are independent."""

from __future__ import annotations

import tensorflow as tf

SMALLEST_MEAN_SQUARE = 1e-12  # of target features; those that are all zero would divide by zero


def mean_squared_error(features: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
    """mean((phi(x) - phi0)^2) over all values of a layer.

    Args:
      features: phi(x), [batch, ...].
      target: phi0, [1, ...] or [batch, ...], otherwise of the same shape.

    Returns:
      [batch].

    Raises:
      ValueError: the shapes differ in more than the batch; nothing is broadcast silently.

    Example:
      >>> float(mean_squared_error(tf.constant([[1.0, 2.0]]), tf.constant([[1.0, 4.0]]))[0])
      2.0
    """
    require_same_shape(features, target)
    return tf.reduce_mean(tf.math.squared_difference(features, target), axis=all_but_batch(features))


def normalized_squared_error(features: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
    """||phi(x) - phi0||^2 / ||phi0||^2 (Mahendran & Vedaldi 2015, equation 6 with its normalization), [batch].

    It is 1 for features that are all zero, whatever the network and the layer. A target that is all zero counts as one whose
    values have a mean square of 1e-12. Arguments and errors are those of `mean_squared_error`.

    Example:
      >>> float(normalized_squared_error(tf.zeros([1, 2]), tf.constant([[3.0, 4.0]]))[0])
      1.0
    """
    return mean_squared_error(features, target) / mean_square(target)


def mean_square(target: tf.Tensor) -> tf.Tensor:
    """mean(phi0^2) of each image of [batch, ...], but at least 1e-12, [batch]."""
    return tf.maximum(tf.reduce_mean(tf.square(target), axis=all_but_batch(target)), SMALLEST_MEAN_SQUARE)


def sum_of_squares(values: tf.Tensor) -> tf.Tensor:
    """sum(v^2) of each image of [batch, ...], [batch]."""
    if values.shape[0] == 1:
        return 2 * tf.reshape(tf.nn.l2_loss(values), [1])  # one pass over the values instead of two
    return tf.reduce_sum(tf.square(values), axis=all_but_batch(values))


def require_same_shape(features: tf.Tensor, target: tf.Tensor) -> None:
    """Raises ValueError unless a target [1, ...] or [batch, ...] fits features [batch, ...]."""
    if features.shape[1:] != target.shape[1:] or target.shape[0] not in (1, features.shape[0]):
        raise ValueError(f"features of shape {features.shape} have a target of shape {target.shape}; expected the same")


def all_but_batch(tensor: tf.Tensor) -> list[int]:
    """The axes of a tensor [batch, ...] without the first."""
    return list(range(1, tensor.shape.rank))
