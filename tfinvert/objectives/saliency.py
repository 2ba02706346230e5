"""Which pixels a class score depends on: saliency, SmoothGrad, integrated gradients, Grad-CAM.

A `Score` is a function from images [batch, H, W, 3] to one number per picture, [batch]; a gradient is that of each picture's
own score to its own pixels, in units of the score per unit of brightness in [0, 1].
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

TOLERANCE = 0.01  # largest completeness error of integrated gradients that is not divided further
Score = Callable[[tf.Tensor], tf.Tensor]


def gradient(score: Score, value: tf.Tensor) -> tf.Tensor:
    """d score / d value, of the shape of `value`: an image, or the features that the score is computed from."""
    value = tf.convert_to_tensor(value)
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(value)
        total = tf.reduce_sum(score(value))
    return tape.gradient(total, value)


def saliency_map(pixel_gradient: tf.Tensor) -> tf.Tensor:
    """max over channels of |d score / d pixel| (Simonyan et al. 2014, arXiv 1312.6034, section 3.1), [batch, H, W]."""
    return tf.reduce_max(tf.abs(pixel_gradient), axis=-1)


def smoothgrad(score: Score, image: tf.Tensor, samples: int, noise: float, seed: int) -> tf.Tensor:
    """The mean gradient over noisy copies of the image (Smilkov et al. 2017, arXiv 1706.03825).

    Args:
      score, image: as above.
      samples: number of copies.
      noise: deviation of the normal noise as a fraction of each picture's range, max - min.
      seed: of the noise.

    Returns:
      [batch, H, W, 3].
    """
    image = tf.convert_to_tensor(image)
    axes = list(range(1, image.shape.rank))
    deviation = noise * (tf.reduce_max(image, axes, keepdims=True) - tf.reduce_min(image, axes, keepdims=True))
    total = tf.zeros_like(image)
    for sample in range(samples):
        shift = deviation * tf.random.stateless_normal(image.shape, (seed, sample))
        total += gradient(score, image + shift)
    return total / samples


def integrated_gradients(
    score: Score, image: tf.Tensor, baseline: tf.Tensor, points: int, *, tolerance: float = TOLERANCE, most: int = 256
) -> tuple[tf.Tensor, np.ndarray, int]:
    """(x - x') times the mean gradient on the straight way from x' to x (Sundararajan et al. 2017, arXiv 1703.01365, eq. 1).

    The mean is taken at the middles of `points` equal parts of the way. Completeness (their proposition 1) says that the
    attributions sum to score(x) - score(x'). Where they do not within `tolerance` for every image, the part whose share of the
    sum is furthest from the change of the score along it is divided in three, again and again. Its middle stays.

    Args:
      score, image: as above.
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
    scores = {0.0: score(baseline).numpy()}  # place on the way -> score
    difference = score(image).numpy() - scores[0.0]  # the place 1.0 is this image but for rounding
    scale = np.maximum(np.abs(difference), 1e-12)

    def score_at(place: float) -> np.ndarray:
        if place not in scores:
            scores[place] = score(baseline + place * way).numpy()
        return scores[place]

    def share(start: float, end: float, slope: tf.Tensor) -> _Part:
        sums = ((end - start) * tf.reduce_sum(way * slope, axes)).numpy()
        return _Part(start, end, slope, sums, sums - (score_at(end) - score_at(start)))

    def slope_at(place: float) -> tf.Tensor:
        return gradient(score, baseline + place * way)

    slopes = [slope_at((number + 0.5) / points) for number in range(points)]
    total = tf.zeros_like(image)
    for slope in slopes:
        total += slope
    attributions = way * total / points
    errors = np.abs(tf.reduce_sum(attributions, axes).numpy() - difference) / scale
    if errors.max() <= tolerance or points + 2 > most:
        return attributions, errors, points
    parts = [share(number / points, (number + 1) / points, slope) for number, slope in enumerate(slopes)]
    while errors.max() > tolerance and len(parts) + 2 <= most:
        worst = parts.pop(max(range(len(parts)), key=lambda number: np.max(np.abs(parts[number].residual) / scale)))
        third = (worst.end - worst.start) / 3
        inner = (worst.start + third, worst.end - third)
        parts.append(share(*inner, worst.slope))
        for start, end in ((worst.start, inner[0]), (inner[1], worst.end)):
            parts.append(share(start, end, slope_at((start + end) / 2)))
        errors = np.abs(np.sum([part.sums for part in parts], axis=0) - difference) / scale
    return way * tf.add_n([(part.end - part.start) * part.slope for part in parts]), errors, len(parts)


class _Part(NamedTuple):
    """A part of the way from a baseline, from `start` to `end` of 0 to 1.

    Attributes:
      slope: d score / d image in its middle.
      sums: the sum of its summand of the attributions for each image, [batch].
      residual: the same minus the change of the score along the part.
    """

    start: float
    end: float
    slope: tf.Tensor
    sums: np.ndarray
    residual: np.ndarray


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
