"""Maps of numbers as images."""

import numpy as np

from tfinvert.images import maps

RISING = np.linspace(0, 1, 10000).reshape(100, 100)


def test_heat_goes_from_black_to_white():
    heat = maps.heat(RISING)
    np.testing.assert_array_equal(heat[0, 0], [0, 0, 0])
    np.testing.assert_array_equal(heat[-1, -1], [1, 1, 1])
    assert (np.diff(heat.sum(axis=-1).ravel()) >= -1e-6).all()
    np.testing.assert_array_equal(maps.heat(np.zeros((4, 4))), np.zeros((4, 4, 3)))


def test_white_stands_for_the_limit():
    values = np.zeros((100, 100))
    values[0] = 3.0
    assert maps.heat_limit(values) == 3.0
    np.testing.assert_array_equal(maps.heat(values)[0, 0], [1, 1, 1])


def test_an_overlay_shows_the_map_and_leaves_the_image_to_be_seen():
    stripes = np.repeat(np.tile([0.0, 1.0], 50)[None, :, None], 100, axis=0) * np.ones(3)
    over = maps.overlay(stripes, RISING)
    assert over.min() >= 0
    assert over.max() <= 1
    np.testing.assert_allclose(over[0, 1], [1, 1, 1], atol=0.02)  # without a value the image is as it is
    red, blue = over[..., 0].mean(axis=1), over[..., 2].mean(axis=1)
    assert (red - blue)[-1] > 0.3 > 0.02 > (red - blue)[0]  # the larger the value, the warmer
    contrast = np.abs(np.diff(over.mean(axis=-1), axis=1)).mean(axis=1)
    assert contrast.min() > 0.2  # the stripes are there everywhere
