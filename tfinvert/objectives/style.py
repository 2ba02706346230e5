"""Content and style losses of Gatys, Ecker & Bethge 2016 as CS231n, assignment 3, computes them. They give [batch]."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from tfinvert.objectives.features import all_but_batch, require_same_shape


def content_loss(features: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
    """sum((F - P)^2), CS231n's content loss without its weight. Half of it is Gatys et al. 2016, equation 1.

    Args:
      features: F, [batch, ...], of the image.
      target: P, [1, ...] or [batch, ...], of the content.

    Returns:
      [batch].

    Raises:
      ValueError: the shapes differ in more than the batch.

    Example:
      >>> float(content_loss([[1.0, 2.0]], [[1.0, 4.0]])[0])
      4.0
    """
    features, target = tf.convert_to_tensor(features), tf.convert_to_tensor(target)
    require_same_shape(features, target)
    return tf.reduce_sum(tf.math.squared_difference(features, target), axis=all_but_batch(features))


def gram_matrix(features: tf.Tensor, *, normalize: bool = True) -> tf.Tensor:
    """G_ij = sum over positions of F_i F_j (Gatys et al. 2016, equation 3), divided by H W C as CS231n does.

    Args:
      features: F, [batch, H, W, C].
      normalize: False for the sum itself.

    Returns:
      [batch, C, C].

    Example:
      >>> gram_matrix(tf.ones([1, 2, 2, 3]), normalize=False).numpy()[0, 0].tolist()
      [4.0, 4.0, 4.0]
    """
    features = tf.convert_to_tensor(features)
    gram = tf.einsum("bhwi,bhwj->bij", features, features)
    return gram / tf.cast(tf.reduce_prod(tf.shape(features)[1:]), gram.dtype) if normalize else gram


def style_loss(features: Sequence[tf.Tensor], grams: Sequence[tf.Tensor], weights: Sequence[float]) -> tf.Tensor:
    """sum over layers of w_l sum((G_l - A_l)^2), CS231n's style loss.

    Args:
      features: the image's features, [batch, H, W, C] for each layer; G_l is their Gram matrix.
      grams: A_l, the style's Gram matrix [1, C, C] or [batch, C, C] for each layer.
      weights: w_l, one for each layer.

    Returns:
      [batch].

    Raises:
      ValueError: the numbers of layers differ, or a Gram matrix has another layer's shape.

    Example:
      >>> features = tf.ones([1, 2, 2, 3])
      >>> float(style_loss([features], [gram_matrix(features)], [1.0])[0])
      0.0
    """
    losses = [
        weight * content_loss(gram_matrix(layer), gram) for layer, gram, weight in zip(features, grams, weights, strict=True)
    ]
    return tf.add_n(losses)
