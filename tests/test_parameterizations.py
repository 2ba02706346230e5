import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tfinvert.parameterizations import PIXELS, initial_image


@pytest.mark.parametrize("name", PIXELS)
def test_every_parameterization_gives_back_the_image_it_was_made_from(name):
    image = np.random.default_rng(0).uniform(0.01, 0.99, (2, 4, 5, 3)).astype(np.float32)
    parameterization = PIXELS[name]
    np.testing.assert_allclose(parameterization.image(tf.constant(parameterization.from_image(image))), image, atol=1e-6)


@pytest.mark.parametrize("name", PIXELS)
def test_every_parameterization_can_fit_an_image(name):
    target = np.random.default_rng(1).uniform(0.1, 0.9, (1, 4, 4, 3)).astype(np.float32)
    parameterization = PIXELS[name]
    variable = tf.Variable(parameterization.from_image(np.full_like(target, 0.5)))
    for _ in range(300):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum((parameterization.image(variable) - target) ** 2)
        variable.assign_sub(0.4 * tape.gradient(loss, variable))
        if parameterization.project:
            variable.assign(parameterization.project(variable))
    assert loss < 1e-3


def test_clip_projects_into_the_range_and_the_others_do_not():
    assert PIXELS["free"].project is None
    assert PIXELS["sigmoid"].project is None
    np.testing.assert_allclose(PIXELS["clip"].project(tf.constant([-1.0, 0.3, 2.0])), [0, 0.3, 1], rtol=1e-6)


def test_sigmoid_starts_at_a_finite_place_from_black_and_white():
    assert np.isfinite(PIXELS["sigmoid"].from_image(np.array([0.0, 1.0], np.float32))).all()


def test_noise_is_the_sigmoid_of_a_uniform_value():
    image = initial_image("noise", (64, 48), seed=3)
    assert image.shape == (1, 64, 48, 3)
    assert image.dtype == np.float32
    uniform = np.log(image / (1 - image))
    assert uniform.min() == pytest.approx(-3, abs=0.01)
    assert uniform.max() == pytest.approx(3, abs=0.01)
    assert uniform.std() == pytest.approx(np.sqrt(3), rel=0.05)


def test_grey_is_grey_with_a_little_noise():
    image = initial_image("grey", (64, 64), seed=3)
    assert image.mean() == pytest.approx(0.5, abs=1e-3)
    assert image.std() == pytest.approx(0.01, rel=0.05)


@pytest.mark.parametrize("init", ["noise", "grey"])
def test_the_seed_decides_the_start(init):
    np.testing.assert_array_equal(initial_image(init, (8, 8), 1), initial_image(init, (8, 8), 1))
    assert not np.array_equal(initial_image(init, (8, 8), 1), initial_image(init, (8, 8), 2))


def test_a_picture_can_be_the_start(tmp_path):
    Image.new("RGB", (32, 32), (255, 0, 51)).save(tmp_path / "start.png")
    image = initial_image(str(tmp_path / "start.png"), (16, 16), 0)
    np.testing.assert_allclose(image[0, 3, 3], [1, 0, 0.2])
