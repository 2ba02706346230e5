"""Which pixels a class score depends on: saliency, SmoothGrad, integrated gradients, Grad-CAM.

A `Score` is a function from images [batch, H, W, 3] to one number per picture, [batch]; a gradient is that of each picture's
own score to its own pixels, in units of the score per unit of brightness in [0, 1].
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

TOLERANCE = 0.01  # largest completeness error of integrated gradients that is not divided further
MOST = 128  # parts of the way of integrated gradients
ROWS = 4  # images of which scores and gradients are computed at once: beyond that, time hardly falls and memory grows
Score = Callable[[tf.Tensor], tf.Tensor]


class Differentiated:
    """A score with its gradient as one function of TensorFlow, for maps that need many gradients.

    Nothing but the gradient's own values is kept between the two. Copies of a batch are computed several at once, where they
    are few enough: a gradient of DenseNet-121 takes two fifths of the time that it takes alone and in two functions.

    Args:
      score: as above. Its images may be several copies of the batch, one after the other.
      batch: the number of images in a batch.
    """

    def __init__(self, score: Score, batch: int):
        self._copies = max(1, ROWS // batch)
        self._function = tf.function(lambda rows: _value_and_gradient(score, rows), autograph=False)

    def __call__(self, values: Sequence[tf.Tensor]) -> list[tuple[tf.Tensor, tf.Tensor]]:
        """The scores [batch] and the gradients [batch, H, W, 3] at each of some batches of images."""
        found: list[tuple[tf.Tensor, tf.Tensor]] = []
        for start in range(0, len(values), self._copies):
            chunk = list(values[start : start + self._copies])
            same = [chunk[-1]] * (self._copies - len(chunk))  # another number of images would be another function
            parts = [tf.split(part, self._copies) for part in self._function(tf.concat(chunk + same, 0))]
            found.extend(list(zip(*parts, strict=True))[: len(chunk)])
        return found


def differentiated(score: Score | Differentiated, image: tf.Tensor) -> Differentiated:
    """A score with its gradient for batches of the size of `image`; what is that already stays."""
    return score if isinstance(score, Differentiated) else Differentiated(score, image.shape[0])


def gradient(score: Score, value: tf.Tensor) -> tf.Tensor:
    """d score / d value, of the shape of `value`: an image, or the features that the score is computed from."""
    return _value_and_gradient(score, value)[1]


def _value_and_gradient(score: Score, value: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    value = tf.convert_to_tensor(value)
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(value)
        scores = score(value)
        total = tf.reduce_sum(scores)
    return scores, tape.gradient(total, value)


def saliency_map(pixel_gradient: tf.Tensor) -> tf.Tensor:
    """max over channels of |d score / d pixel| (Simonyan et al. 2014, arXiv 1312.6034, section 3.1), [batch, H, W]."""
    return tf.reduce_max(tf.abs(pixel_gradient), axis=-1)


def smoothgrad(score: Score | Differentiated, image: tf.Tensor, samples: int, noise: float, seed: int) -> tf.Tensor:
    """The mean gradient over noisy copies of the image (Smilkov et al. 2017, arXiv 1706.03825).

    Args:
      score, image: as above; the score can be `Differentiated`.
      samples: number of copies.
      noise: deviation of the normal noise as a fraction of each picture's range, max - min.
      seed: of the noise.

    Returns:
      [batch, H, W, 3].
    """
    image = tf.convert_to_tensor(image)
    axes = list(range(1, image.shape.rank))
    deviation = noise * (tf.reduce_max(image, axes, keepdims=True) - tf.reduce_min(image, axes, keepdims=True))
    total, at = tf.zeros_like(image), differentiated(score, image)
    for first in range(0, samples, ROWS):  # not all at once, for the sake of memory
        numbers = range(first, min(first + ROWS, samples))
        noisy = [image + deviation * tf.random.stateless_normal(image.shape, (seed, number)) for number in numbers]
        total = tf.add_n([total, *(slope for _, slope in at(noisy))])
    return total / samples


def integrated_gradients(
    score: Score | Differentiated,
    image: tf.Tensor,
    baseline: tf.Tensor,
    points: int,
    *,
    tolerance: float = TOLERANCE,
    most: int = MOST,
) -> tuple[tf.Tensor, np.ndarray, int]:
    """(x - x') times the mean gradient on the straight way from x' to x (Sundararajan et al. 2017, arXiv 1703.01365, eq. 1).

    The mean is taken at the middles of `points` equal parts of the way. Completeness (their proposition 1) says that the
    attributions sum to score(x) - score(x'). Where they do not within `tolerance` for every image, `ROWS` places are added
    between those neighbors whose gradients say least well how the score changes from one to the other, again and again. Each
    place counts for the part of the way that is nearest to it.

    Args:
      score, image: as above; the score can be `Differentiated`.
      baseline: x', of the image's shape or one that broadcasts to it.
      points: parts of the way at first.
      tolerance: largest |sum - difference| / |difference|.
      most: parts of the way at last, if there are not more at first.

    Returns:
      attributions [batch, H, W, 3], the completeness error of each image [batch], the number of parts.
    """
    image = tf.convert_to_tensor(image)
    baseline = tf.broadcast_to(tf.convert_to_tensor(baseline), image.shape)
    way = image - baseline
    axes = list(range(1, image.shape.rank))
    at = differentiated(score, image)
    (first, _), (last, _) = at([baseline, image])  # the place 1.0 is this image but for rounding
    first, last = first.numpy(), last.numpy()
    scale = np.maximum(np.abs(last - first), 1e-12)

    def found(where: Sequence[float]) -> list[_Place]:
        slopes = at([baseline + one * way for one in where])
        return [
            _Place(one, value.numpy(), slope, tf.reduce_sum(way * slope, axes).numpy())
            for one, (value, slope) in zip(where, slopes, strict=True)
        ]

    places = found([(number + 0.5) / points for number in range(points)])
    while True:
        widths = _widths([one.at for one in places])
        sums = np.sum([width * one.along for width, one in zip(widths, places, strict=True)], axis=0)
        errors = np.abs(sums - (last - first)) / scale
        if errors.max() <= tolerance or len(places) >= most:
            break
        residuals = [np.max(np.abs(residual) / scale) for residual in _residuals(places, first, last)]
        more = _between([0.0, *(one.at for one in places), 1.0], residuals, min(ROWS, most - len(places)))
        places = sorted(places + found(more), key=lambda one: one.at)
    mean = tf.add_n([width * one.slope for width, one in zip(widths, places, strict=True)])
    return way * mean, errors, len(places)


class _Place(NamedTuple):
    """A place on the way from a baseline, which is `at` 0 to the image, which is at 1.

    Attributes:
      value: the score there, [batch].
      slope: d score / d image.
      along: d score / d at, the sum of (x - x') times the slope, [batch].
    """

    at: float
    value: np.ndarray
    slope: tf.Tensor
    along: np.ndarray


def _between(ends: Sequence[float], residuals: Sequence[float], count: int) -> list[float]:
    """Places that divide the gaps between `ends` evenly, most of them where the residuals are largest.

    A residual is expected to fall with the square of the parts of its gap, as it does where the score is smooth.
    """
    parts = np.ones(len(residuals), int)
    for _ in range(count):
        parts[np.argmax(np.asarray(residuals) / parts**2)] += 1
    gaps = zip(itertools.pairwise(ends), parts, strict=True)
    return [start + (end - start) * step / inner for (start, end), inner in gaps for step in range(1, inner)]


def _widths(at: Sequence[float]) -> list[float]:
    """The part of the way that is nearest to each place."""
    borders = [0.0, *((one + other) / 2 for one, other in itertools.pairwise(at)), 1.0]
    return [end - start for start, end in itertools.pairwise(borders)]


def _residuals(places: Sequence[_Place], first: np.ndarray, last: np.ndarray) -> list[np.ndarray]:
    """What the slopes say of the change of the score up to each place and from the last one to the end, minus that change."""
    inner = [
        (other.at - one.at) * (one.along + other.along) / 2 - (other.value - one.value)
        for one, other in itertools.pairwise(places)
    ]
    begin, end = places[0], places[-1]
    return [begin.at * begin.along - (begin.value - first), *inner, (1 - end.at) * end.along - (last - end.value)]


def grad_cam(features: tf.Tensor, feature_gradient: tf.Tensor) -> tf.Tensor:
    """ReLU of the channels, each weighted by the mean of its gradient (Selvaraju et al. 2017, arXiv 1610.02391, eqs. 1 and 2).

    Args:
      features: [batch, h, w, channels] of a layer.
      feature_gradient: d score / d features, of the same shape.

    Returns:
      [batch, h, w].
    """
    weights = tf.reduce_mean(feature_gradient, axis=[1, 2], keepdims=True)
    return tf.nn.relu(tf.reduce_sum(weights * features, axis=-1))
