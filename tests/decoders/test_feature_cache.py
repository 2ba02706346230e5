"""Features that are kept on disk."""

import dataclasses

import numpy as np
import tensorflow as tf

from tests.decoders.conftest import ENCODER, write_images
from tfinvert.decoders.feature_cache import cached_features
from tfinvert.decoders.image_set import ImageSet


def test_features_are_computed_once_and_again_where_the_file_is_damaged(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("TFINVERT_CACHE", str(tmp_path / "cache"))
    image_set = ImageSet(write_images(tmp_path / "some", 20), (16, 16))
    encoder = dataclasses.replace(ENCODER, shape=(8, 8, 3))
    calls = []

    def encode(images):
        calls.append(len(images))
        return tf.nn.avg_pool2d(images, 2, 2, "VALID")

    features = cached_features(encoder, encode, image_set)
    expected = tf.nn.avg_pool2d(image_set.centers() / np.float32(255), 2, 2, "VALID")
    np.testing.assert_allclose(features, expected, atol=2**-11)
    assert features.dtype == np.float16
    assert sum(calls) == 20
    np.testing.assert_array_equal(cached_features(encoder, encode, image_set), features)
    assert sum(calls) == 20
    (kept,) = (tmp_path / "cache" / "features").glob("*.npy")
    values = np.array(features)
    del features
    kept.write_bytes(kept.read_bytes()[:-7])
    np.testing.assert_array_equal(cached_features(encoder, encode, image_set), values)
    assert sum(calls) == 40
    assert "damaged" in caplog.text
