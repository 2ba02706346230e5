"""The figures of an inversion: how near an image is to its target, and its features to the target features."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfinvert import images, metrics
from tfinvert.networks.network import Network
from tfinvert.optimization.snapshots import Snapshot

HIGHEST_PSNR = 200.0  # dB: more than float32 can tell apart, and JSON has no infinity


def features(model: Callable[..., Mapping[str, tf.Tensor]], image: np.ndarray) -> dict[str, np.ndarray]:
    """Layer name -> features [n, ...] of images [n, height, width, 3]."""
    return {name: value.numpy() for name, value in model(tf.constant(image), training=False).items()}


def snapshot_psnr(snapshot: Snapshot, target: np.ndarray | None) -> dict[str, float]:
    """What a line of metrics.jsonl says about quality: the mean PSNR over the restarts, or nothing without a target."""
    if target is None:
        return {}
    assert snapshot.image is not None
    return {"psnr": float(np.mean([psnr(image, target) for image in snapshot.image]))}


def psnr(image: np.ndarray, target: np.ndarray) -> float:
    """PSNR in dB, at most 200."""
    value = metrics.psnr(image, target)
    return value if math.isnan(value) else min(value, HIGHEST_PSNR)


def inversion(
    model: Callable[..., Mapping[str, tf.Tensor]],
    image: np.ndarray,
    target: np.ndarray | None,
    target_features: Mapping[str, Any],
    distances: Mapping[str, float],
) -> dict[str, float]:
    """The figures of one image: those of the features, and PSNR and SSIM where there is a target image.

    Args:
      model: image [n, height, width, 3] -> features by layer.
      image, target: [height, width, 3].
      target_features: layer name -> [1, ...].
      distances: layer name -> mean distance of the features of different images (`mean_distances`).
    """
    reached = features(model, image[None])
    pairs = [(reached[name], np.asarray(value), distances[name]) for name, value in target_features.items()]
    quality = {} if target is None else {"psnr": psnr(image, target), "ssim": metrics.ssim(image, target)}
    return {
        **quality,
        "normalized_feature_error": float(np.mean([metrics.normalized_feature_error(a, b) for a, b, _ in pairs])),
        "mv2016_error": float(np.mean([metrics.mv2016_error(a, b) for a, b, _ in pairs])),
        "mv2015_error": float(np.mean([metrics.mv2015_error(a, b, distance) for a, b, distance in pairs])),
    }


def mean_distances(network: Network, layers: Sequence[str]) -> dict[str, float]:
    """For each layer, how far apart the features of different images are: the quadrants of the sample photographs."""

    def compute() -> dict[str, float]:
        model = network.cut(layers)
        quadrants = (quadrant for name in images.SAMPLES for quadrant in _quadrants(name, network.size))
        return metrics.mean_pairwise_distances(features(model, quadrant[None]) for quadrant in quadrants)

    return network.remembered("mean_distances", layers, compute)


def _quadrants(name: str, size: tuple[int, int]) -> np.ndarray:
    """The four quarters of a sample photograph, each of the given size."""
    large = images.load(name, (2 * size[0], 2 * size[1]), "squash")
    return np.concatenate([large[:, y : y + size[0], x : x + size[1]] for y in (0, size[0]) for x in (0, size[1])])
