"""The terms of the loss: what an optimization lowers. All of them are minimized; a term that is to grow is negated inside.

A term is a function of the image and its features, with a name and a weight. Own terms are plain functions or a `Term`:

    def contrast(image, features):                     # [batch, H, W, 3] -> [batch]
        return -tf.math.reduce_std(image, axis=[1, 2, 3])

    terms = [match(features), total_variation(0.1), contrast, Term("calm", 0.01, lambda image, features: ...)]
"""

from __future__ import annotations

import dataclasses
import math
import numbers
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfinvert.objectives import regularizers
from tfinvert.objectives.features import mean_square, mean_squared_error, normalized_squared_error, require_same_shape
from tfinvert.system.errors import InputError, shown

LOSSES = ("mse", "normalized")
Features = Mapping[str, tf.Tensor]


@dataclasses.dataclass(frozen=True)
class Term:
    """One summand of the loss.

    Attributes:
      name: the name under which it is logged.
      weight: its factor in the loss: a number, or a function of the step that gives one, such as a Keras
        LearningRateSchedule. The step is an int64 scalar: the number of updates so far.
      value: (image [batch, H, W, 3] in [0, 1], features by layer name) -> [batch], without the weight.
      layers: the layers that `value` reads.
      final_weight: the factor with which the best image is chosen, where `weight` is a function. Default: the weight of
        the step, so that losses of different steps are compared as they are.
      squares: for a term that is a sum of squares, features -> (d [batch, ...], s) with the value s sum(d^2), where d is the
        features of the one layer minus a constant. Its gradient with respect to the features is then 2 s d, which the
        optimization uses instead of differentiating.
      target: for a term of `match`, the variable with its target features; `retarget` exchanges them.

    Raises:
      InputError: the weight is no finite number and no function, or the value is no function.
    """

    name: str
    weight: float | Callable[[tf.Tensor], tf.Tensor]
    value: Callable[[tf.Tensor, Features], tf.Tensor]
    layers: tuple[str, ...] = ()
    final_weight: float | None = None
    squares: Callable[[Features], tuple[tf.Tensor, tf.Tensor]] | None = None
    target: tf.Variable | None = None

    def __post_init__(self) -> None:
        if not callable(self.value):
            raise InputError(f"the value of term {self.name!r} is {self.value!r}; expected a function of (image, features)")
        if not callable(self.weight):
            object.__setattr__(self, "weight", _number(f"the weight of term {self.name!r}", self.weight))


def match(
    features: Mapping[str, Any],
    weight: float = 1.0,
    loss: str = "normalized",
    layer_weights: Mapping[str, float] | Sequence[float] | None = None,
) -> list[Term]:
    """Terms that draw features to targets: weight mean_l(w_l E(phi_l(x), phi0_l)), one term for each layer l, named like it.

    Args:
      features: layer name -> target features phi0 [1, ...], or [batch, ...] for a target of each image of the batch. Arrays
        or tensors.
      weight: the factor of all of them.
      loss: the error E: "mse" for `mean_squared_error`, "normalized" for `normalized_squared_error`.
      layer_weights: w_l, by layer name or in the order of `features`. Default: 1 for each.

    Raises:
      InputError: there are no features, the weights do not fit them, or the loss is unknown.

    Examples:
      >>> terms = match({"res2": tf.zeros([1, 28, 28, 128]), "res4": tf.zeros([1, 14, 14, 256])}, layer_weights=[1, 3])
      >>> [(term.name, term.weight) for term in terms]
      [('res2', 0.5), ('res4', 1.5)]
    """
    if not isinstance(features, Mapping) or not features:
        raise InputError(f"the features to match are {shown(features)}; expected a dictionary from layer names to arrays")
    regularizers.require_choices(("loss", loss, LOSSES))
    shares = _layer_weights(layer_weights, list(features))
    weight = _number("the weight of the features to match", weight)
    return [
        _match_layer(layer, target, weight * share / len(features), loss)
        for (layer, target), share in zip(features.items(), shares, strict=True)
    ]


def retarget(terms: Iterable[Term], features: Mapping[str, Any]) -> None:
    """Gives terms of `match` other target features of the same shape, in place. What was traced with them stays valid.

    Args:
      terms: those without target features are left as they are.
      features: layer name -> target features.

    Raises:
      InputError: a layer has no features, or they have another shape than those before.

    Examples:
      >>> (term,) = match({"fc": [[1.0, 2.0]]}, loss="mse")
      >>> retarget([term], {"fc": [[3.0, 2.0]]})
      >>> float(term.value(None, {"fc": tf.constant([[1.0, 2.0]])})[0])
      2.0
    """
    for term in terms:
        if term.target is None:
            continue
        (layer,) = term.layers
        if layer not in features:
            raise InputError(f"there are no features of {layer!r}; expected those of each layer that is matched")
        values = tf.cast(tf.convert_to_tensor(features[layer]), tf.float32)
        if values.shape != term.target.shape:
            raise InputError(f"the features of {layer!r} have the shape {values.shape}; expected {term.target.shape}")
        term.target.assign(values)


