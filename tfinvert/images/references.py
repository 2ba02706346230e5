"""What images reach that hold nothing of a layer's features: an inversion has to come nearer to its target than they do."""

from __future__ import annotations

import numpy as np

from tfinvert import metrics
from tfinvert.images.files import MEAN_COLOR

EVEN_GREY, MEAN_IMAGE, OWN_COLOR = "an even grey", "the mean image", "its own mean color"
HIGHEST_PSNR = 200.0  # dB: JSON has no infinity


def reference_images(target: np.ndarray) -> dict[str, np.ndarray]:
    """Three even images that are made without any features of a target, by their names.

    An even grey is 0.5 everywhere. The mean image is ImageNet's mean color everywhere, which the mean of its photographs nearly
    is. The third has the mean color of the target itself.

    Args:
      target: [height, width, 3] in [0, 1]; the images have its shape.
    """
    colors = {EVEN_GREY: (0.5, 0.5, 0.5), MEAN_IMAGE: MEAN_COLOR, OWN_COLOR: target.mean(axis=(0, 1))}
    return {name: np.broadcast_to(np.asarray(color, np.float32), target.shape) for name, color in colors.items()}


def reference_psnr(target: np.ndarray) -> dict[str, float]:
    """The PSNR of each of `reference_images` against its target, in dB, at most 200.

    Example:
      >>> from tfinvert import images
      >>> {name: round(psnr, 1) for name, psnr in reference_psnr(images.load("astronaut", (224, 224))[0]).items()}
      {'an even grey': 10.0, 'the mean image': 10.2, 'its own mean color': 10.4}
    """
    return {name: min(metrics.psnr(image, target), HIGHEST_PSNR) for name, image in reference_images(target).items()}
