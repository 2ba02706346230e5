"""The encoder's features of images that are not augmented, kept on disk so that they are computed once."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from tfinvert.decoders.encoder import Encoder
from tfinvert.decoders.image_set import ImageSet
from tfinvert.system.cache import cache_folder
from tfinvert.system.errors import DiskError
from tfinvert.system.files import read_sealed, replacing, sha256, write_sealed
from tfinvert.system.progress import progress_bar

BATCH = 16  # images that are encoded at a time
log = logging.getLogger("tfinvert")


def cached_features(encoder: Encoder, encode: Callable[[tf.Tensor], tf.Tensor], image_set: ImageSet) -> np.ndarray:
    """The features of every image's center, from the cache where they are there and whole.

    Args:
      encoder: the layer that `encode` gives.
      encode: images [batch, height, width, 3] in [0, 1] -> features.
      image_set: the images.

    Returns:
      float16 [len(image_set), ...], mapped from the disk: 2^-11 of a value is far less than what a decoder misses.

    Raises:
      DiskError: the disk is full or cannot be written.
    """
    status = [(str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns) for path in image_set.files]
    key = hashlib.sha256(json.dumps([encoder.to_json(), status]).encode()).hexdigest()[:32]
    folder = cache_folder() / "features"
    path, checksum = folder / f"{key}.npy", folder / f"{key}.json"
    if checksum.exists() or path.exists():
        with contextlib.suppress(OSError, ValueError):
            if read_sealed(checksum) == sha256(path):
                return np.load(path, mmap_mode="r", allow_pickle=False)
        log.warning("the cached features %s are damaged; they are computed again", path)
    log.info("the features of %d images are kept in %s", len(image_set), path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        checksum.unlink(missing_ok=True)
        with replacing(path) as part:
            shape = (len(image_set), *encoder.shape)
            stored = np.lib.format.open_memmap(part, mode="w+", dtype=np.float16, shape=shape)
            with progress_bar("encoding", len(image_set), unit=" images") as bar:
                for first in range(0, len(image_set), BATCH):
                    indices = range(first, min(first + BATCH, len(image_set)))
                    batch = np.stack([image_set.center(index) for index in indices])
                    stored[first : first + len(indices)] = encode(tf.constant(batch / np.float32(255)))
                    bar.update(len(indices))
            stored.flush()
            del stored
        write_sealed(checksum, sha256(path))
    except OSError as error:
        raise DiskError(
            f"the features cannot be kept in {folder} ({error.strerror or error}); give --nocache_features"
        ) from None
    return np.load(path, mmap_mode="r", allow_pickle=False)
