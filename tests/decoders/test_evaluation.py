"""The figures of a decoder, against hand numbers."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.decoders.conftest import write_images
from tfinvert.decoders import evaluation
from tfinvert.decoders.image_set import ImageSet


def test_images_are_tiled_two_in_a_row_from_the_first_to_the_last():
    images = np.arange(10)[:, None, None, None] * np.ones((10, 2, 3, 3), int)
    tiled = evaluation.tile_images(images)
    assert tiled.shape == (4, 6, 3)
    np.testing.assert_array_equal(tiled[::2, ::3, 0], [[0, 3], [6, 9]])
    np.testing.assert_array_equal(evaluation.tile_images(images[:3])[:, ::3, 0], [[0, 1], [0, 1]])  # 2 makes no whole row
    np.testing.assert_array_equal(evaluation.tile_images(images[:1]), images[0])


def test_images_are_decoded_in_parts_and_clipped():
    images = np.random.default_rng(0).integers(0, 255, (20, 2, 2, 3), np.uint8)
    decoded = evaluation.decode_images(lambda part: 2 * part - 0.5, images)
    np.testing.assert_allclose(decoded, np.clip(2 * (images / 255) - 0.5, 0, 1), atol=1e-6)


def test_psnr_is_the_mean_over_the_images_and_stays_finite():
    images = np.full((2, 4, 4, 3), 51, np.uint8)
    decoded = np.float32([0.2, 0.3])[:, None, None, None] * np.ones(images.shape, np.float32)
    assert evaluation.mean_psnr(decoded, images) == pytest.approx((200 + 20) / 2, rel=1e-4)
    assert evaluation.mean_squared_difference(decoded, images) == pytest.approx((0 + 0.04) / 2, rel=1e-4)


def test_the_scale_is_the_root_mean_square_of_features(tmp_path):
    image_set = ImageSet(write_images(tmp_path / "some", 3), (8, 8))
    values = 5 * (image_set.centers() / 255)
    assert evaluation.measure_scale(lambda images: 5 * images, image_set) == pytest.approx(np.sqrt((values**2).mean()))
    assert evaluation.measure_scale(tf.zeros_like, image_set) == 1.0
    assert evaluation.measure_scale(lambda images: images / 0.0, image_set) == 1.0


def test_the_quality_of_decoded_images():
    images = np.random.default_rng(0).integers(60, 200, (2, 16, 16, 3), np.uint8)
    decoded = (images / 255 + 0.1).astype(np.float32)
    quality = evaluation.measure_quality(decoded, images, lambda x: x[..., :1] - 0.0, np.zeros((16, 16, 3), np.float32))
    expected = [0.01 * 256 / np.sum((image[..., 0] / 255) ** 2) for image in images]
    mean_image = [-10 * np.log10(np.mean((image / 255) ** 2)) for image in images]
    assert quality["psnr"] == pytest.approx(20, abs=1e-3)
    assert quality["normalized_feature_error"] == pytest.approx(np.mean(expected), rel=1e-3)
    assert quality["psnr_mean_image"] == pytest.approx(np.mean(mean_image), rel=1e-4)
    assert quality["psnr_gain"] == pytest.approx(quality["psnr"] - quality["psnr_mean_image"])
    assert 0.5 < quality["ssim"] < 1


def test_encoding_and_decoding_are_those_of_the_models():
    image = keras.Input((4, 4, 3))
    network = keras.Model(image, {"a": keras.layers.Rescaling(2.0)(image), "b": image})
    features = keras.Input((4, 4, 3))
    decoder = keras.Model(features, keras.layers.Rescaling(1.0, -0.5)(features))
    images = np.random.default_rng(0).random((2, 4, 4, 3), np.float32)
    encode = evaluation.build_encode(network, "a")
    np.testing.assert_allclose(encode(tf.constant(images)), 2 * images, rtol=1e-6)
    decoded = evaluation.build_decode(decoder, encode)(tf.constant(images))
    np.testing.assert_allclose(decoded, 2 * images - 0.5, rtol=1e-5, atol=1e-6)
