"""What makes an image likely, whatever its features: total variation and the alpha norm. They give one number per image."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import tensorflow as tf

from tfinvert.images.files import MEAN_COLOR
from tfinvert.objectives.features import all_but_batch
from tfinvert.system.errors import choice_error

VARIATION_KINDS = ("l1", "l2", "beta")
ALPHA_KINDS = ("values", "pixels")
REDUCTIONS = ("sum", "mean")
FLAT = 1e-12  # squared differences below this, a thousandth of a gray level, count as none


def total_variation(image: tf.Tensor, kind: str = "l1", reduction: str = "sum", beta: float = 2.0) -> tf.Tensor:
    """Differences between neighboring pixels, below and to the right.

    Args:
      image: [batch, H, W, channels].
      kind: "l1" for absolute differences, which is `tf.image.total_variation`; "l2" for squared ones, as in CS231n; "beta" for
        (down^2 + right^2)^(beta / 2) (Mahendran & Vedaldi 2015, equation 4), which with beta = 2 is "l2".
      reduction: "sum", or "mean" for the sum divided by H W channels.
      beta: the power, used by kind "beta". Flat places have no gradient, whatever it is.

    Returns:
      [batch]; 0 for a flat image.

    Raises:
      InputError: an unknown kind or reduction.

    Example:
      >>> float(total_variation(tf.constant([[[[0.0], [1.0]], [[0.0], [1.0]]]]))[0])
      2.0
    """
    require_choices(("kind", kind, VARIATION_KINDS), ("reduction", reduction, REDUCTIONS))
    if kind == "l1":
        value = _absolute_variation(tf.convert_to_tensor(image))
    elif kind == "l2":
        down = tf.reduce_sum(tf.square(image[:, 1:] - image[:, :-1]), axis=[1, 2, 3])
        right = tf.reduce_sum(tf.square(image[:, :, 1:] - image[:, :, :-1]), axis=[1, 2, 3])
        value = down + right
    else:
        down = tf.pad(image[:, 1:] - image[:, :-1], [[0, 0], [0, 1], [0, 0], [0, 0]])
        right = tf.pad(image[:, :, 1:] - image[:, :, :-1], [[0, 0], [0, 0], [0, 1], [0, 0]])
        squares = tf.square(down) + tf.square(right)
        # A power has no finite derivative at 0 and must not be evaluated there: tf.where differentiates both branches.
        flat = squares < FLAT
        value = tf.reduce_sum(tf.where(flat, 0.0, tf.where(flat, 1.0, squares) ** (beta / 2)), axis=[1, 2, 3])
    return _reduced(value, image, reduction)


@tf.function(autograph=False)  # traced once per shape: TensorFlow keeps every custom gradient and the graph around it
@tf.custom_gradient
def _absolute_variation(image: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
    """tf.image.total_variation, [batch], with its gradient by hand: TensorFlow's, through slices, takes four times as long."""

    # As `tf.image.total_variation` writes them, so that TensorFlow computes them once.
    downwards, sidewards = image[:, 1:, :, :] - image[:, :-1, :, :], image[:, :, 1:, :] - image[:, :, :-1, :]

    def gradient(upstream: tf.Tensor) -> tf.Tensor:
        down, right = tf.sign(downwards), tf.sign(sidewards)
        below, above = tf.pad(down, [[0, 0], [1, 0], [0, 0], [0, 0]]), tf.pad(down, [[0, 0], [0, 1], [0, 0], [0, 0]])
        after, before = tf.pad(right, [[0, 0], [0, 0], [1, 0], [0, 0]]), tf.pad(right, [[0, 0], [0, 0], [0, 1], [0, 0]])
        return upstream[:, None, None, None] * (below - above + after - before)

    return tf.image.total_variation(image), gradient


def alpha_norm(image: tf.Tensor, alpha: float = 6.0, kind: str = "values", reduction: str = "sum") -> tf.Tensor:
    """The distance of the image from the mean color, to a power that tolerates all but very bright and very dark places.

    Args:
      image: [batch, H, W, 3] in [0, 1].
      alpha: the power.
      kind: "values" for the sum of |x|^alpha over pixels and channels (Mahendran & Vedaldi 2015, equation 3); "pixels" for
        the sum of ||x||^alpha over pixels, with the length of the color's difference (Mahendran & Vedaldi 2016).
      reduction: "sum", or "mean" for the sum divided by H W channels.

    Returns:
      [batch]; 0 for an image of the mean color.

    Raises:
      InputError: an unknown kind or reduction.

    Example:
      >>> float(alpha_norm(tf.ones([1, 8, 8, 3]) * MEAN_COLOR)[0])
      0.0
    """
    require_choices(("kind", kind, ALPHA_KINDS), ("reduction", reduction, REDUCTIONS))
    difference = image - MEAN_COLOR
    if kind == "values" and alpha >= 2:
        return _reduced(_sum_of_powers(difference, alpha), image, reduction)
    squares = tf.square(difference)
    if kind == "pixels":
        squares = tf.reduce_sum(squares, axis=-1)
    at_mean = squares < FLAT
    powers = tf.where(at_mean, 0.0, tf.where(at_mean, 1.0, squares) ** (alpha / 2))
    return _reduced(tf.reduce_sum(powers, axis=all_but_batch(powers)), image, reduction)


@tf.function(autograph=False)  # as above
def _sum_of_powers(values: tf.Tensor, power: float) -> tf.Tensor:
    """The sum of |x|^power, [batch], for a power from 2 on, whose gradient is 0 at 0: TensorFlow's own takes twice as long."""

    @tf.custom_gradient
    def summed(values: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
        squares = tf.square(values)

        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            return power * upstream[:, None, None, None] * (values * squares ** (power / 2 - 1))

        return tf.reduce_sum(squares ** (power / 2), axis=all_but_batch(squares)), gradient

    return summed(values)


def require_choices(*choices: tuple[str, str, tuple[str, ...]]) -> None:
    """Raises InputError at the first (name, value, valid values) whose value is not valid."""
    for name, value, valid in choices:
        if value not in valid:
            raise choice_error(name, str(value), valid)


def _reduced(value: tf.Tensor, image: tf.Tensor, reduction: str) -> tf.Tensor:
    if reduction == "sum":
        return value
    return value / tf.cast(tf.reduce_prod(tf.shape(image)[1:]), value.dtype)


@dataclasses.dataclass(frozen=True)
class Regularizer:
    """A formula of this file as a term of an inversion.

    Attributes:
      formula: image [batch, H, W, 3] and options -> [batch].
      weight: the setting that is its weight.
      options: argument of the formula -> the setting that it takes.
    """

    formula: Callable[..., tf.Tensor]
    weight: str
    options: Mapping[str, str]


# The name of the term -> the regularizer. A new one is a formula, a row here, and its settings in settings/inversion.py.
REGULARIZERS = {
    "tv": Regularizer(total_variation, "tv_weight", {"kind": "tv_kind", "reduction": "tv_reduction", "beta": "tv_beta"}),
    "alpha_norm": Regularizer(
        alpha_norm, "alpha_weight", {"alpha": "alpha", "kind": "alpha_kind", "reduction": "alpha_reduction"}
    ),
}
