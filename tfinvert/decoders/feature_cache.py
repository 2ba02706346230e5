"""The encoder's features of pictures that are not augmented, kept on disk so that they are made once."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from tfinvert.decoders.data import Pictures
from tfinvert.decoders.model import Encoder
from tfinvert.errors import DiskError
from tfinvert.networks.conversion.convert import cache_folder
from tfinvert.system.files import read_sealed, replacing, sha256, write_sealed

AT_ONCE = 16
log = logging.getLogger("tfinvert")


def features(encoder: Encoder, encode: Callable[[tf.Tensor], tf.Tensor], pictures: Pictures) -> np.ndarray:
    """The features of every picture's center, from the cache where they are there and whole.

    Args:
      encoder: which layer of which network.
      encode: pictures [batch, height, width, 3] in [0, 1] -> features.
      pictures: the pictures.

    Returns:
      float16 [len(pictures), ...], mapped from the disk: 2^-11 of a value is far less than what a decoder misses.

    Raises:
      DiskError: the disk is full or cannot be written.
    """
    status = [(str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns) for path in pictures.files]
    key = hashlib.sha256(json.dumps([encoder.text(), status]).encode()).hexdigest()[:32]
    folder = cache_folder() / "features"
    path, note = folder / f"{key}.npy", folder / f"{key}.json"
    if note.exists() or path.exists():
        with contextlib.suppress(OSError, ValueError):
            if read_sealed(note) == sha256(path):
                return np.load(path, mmap_mode="r", allow_pickle=False)
        log.warning("the cached features %s are damaged; they are made again", path)
    log.info("the features of %d pictures are kept in %s", len(pictures), path)
    shape = (len(pictures), *encoder.shape)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        note.unlink(missing_ok=True)
        with replacing(path) as part:
            stored = np.lib.format.open_memmap(part, mode="w+", dtype=np.float16, shape=shape)
            for first in range(0, len(pictures), AT_ONCE):
                some = range(first, min(first + AT_ONCE, len(pictures)))
                batch = np.stack([pictures.center(index) for index in some])
                stored[first : first + len(some)] = encode(tf.constant(batch / np.float32(255)))
            stored.flush()
            del stored
        write_sealed(note, sha256(path))
    except OSError as error:
        raise DiskError(
            f"the features cannot be kept in {folder} ({error.strerror or error}); give --nocache_features"
        ) from None
    return np.load(path, mmap_mode="r", allow_pickle=False)
