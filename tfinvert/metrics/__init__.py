"""How near an image is to its target, and its features to the target features. Nothing is rescaled before it is measured.

Every function takes NumPy arrays, tensors of TensorFlow, PyTorch or JAX, and what else `np.asarray` can read. Images are floats
from 0 to 1, or uint8 from 0 to 255. Two values that are compared must have the same shape. A function raises InputError, which
is a ValueError, for values of another shape, type or range.
"""

from tfinvert.metrics.classes import kl_divergence, top_k_agreement
from tfinvert.metrics.features import (
    NullDistribution,
    feature_cosine,
    is_metamer,
    mean_pairwise_distances,
    mv2015_error,
    mv2016_error,
    normalized_feature_error,
    null_distribution,
    pairwise_identification,
    r_squared,
    signal_to_noise,
    spearman,
)
from tfinvert.metrics.images import image_error, mean_image_distance, ms_ssim, psnr, ssim
from tfinvert.metrics.perceptual import lpips
from tfinvert.metrics.statistics import bootstrap_interval, interval, paired_test

__all__ = [
    "NullDistribution",
    "bootstrap_interval",
    "feature_cosine",
    "image_error",
    "interval",
    "is_metamer",
    "kl_divergence",
    "lpips",
    "mean_image_distance",
    "mean_pairwise_distances",
    "ms_ssim",
    "mv2015_error",
    "mv2016_error",
    "normalized_feature_error",
    "null_distribution",
    "paired_test",
    "pairwise_identification",
    "psnr",
    "r_squared",
    "signal_to_noise",
    "spearman",
    "ssim",
    "top_k_agreement",
]
