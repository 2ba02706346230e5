"""The terms of the loss: what the optimisation lowers.

Every function here takes batches and gives one number per picture, [batch], so that the pictures of a batch do not
disturb each other; the optimisation lowers their sum. All of them are minimised: a term that is to grow negates inside.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import tensorflow as tf

from tfinvert.config import Config


@dataclasses.dataclass(frozen=True)
class Term:
    """One summand of the loss.

    Attributes:
      name: as it is logged.
      weight: its factor in the loss.
      value: (image [batch, H, W, 3], features by layer name) -> [batch], without the weight.
      layers: the layers it reads.
    """

    name: str
    weight: float
    value: Callable[[tf.Tensor, Mapping[str, tf.Tensor]], tf.Tensor]
    layers: tuple[str, ...] = ()


def mean_squared_error(features: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
    """mean((phi(x) - phi0)^2), the homework's loss of one layer.

    Args:
      features: [batch, ...].
      target: [1, ...] or [batch, ...], otherwise of the same shape.

    Returns:
      [batch].

    Raises:
      ValueError: the shapes differ in more than the batch: nothing is broadcast silently.
    """
    if features.shape[1:] != target.shape[1:] or target.shape[0] not in (1, features.shape[0]):
        raise ValueError(f"features of shape {features.shape} have a target of shape {target.shape}; expected the same")
    return tf.reduce_mean(tf.math.squared_difference(features, target), axis=_all_but_batch(features))


def normalized_squared_error(features: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
    """||phi(x) - phi0||^2 / ||phi0||^2 (Mahendran & Vedaldi 2015, eq. 6 with its normalisation), [batch].

    1 for features that are all zero, whatever the network and layer. Arguments as in `mean_squared_error`; a target
    that is all zero is taken as it is, with a norm of 1e-12.
    """
    norm = tf.maximum(tf.reduce_mean(tf.square(target), axis=_all_but_batch(target)), 1e-12)
    return mean_squared_error(features, target) / norm


def total_variation(image: tf.Tensor, kind: str = "l1", reduction: str = "sum") -> tf.Tensor:
    """Differences between neighbouring pixels, below and to the right.

    Args:
      image: [batch, H, W, channels].
      kind: "l1" for absolute differences, `tf.image.total_variation`, as in the homework's diffs; "l2" for squared
        ones, as in its text and in CS231n (Mahendran & Vedaldi 2015 with beta = 2).
      reduction: "sum", or "mean" for the sum divided by H W channels.

    Returns:
      [batch]; 0 for a flat image.
    """
    if kind == "l1":
        value = tf.image.total_variation(image)
    elif kind == "l2":
        down = tf.reduce_sum(tf.square(image[:, 1:] - image[:, :-1]), axis=[1, 2, 3])
        right = tf.reduce_sum(tf.square(image[:, :, 1:] - image[:, :, :-1]), axis=[1, 2, 3])
        value = down + right
    else:
        raise ValueError(f"kind is {kind!r}; expected 'l1' or 'l2'")
    if reduction == "mean":
        return value / tf.cast(tf.reduce_prod(tf.shape(image)[1:]), value.dtype)
    if reduction != "sum":
        raise ValueError(f"reduction is {reduction!r}; expected 'sum' or 'mean'")
    return value


def feature_term(layer: str, target: tf.Tensor, weight: float = 1.0, loss: str = "mse") -> Term:
    """The term that draws a layer's features to a target; `loss` is "mse" or "normalized"."""
    function = {"mse": mean_squared_error, "normalized": normalized_squared_error}[loss]
    return Term(layer, weight, lambda image, features: function(features[layer], target), (layer,))


def total_variation_term(weight: float, kind: str = "l1", reduction: str = "sum") -> Term:
    """The term that smooths the image, named `tv`."""
    return Term("tv", weight, lambda image, features: total_variation(image, kind, reduction))


def run_terms(config: Config, targets: Mapping[str, tf.Tensor]) -> list[Term]:
    """The terms of a run: each layer's features, drawn to its target, and total variation where it has a weight."""
    weights = config.layer_weights or (1.0,) * len(config.layers)
    # The homework's loss is the mean over the layers.
    made = [
        feature_term(layer, targets[layer], weight / len(config.layers), config.feature_loss)
        for layer, weight in zip(config.layers, weights, strict=True)
    ]
    if config.tv_weight:
        made.append(total_variation_term(config.tv_weight, config.tv_kind, config.tv_reduction))
    return made


def _all_but_batch(tensor: tf.Tensor) -> list[int]:
    return list(range(1, tensor.shape.rank))
