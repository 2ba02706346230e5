"""How well a decoder does on images that it was not trained on, and how fast it trains."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfinvert import metrics
from tfinvert.decoders.batches import TrainingData
from tfinvert.decoders.image_set import ImageSet
from tfinvert.decoders.training import Encode

BATCH = 16  # images that are decoded at a time
SHOWN = 4  # held-out images in each image of the run
LARGEST_PSNR = 200.0  # dB, instead of infinity, which JSON does not have
SECONDS_PER_MEASUREMENT, MOST_REPETITIONS = 1.0, 1000


def build_encode(network: keras.Model, layer: str) -> Encode:
    """A function from images [batch, height, width, 3] to the features of a layer, as one graph.

    A Keras model that is called outside a tf.function runs its layers one by one.
    """
    return tf.function(lambda images: network(images, training=False)[layer])


def build_decode(decoder: keras.Model, encode: Encode) -> Encode:
    """A function from images to the images that are decoded from their features, not clipped."""
    return tf.function(lambda images: decoder(encode(images), training=False), reduce_retracing=True)


def measure_scale(encode: Encode, image_set: ImageSet) -> float:
    """The root mean square of the features of the first images; 1 where it is 0 or not finite."""
    first = np.stack([image_set.center(index) for index in range(min(len(image_set), BATCH))])
    scale = float(tf.sqrt(tf.reduce_mean(tf.square(encode(tf.constant(first / np.float32(255)))))))
    return scale if scale > 0 and np.isfinite(scale) else 1.0


def decode_images(decode: Encode, images: np.ndarray) -> np.ndarray:
    """uint8 images [n, height, width, 3] -> the decoded images, float32 in [0, 1], of the same shape."""
    parts = np.array_split(images, -(-len(images) // BATCH))
    return np.concatenate([np.clip(decode(tf.constant(part / np.float32(255))), 0, 1) for part in parts])


def mean_psnr(decoded: np.ndarray, images: np.ndarray) -> float:
    """The mean PSNR in dB over the images [n, height, width, 3]; `decoded` in [0, 1], `images` uint8."""
    pairs = zip(decoded, images / np.float32(255), strict=True)
    return float(np.mean([min(metrics.psnr(*pair), LARGEST_PSNR) for pair in pairs]))


def mean_squared_difference(decoded: np.ndarray, images: np.ndarray) -> float:
    """The mean squared difference in [-1, 1], as `image_loss` has it; `decoded` in [0, 1], `images` uint8."""
    return float(np.mean(np.square(2 * (decoded - images / np.float32(255)))))


def tile_images(images: np.ndarray) -> np.ndarray:
    """Up to `SHOWN` images from the first to the last, two in a row, as one image.

    Args:
      images: [n, height, width, 3]; those that make no whole row are left out.
    """
    shown = [images[place] for place in np.unique(np.linspace(0, len(images) - 1, SHOWN).round().astype(int))]
    rows = [np.concatenate(shown[i : i + 2], axis=1) for i in range(0, len(shown) - 1, 2)]
    return np.concatenate(rows, axis=0) if rows else shown[0]


def measure_quality(decoded: np.ndarray, images: np.ndarray, encode: Encode, mean_image: np.ndarray) -> dict[str, float]:
    """The figures of decoded images, each a mean over the images.

    Args:
      decoded: float32 [n, height, width, 3] in [0, 1].
      images: what they should be, uint8 of the same shape.
      encode: images in [0, 1] -> features.
      mean_image: the mean of the images that were trained on, [height, width, 3] in [0, 1].

    Returns:
      psnr in dB, ssim, normalized_feature_error; psnr_mean_image, the PSNR of the mean image; psnr_gain, their difference.
    """
    errors, similarities = [], []
    for ours, target in zip(decoded, images / np.float32(255), strict=True):
        features = encode(tf.constant(target[None])).numpy()
        errors.append(metrics.normalized_feature_error(encode(tf.constant(ours[None])).numpy(), features))
        similarities.append(metrics.ssim(ours, target))
    psnr = mean_psnr(decoded, images)
    psnr_mean_image = mean_psnr(np.broadcast_to(mean_image, decoded.shape), images)
    return {
        "psnr": psnr,
        "ssim": float(np.mean(similarities)),
        "normalized_feature_error": float(np.mean(errors)),
        "psnr_mean_image": psnr_mean_image,
        "psnr_gain": psnr - psnr_mean_image,
    }


def measure_speeds(encode: Encode, data: TrainingData, batch_size: int, images_per_second: float) -> dict[str, float]:
    """Images per second of the input pipeline alone and of the encoder alone, and the encoder's share of a step.

    Args:
      encode: images -> features.
      data: what the training draws from.
      batch_size: images in a step.
      images_per_second: the speed of the training.
    """
    source = iter(data.build_batches(np.arange(10**4 * batch_size), batch_size))
    _, batch = next(source)
    encoding = _measure_rate(lambda: encode(batch).numpy()) * batch_size
    return {
        "pipeline_images_per_second": _measure_rate(lambda: next(source)) * batch_size,
        "encoder_images_per_second": encoding,
        "encoder_share": 0.0 if data.features is not None else images_per_second / encoding,
    }


def _measure_rate(action: Callable[[], Any]) -> float:
    """How often an action can be done in a second."""
    action()
    count, started = 0, time.perf_counter()
    while count < MOST_REPETITIONS and time.perf_counter() - started < SECONDS_PER_MEASUREMENT:
        action()
        count += 1
    return count / (time.perf_counter() - started)
