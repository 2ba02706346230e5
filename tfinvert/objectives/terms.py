"""The terms of the loss: what the optimization lowers.

Every function here takes batches and gives one number per picture, [batch], so that the pictures of a batch do not
disturb each other; the optimization lowers their sum. All of them are minimized: a term that is to grow negates inside.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping, Sequence

import tensorflow as tf

from tfinvert.images.files import MEAN_COLOR
from tfinvert.settings.config import Config

FLAT = 1e-12  # squared differences below this, a thousandth of a grey level, count as none


@dataclasses.dataclass(frozen=True)
class Term:
    """One summand of the loss.

    Attributes:
      name: as it is logged.
      weight: its factor in the loss, or that by step (a TensorFlow function of the number of updates so far).
      value: (image [batch, H, W, 3], features by layer name) -> [batch], without the weight.
      layers: the layers it reads.
      final_weight: the factor by which the best image is chosen, where `weight` changes.
      squares: of a term that is a sum of squares, features by layer name -> (d [batch, ...], s) where the value is s times the
        sum of d^2, and d is the features of its one layer minus something constant: then 2 s d is its gradient with respect
        to them, which the step need not find by differentiating.
    """

    name: str
    weight: float | Callable[[tf.Tensor], tf.Tensor]
    value: Callable[[tf.Tensor, Mapping[str, tf.Tensor]], tf.Tensor]
    layers: tuple[str, ...] = ()
    final_weight: float | None = None
    squares: Callable[[Mapping[str, tf.Tensor]], tuple[tf.Tensor, tf.Tensor]] | None = None


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
    _same_shape(features, target)
    return tf.reduce_mean(tf.math.squared_difference(features, target), axis=_all_but_batch(features))


def normalized_squared_error(features: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
    """||phi(x) - phi0||^2 / ||phi0||^2 (Mahendran & Vedaldi 2015, eq. 6 with its normalization), [batch].

    1 for features that are all zero, whatever the network and layer. Arguments as in `mean_squared_error`; a target
    that is all zero is taken as it is, with a norm of 1e-12.
    """
    return mean_squared_error(features, target) / _mean_square(target)


def sum_of_squares(values: tf.Tensor) -> tf.Tensor:
    """Of each picture of [batch, ...], [batch]; of a single one in one pass."""
    if values.shape[0] == 1:
        return 2 * tf.reshape(tf.nn.l2_loss(values), [1])
    return tf.reduce_sum(tf.square(values), axis=_all_but_batch(values))


def total_variation(image: tf.Tensor, kind: str = "l1", reduction: str = "sum", beta: float = 2.0) -> tf.Tensor:
    """Differences between neighboring pixels, below and to the right.

    Args:
      image: [batch, H, W, channels].
      kind: "l1" for absolute differences, `tf.image.total_variation`, as in the homework's diffs; "l2" for squared
        ones, as in its text and in CS231n; "beta" for (down^2 + right^2)^(beta / 2) (Mahendran & Vedaldi 2015, eq. 4),
        which with beta = 2 is "l2".
      reduction: "sum", or "mean" for the sum divided by H W channels.
      beta: of kind "beta"; flat places have no gradient, whatever it is.

    Returns:
      [batch]; 0 for a flat image.
    """
    if kind == "l1":
        value = _absolute_variation(tf.convert_to_tensor(image))
    elif kind == "l2":
        down = tf.reduce_sum(tf.square(image[:, 1:] - image[:, :-1]), axis=[1, 2, 3])
        right = tf.reduce_sum(tf.square(image[:, :, 1:] - image[:, :, :-1]), axis=[1, 2, 3])
        value = down + right
    elif kind == "beta":
        down = tf.pad(image[:, 1:] - image[:, :-1], [[0, 0], [0, 1], [0, 0], [0, 0]])
        right = tf.pad(image[:, :, 1:] - image[:, :, :-1], [[0, 0], [0, 0], [0, 1], [0, 0]])
        squares = tf.square(down) + tf.square(right)
        # Where a power has no finite derivative, at 0, neither branch may be evaluated there.
        flat = squares < FLAT
        value = tf.reduce_sum(tf.where(flat, 0.0, tf.where(flat, 1.0, squares) ** (beta / 2)), axis=[1, 2, 3])
    else:
        raise ValueError(f"kind is {kind!r}; expected 'l1', 'l2' or 'beta'")
    return _reduced(value, image, reduction)


@tf.function(autograph=False)  # traced once per shape: TensorFlow keeps every custom gradient, and the graph around it
@tf.custom_gradient
def _absolute_variation(image: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
    """tf.image.total_variation, [batch], with its gradient by hand: TensorFlow's, through slices, takes four times as long."""

    def gradient(upstream: tf.Tensor) -> tf.Tensor:
        down, right = tf.sign(image[:, 1:] - image[:, :-1]), tf.sign(image[:, :, 1:] - image[:, :, :-1])
        below, above = tf.pad(down, [[0, 0], [1, 0], [0, 0], [0, 0]]), tf.pad(down, [[0, 0], [0, 1], [0, 0], [0, 0]])
        after, before = tf.pad(right, [[0, 0], [0, 0], [1, 0], [0, 0]]), tf.pad(right, [[0, 0], [0, 0], [0, 1], [0, 0]])
        return upstream[:, None, None, None] * (below - above + after - before)

    return tf.image.total_variation(image), gradient


