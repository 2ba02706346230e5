"""The layers of decoders: shapes, channels, where features land."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfinvert.decoders.model import build_decoder


@pytest.mark.parametrize("upsampling", ["transposed", "resize"])
@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((55, 55, 4), (224, 224)),  # AlexNet's conv1 to pool5: none is the image's size over a power of two
        ((27, 27, 4), (224, 224)),
        ((13, 13, 4), (227, 227)),
        ((6, 6, 4), (224, 224)),
        ((16, 16, 4), (16, 16)),
        ((8, 12, 4), (64, 96)),
        ((37, 37, 4), (224, 224)),  # stride 6
        ((10,), (48, 80)),
    ],
)
def test_the_output_has_the_size_of_the_image(shape, size, upsampling):
    decoder = build_decoder(shape, size, upsampling=upsampling, width=2)
    assert decoder.input_shape == (None, *shape)
    assert decoder.output_shape == (None, *size, 3)
    kinds = [type(layer).__name__ for layer in decoder.layers]
    assert ("Conv2DTranspose" in kinds) == (upsampling == "transposed" and shape[0] != size[0])
    assert ("UpSampling2D" in kinds) == (upsampling == "resize" and shape[0] != size[0])


def test_channels_double_at_each_halving():
    decoder = build_decoder((14, 14, 64), (224, 224), width=32)
    counts = [layer.filters for layer in decoder.layers if hasattr(layer, "filters")]
    assert counts == [256, 256, 128, 64, 32, 3]


def test_features_are_resized_where_their_stride_is_far_from_a_power_of_two():
    kinds = [[type(layer) for layer in build_decoder((side, side, 4), (224, 224), width=2).layers] for side in (13, 37)]
    assert [keras.layers.Resizing in one for one in kinds] == [False, True]


@pytest.mark.parametrize("upsampling", ["transposed", "resize"])
@pytest.mark.parametrize("cells", [13, 14])
def test_a_feature_lands_on_the_pixels_that_it_came_from(cells, upsampling):
    # Cell i of 13 or 14 over 224 pixels has its center at 112 + 16 (i - (cells - 1) / 2), whatever is padded and cropped.
    decoder = build_decoder((cells, cells, 1), (224, 224), upsampling=upsampling, width=4)
    for layer in decoder.layers:  # all weights alike, so that nothing but the geometry decides
        layer.set_weights([np.full_like(value, 0.1 if value.ndim > 1 else 0.0) for value in layer.get_weights()])
    for down, right in ((3, 9), (6, 6)):
        features = np.zeros((1, cells, cells, 1), np.float32)
        features[0, down, right] = 1
        change = np.asarray(decoder(features))[0, ..., 0] - np.asarray(decoder(0 * features))[0, ..., 0]
        rows, columns = np.mgrid[:224, :224] + 0.5
        center = [(change * place).sum() / change.sum() for place in (rows, columns)]
        expected = [112 + 16 * (index - (cells - 1) / 2) for index in (down, right)]
        np.testing.assert_allclose(center, expected, atol=1.0)


def test_the_scale_divides_the_features():
    features = np.random.default_rng(0).random((1, 8, 8, 4), np.float32)
    plain = build_decoder((8, 8, 4), (16, 16), width=2, seed=3)
    scaled = build_decoder((8, 8, 4), (16, 16), width=2, seed=3, scale=10.0)
    np.testing.assert_allclose(scaled(10 * features), plain(features), atol=1e-6)
    other = build_decoder((8, 8, 4), (16, 16), width=2, seed=4)
    assert np.abs(other(features) - plain(features)).max() > 1e-3


def test_bfloat16_keeps_variables_and_output_in_float32():
    decoder = build_decoder((8, 8, 4), (16, 16), width=2, precision="bfloat16")
    assert {variable.dtype for variable in decoder.variables} == {"float32"}
    assert {layer.compute_dtype for layer in decoder.layers if hasattr(layer, "filters")} == {"bfloat16", "float32"}
    assert decoder(np.zeros((1, 8, 8, 4), np.float32)).dtype == tf.float32
    exact = build_decoder((8, 8, 4), (16, 16), width=2)
    features = np.random.default_rng(0).random((1, 8, 8, 4), np.float32)
    np.testing.assert_allclose(decoder(features), exact(features), atol=0.05)