def total_variation(weight: float, kind: str = "l1", reduction: str = "mean", beta: float = 2.0) -> Term:
    """The term `tv`, which smooths the image: weight TV(x). The arguments are those of `regularizers.total_variation`.

    Examples:
      >>> float(total_variation(0.1, "l2").value(tf.ones([1, 8, 8, 3]), {})[0])
      0.0
    """
    regularizers.require_choices(
        ("kind", kind, regularizers.VARIATION_KINDS), ("reduction", reduction, regularizers.REDUCTIONS)
    )
    return Term("tv", weight, lambda image, features: regularizers.total_variation(image, kind, reduction, beta))


def alpha_norm(weight: float, alpha: float = 6.0, kind: str = "values", reduction: str = "mean") -> Term:
    """The term `alpha_norm`, which draws the image to the mean color. The arguments are those of `regularizers.alpha_norm`.

    Examples:
      >>> alpha_norm(2.0, kind="pixels").weight
      2.0
    """
    regularizers.require_choices(("kind", kind, regularizers.ALPHA_KINDS), ("reduction", reduction, regularizers.REDUCTIONS))
    return Term("alpha_norm", weight, lambda image, features: regularizers.alpha_norm(image, alpha, kind, reduction))


def score(layer: str, index: int | Sequence[int], weight: float = 1.0, *, neuron: bool = False) -> Term:
    """The term `score`, which makes a class score or a channel large: minus its value, averaged over the positions.

    Args:
      layer: a layer [batch, classes] or [batch, H, W, channels].
      index: the class or channel, or one for each image of the batch.
      weight: the factor.
      neuron: only the position in the middle of the image counts.

    Raises:
      InputError: an index is no whole number from 0 on.

    Examples:
      >>> float(score("scores", 1).value(None, {"scores": tf.constant([[3.0, 5.0]])})[0])
      -5.0
    """
    indices = np.asarray(index)
    if indices.ndim > 1 or indices.dtype.kind not in "iu" or not indices.size or indices.min() < 0:
        raise InputError(f"the index of {layer!r} is {index!r}; expected a whole number from 0 on, or one for each image")

    def value(image: tf.Tensor, features: Features) -> tf.Tensor:
        channels = features[layer]
        if indices.max() >= channels.shape[-1]:
            raise ValueError(f"the index {indices.max()} is beyond {layer!r}; expected 0 to {channels.shape[-1] - 1}")
        if channels.shape.rank == 4:
            if neuron:
                channels = channels[:, channels.shape[1] // 2, channels.shape[2] // 2]
            else:
                channels = tf.reduce_mean(channels, axis=[1, 2])
        own = np.broadcast_to(indices, channels.shape[0]).astype(np.int32)
        return -tf.gather(channels, tf.constant(own), axis=1, batch_dims=1)

    return Term("score", weight, value, (layer,))


def annealed(term: Term, steps: int, final: float) -> Term:
    """The term with its weight w falling geometrically: w final^(step / steps), and w final from step `steps` on.

    The best image is chosen with the last weight.

    Args:
      term: a term whose weight is a number.
      steps: the step from which on the weight stays.
      final: the part of the weight that is left then, above 0.

    Raises:
      InputError: the weight changes already, or an argument is out of its range.

    Examples:
      >>> falling = annealed(total_variation(1.0), steps=100, final=0.01)
      >>> round(float(falling.weight(tf.constant(50))), 3), falling.final_weight
      (0.1, 0.01)
    """
    weight = term.weight
    if callable(weight):
        raise InputError(f"the weight of term {term.name!r} changes already; expected one whose weight is a number")
    if not (steps >= 1 and final > 0):
        raise InputError(
            f"term {term.name!r} is annealed to {final} in {steps} steps; expected a part above 0, in 1 step or more"
        )

    def at(step: tf.Tensor) -> tf.Tensor:
        return weight * final ** tf.minimum(tf.cast(step, tf.float32) / steps, 1.0)

    return dataclasses.replace(term, weight=at, final_weight=weight * final)


def _match_layer(layer: str, target: Any, weight: float, loss: str) -> Term:
    error = {"mse": mean_squared_error, "normalized": normalized_squared_error}[loss]
    phi0 = tf.Variable(tf.cast(tf.convert_to_tensor(target), tf.float32), trainable=False, name="target")

    def squares(features: Features) -> tuple[tf.Tensor, tf.Tensor]:
        require_same_shape(features[layer], phi0)
        difference = features[layer] - phi0
        return difference, 1 / (math.prod(phi0.shape[1:]) * (mean_square(phi0)[0] if loss == "normalized" else 1.0))

    return Term(
        layer,
        weight,
        lambda image, features: error(features[layer], phi0),
        (layer,),
        squares=squares if phi0.shape[0] == 1 else None,  # several targets have different factors s
        target=phi0,
    )


def _layer_weights(weights: Mapping[str, float] | Sequence[float] | None, layers: list[str]) -> list[float]:
    if weights is None:
        return [1.0] * len(layers)
    if isinstance(weights, Mapping):
        if set(weights) != set(layers):
            raise InputError(f"layer_weights are for {', '.join(weights)}; expected one for each of {', '.join(layers)}")
        weights = [weights[layer] for layer in layers]
    if len(weights) != len(layers):
        raise InputError(f"layer_weights has {len(weights)} numbers for {len(layers)} layers; expected one for each")
    return [_number("a number of layer_weights", weight) for weight in weights]


def _number(what: str, value: Any) -> float:
    if not isinstance(value, numbers.Real) or not math.isfinite(value):
        raise InputError(f"{what} is {value!r}; expected a finite number")
    return float(value)