def alpha_norm(image: tf.Tensor, alpha: float = 6.0, kind: str = "values", reduction: str = "sum") -> tf.Tensor:
    """How far the image is from the mean color, to a power that tolerates all but very bright and dark places.

    Args:
      image: [batch, H, W, 3] in [0, 1].
      alpha: the power.
      kind: "values" for the sum of |x|^alpha over pixels and channels (Mahendran & Vedaldi 2015, eq. 3); "pixels" for the
        sum of ||x||^alpha over pixels, with the length of the color's difference (Mahendran & Vedaldi 2016).
      reduction: "sum", or "mean" for the sum divided by H W channels.

    Returns:
      [batch]; 0 for an image of the mean color.
    """
    squares = tf.square(image - MEAN_COLOR)
    if kind == "pixels":
        squares = tf.reduce_sum(squares, axis=-1)
    elif kind != "values":
        raise ValueError(f"kind is {kind!r}; expected 'values' or 'pixels'")
    at_mean = squares < FLAT
    powers = tf.where(at_mean, 0.0, tf.where(at_mean, 1.0, squares) ** (alpha / 2))
    return _reduced(tf.reduce_sum(powers, axis=_all_but_batch(powers)), image, reduction)


def _reduced(value: tf.Tensor, image: tf.Tensor, reduction: str) -> tf.Tensor:
    if reduction == "mean":
        return value / tf.cast(tf.reduce_prod(tf.shape(image)[1:]), value.dtype)
    if reduction != "sum":
        raise ValueError(f"reduction is {reduction!r}; expected 'sum' or 'mean'")
    return value


