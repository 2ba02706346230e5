"""The figures of an image in a benchmark: how near it is to its target, and its features to the target features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tfinvert import metrics
from tfinvert.networks.names import SCORES
from tfinvert.runs.figures import psnr
from tfinvert.system.errors import InputError


class Measures:
    """Measures images of one network's layer.

    Args:
      network: the tfinvert.Network.
      layer: the layer that is inverted.
      targets: name of each image -> [height, width, 3].
      judge: a network that LPIPS has weights for, or None.
    """

    def __init__(self, network: Any, layer: str, targets: Mapping[str, np.ndarray], judge: Any):
        self.network, self.layer, self.targets, self.judge = network, layer, targets, judge
        self._features = {name: self.features(image) for name, image in targets.items()}
        self._distance = metrics.mean_image_distance(list(targets.values())) if len(targets) > 1 else None
        try:
            self._activation = network.classes.activation
        except InputError:  # it has no class scores
            self._activation = None

    def features(self, image: np.ndarray) -> np.ndarray:
        """The features of an image [height, width, 3] at the layer, [1, ...]."""
        import tensorflow as tf

        return self.network.cut((self.layer,))(tf.constant(image[None]), training=False)[self.layer].numpy()

    def target_features(self, name: str) -> dict[str, np.ndarray]:
        """Layer -> the target features [1, ...] of an image by its name."""
        return {self.layer: self._features[name]}

    def figures(self, image: np.ndarray, name: str) -> dict[str, float]:
        """The figures of an image [height, width, 3], clipped to [0, 1], whose target has a name."""
        image, target = np.clip(np.nan_to_num(image, nan=0.5), 0, 1), self.targets[name]
        features, wanted = self.features(image), self._features[name]
        figures = {
            "psnr": psnr(image, target),
            "ssim": metrics.ssim(image, target),
            "normalized_feature_error": metrics.normalized_feature_error(features, wanted),
            "feature_cosine": metrics.feature_cosine(features, wanted),
        }
        if self._distance:
            figures["image_error"] = metrics.image_error(image, target, self._distance)
        if self.judge is not None:
            figures["lpips"] = metrics.lpips(image, target, self.judge)
        if self._activation is not None:
            ours, theirs = (self._probabilities(one) for one in (image, target))
            figures["top_1"] = metrics.top_k_agreement(ours, theirs)
            figures["kl_divergence"] = metrics.kl_divergence(ours, theirs)
        return {key: float(value) for key, value in figures.items() if np.isfinite(value)}

    def _probabilities(self, image: np.ndarray) -> np.ndarray:
        from tfinvert.networks import classifier

        return classifier.probabilities(self.network.cut(SCORES), image[None], self._activation)


def find_judge(networks: Sequence[Any]) -> Any:
    """The first of the networks that LPIPS has weights for; None where there is none, or a package of LPIPS is missing."""
    for network in networks:
        side = np.zeros((64, 64, 3), np.float32)
        try:
            metrics.lpips(side, side, network)
        except InputError:
            continue
        return network
    return None
