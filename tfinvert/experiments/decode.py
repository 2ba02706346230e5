"""Invert a picture in one pass: its features, through a trained decoder."""

from __future__ import annotations

import dataclasses
import time

import numpy as np
import tensorflow as tf

from tfinvert import metrics
from tfinvert.decoders import model as decoders
from tfinvert.decoders.model import Encoder
from tfinvert.images import files as images
from tfinvert.networks.conversion.convert import Conversion
from tfinvert.networks.network import load
from tfinvert.optimization import precision
from tfinvert.reports import sheet
from tfinvert.runs import provenance
from tfinvert.runs.directory import RunDirectory
from tfinvert.settings.config import DecodeConfig, flagfile

TIMED = 10  # passes


def run(config: DecodeConfig, conversion: Conversion, run_dir: RunDirectory) -> np.ndarray:
    """Decodes the features of a picture; writes it and its figures.

    Returns:
      The picture, float32 [height, width, 3], RGB in [0, 1].

    Raises:
      InputError: the decoder is for another encoder, or cannot be read; the picture cannot be used.
    """
    precision.grow_gpu_memory()
    network = load(conversion.result(), config.network_name())
    (layer,) = network.layers.values()
    own = Encoder.of(config, layer, network.size, conversion.request)
    decoders.encoder_of(config.decoder).refuse_other(dataclasses.asdict(own), config.decoder)
    decode = decoders.load(config.decoder)
    target = images.load(config.image, network.size)
    encode = tf.function(lambda picture: network.model(picture, training=False)[layer.name])
    wanted = encode(tf.constant(target)).numpy()
    found = np.clip(decode(wanted), 0, 1).astype(np.float32)
    started = time.perf_counter()
    for _ in range(TIMED):
        decode(encode(tf.constant(target)).numpy())
    seconds = (time.perf_counter() - started) / TIMED
    with run_dir.locked():
        info = provenance.describe(config, network, conversion.request, target)
        run_dir.create(flagfile(config), info, resume=False)
        images.save(run_dir.target, target)
        images.save(run_dir.final, found)
        result = {
            "psnr": min(metrics.psnr(found, target), 200.0),
            "ssim": metrics.ssim(found, target),
            "normalized_feature_error": metrics.normalized_feature_error(encode(tf.constant(found)).numpy(), wanted),
            "seconds_per_picture": seconds,
        }
        info |= {"decoder": config.decoder, "result": result}
        sheet.write(run_dir, info)
        run_dir.write_info(info)
    return found[0]