def content_loss(features: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
    """sum((F - P)^2), CS231n's content loss without its weight: half of it is Gatys et al. 2016, eq. 1.

    Args:
      features: [batch, ...], of the picture.
      target: [1, ...] or [batch, ...], of the content.

    Returns:
      [batch].

    Raises:
      ValueError: the shapes differ in more than the batch.
    """
    features, target = tf.convert_to_tensor(features), tf.convert_to_tensor(target)
    _same_shape(features, target)
    return tf.reduce_sum(tf.math.squared_difference(features, target), axis=_all_but_batch(features))


def gram_matrix(features: tf.Tensor, *, normalize: bool = True) -> tf.Tensor:
    """G_ij = sum over positions of F_i F_j (Gatys et al. 2016, eq. 3), divided by H W C as CS231n does.

    Args:
      features: [batch, H, W, C].
      normalize: False for the sum itself.

    Returns:
      [batch, C, C].
    """
    features = tf.convert_to_tensor(features)
    gram = tf.einsum("bhwi,bhwj->bij", features, features)
    return gram / tf.cast(tf.reduce_prod(tf.shape(features)[1:]), gram.dtype) if normalize else gram


def style_loss(features: Sequence[tf.Tensor], grams: Sequence[tf.Tensor], weights: Sequence[float]) -> tf.Tensor:
    """sum over layers of w_l sum((G_l - A_l)^2), CS231n's style loss.

    Args:
      features: of each layer, [batch, H, W, C].
      grams: of each layer, the style's Gram matrix [1, C, C] or [batch, C, C].
      weights: of each layer.

    Returns:
      [batch].

    Raises:
      ValueError: not as many of each, or a Gram matrix of another layer's shape.
    """
    losses = [
        weight * content_loss(gram_matrix(layer), gram) for layer, gram, weight in zip(features, grams, weights, strict=True)
    ]
    return tf.add_n(losses)


def feature_term(layer: str, target: tf.Tensor, weight: float = 1.0, loss: str = "mse") -> Term:
    """The term that draws a layer's features to a target; `loss` is "mse" or "normalized"."""
    function = {"mse": mean_squared_error, "normalized": normalized_squared_error}[loss]

    def squares(features: Mapping[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        _same_shape(features[layer], target)
        difference = features[layer] - target
        return difference, 1 / (math.prod(target.shape[1:]) * (_mean_square(target)[0] if loss == "normalized" else 1.0))

    one = target.shape[0] == 1  # of several targets each has a factor of its own
    return Term(
        layer, weight, lambda image, features: function(features[layer], target), (layer,), squares=squares if one else None
    )


def total_variation_term(weight: float, kind: str = "l1", reduction: str = "sum", beta: float = 2.0) -> Term:
    """The term that smooths the image, named `tv`."""
    return Term("tv", weight, lambda image, features: total_variation(image, kind, reduction, beta))


def annealed(term: Term, steps: int, final: float) -> Term:
    """The term with its weight falling geometrically to `final` times it at step `steps`."""
    weight = term.weight
    assert isinstance(weight, float)

    def at(step: tf.Tensor) -> tf.Tensor:
        return weight * final ** tf.minimum(tf.cast(step, tf.float32) / steps, 1.0)

    return dataclasses.replace(term, weight=at, final_weight=weight * final)


def run_terms(config: Config, targets: Mapping[str, tf.Tensor]) -> list[Term]:
    """The terms of a run: each layer's features, drawn to its target, and the regularizers that have a weight."""
    weights = config.layer_weights or (1.0,) * len(config.layers)
    # The homework's loss is the mean over the layers.
    made = [
        feature_term(layer, targets[layer], weight / len(config.layers), config.feature_loss)
        for layer, weight in zip(config.layers, weights, strict=True)
    ]
    regularizers = []
    if config.tv_weight:
        regularizers.append(total_variation_term(config.tv_weight, config.tv_kind, config.tv_reduction, config.tv_beta))
    if config.alpha_weight:
        value = functools.partial(alpha_norm, alpha=config.alpha, kind=config.alpha_kind, reduction=config.alpha_reduction)
        regularizers.append(Term("alpha_norm", config.alpha_weight, lambda image, features: value(image)))
    if config.regularizer_final != 1:
        regularizers = [annealed(term, config.steps, config.regularizer_final) for term in regularizers]
    return made + regularizers


def _mean_square(target: tf.Tensor) -> tf.Tensor:
    """[batch]; not below 1e-12."""
    return tf.maximum(tf.reduce_mean(tf.square(target), axis=_all_but_batch(target)), 1e-12)


def _same_shape(features: tf.Tensor, target: tf.Tensor) -> None:
    if features.shape[1:] != target.shape[1:] or target.shape[0] not in (1, features.shape[0]):
        raise ValueError(f"features of shape {features.shape} have a target of shape {target.shape}; expected the same")


def _all_but_batch(tensor: tf.Tensor) -> list[int]:
    return list(range(1, tensor.shape.rank))
