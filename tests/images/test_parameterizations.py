"""The image as a function of what is optimized."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tfinvert import images
from tfinvert.images.parameterizations import PARAMETERIZATIONS, normalized, parameterization
from tfinvert.images.pixels import bound_colors
from tfinvert.settings import inversion

INVERTIBLE = [name for name in PARAMETERIZATIONS if name != "deep_prior"]


def test_the_settings_have_the_names_of_the_table():
    assert tuple(PARAMETERIZATIONS) == inversion.PARAMETERIZATIONS


@pytest.mark.parametrize("size", [(4, 5), (7, 4), (6, 6)])
@pytest.mark.parametrize("name", INVERTIBLE)
def test_every_parameterization_gives_back_the_image_it_was_made_from(name, size):
    image = np.random.default_rng(0).uniform(0.01, 0.99, (2, *size, 3)).astype(np.float32)
    made = parameterization(name, size)
    np.testing.assert_allclose(made.image([tf.constant(value) for value in made.start(image)]), image, atol=1e-5)


@pytest.mark.parametrize("name", PARAMETERIZATIONS)
def test_every_parameterization_can_fit_an_image(name):
    size = (8, 8)
    target = np.random.default_rng(1).uniform(0.2, 0.8, (1, *size, 3)).astype(np.float32)
    made = parameterization(name, size, seed=3)
    variables = [tf.Variable(value) for value in made.start(np.full_like(target, 0.5))]
    adam = keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(0.05, 500))
    adam.build(variables)

    @tf.function
    def update():
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((made.image([tf.convert_to_tensor(v) for v in variables]) - target) ** 2)
        adam.apply(tape.gradient(loss, variables), variables)
        for variable, value in zip(variables, made.project(variables) if made.project else (), strict=False):
            variable.assign(value)
        return loss

    for _ in range(500):
        loss = update()
    assert loss < 3e-3  # of 3e-2 at the start


@pytest.mark.parametrize("levels", [0, 2, 9])
def test_a_pyramid_starts_anywhere_and_is_clipped(levels):
    made = parameterization("pyramid", (9, 12), levels=levels)
    image = np.random.default_rng(2).uniform(-0.5, 1.5, (2, 9, 12, 3)).astype(np.float32)
    start = made.start(image)
    assert len(start) == min(levels, 4) + 1  # 9x12, 5x6, 3x3, 2x2, 1x1
    np.testing.assert_allclose(made.image(start), np.clip(image, 0, 1), atol=1e-5)


def test_a_clipped_value_can_come_back_but_goes_no_further_out():
    made = parameterization("pyramid", (1, 4), levels=0)
    start = [tf.constant(value) for value in made.start(np.repeat([[[[-0.2], [-0.2], [1.3], [0.4]]]], 3, axis=-1))]
    upstream = np.repeat([[[[1.0], [-1.0], [-1.0], [1.0]]]], 3, axis=-1)  # descending goes the other way
    with tf.GradientTape() as tape:
        tape.watch(start)
        loss = tf.reduce_sum(made.image(start) * upstream)
    moved = tape.gradient(loss, start)[0].numpy()[0, 0].sum(axis=-1)
    np.testing.assert_array_equal(np.sign(moved), [0, -1, 0, 1])


@pytest.mark.parametrize("levels", [0, 9])
def test_a_soft_pyramid_moves_like_a_clipped_one_around_grey(levels):
    grey = np.full((1, 6, 6, 3), 0.5, np.float32)
    moved = []
    for name in ("pyramid", "sigmoid_pyramid"):
        made = parameterization(name, (6, 6), levels=levels)
        moved.append(made.image([value + np.float32(0.01) for value in made.start(grey)]))
    np.testing.assert_allclose(moved[0], moved[1], atol=1e-4)
    assert np.abs(moved[0] - grey).max() > 0.005


def test_a_coarse_level_of_a_pyramid_is_the_resized_image():
    made = parameterization("pyramid", (8, 12), levels=1)
    coarse = 0.1 * np.random.default_rng(3).standard_normal((1, 4, 6, 3)).astype(np.float32)
    enlarged = made.image([np.zeros((1, 8, 12, 3), np.float32), coarse])
    weight = 2 * 2**0.5 / (1 + 2**0.5)
    expected = 0.5 + weight * tf.image.resize(coarse, (8, 12)).numpy() @ np.array(images.COLOR_CORRELATION).T
    np.testing.assert_allclose(enlarged, expected, atol=1e-5)


def test_colors_are_decorrelated_by_what_the_sample_photographs_have():
    # As they are stored: one of them has the profile of Adobe RGB, which was not read when this was measured.
    stored = [Image.open(images.sample(name)).resize((224, 224), Image.Resampling.BILINEAR) for name in images.SAMPLES]
    pixels = np.concatenate([np.asarray(image, np.float32).reshape(-1, 3) / 255 for image in stored])
    inside = np.clip(pixels, 1e-3, 1 - 1e-3)
    values, vectors = np.linalg.eigh(np.cov(np.log(inside / (1 - inside)).T))
    root = vectors @ np.diag(np.sqrt(values)) @ vectors.T
    np.testing.assert_allclose(images.COLOR_CORRELATION, root / np.linalg.norm(root, 2), atol=1e-3)


def test_a_fourier_image_has_the_spectrum_of_photographs():
    """White noise as its variable: amplitudes fall as one over the frequency."""
    made = parameterization("fourier", (64, 64))
    noise = np.random.default_rng(0).standard_normal((8, 3, 64, 33, 2)).astype(np.float32)
    logits = np.log(1 / np.asarray(made.image([tf.constant(0.1 * noise)])) - 1).mean(axis=-1)
    power = np.mean(np.abs(np.fft.fft2(logits)) ** 2, axis=0)
    assert power[4, 0] / power[16, 0] == pytest.approx(16, rel=0.6)
    assert power[0, 4] / power[0, 16] == pytest.approx(16, rel=0.6)


def test_a_bounded_pixel_keeps_its_direction_from_the_mean_color():
    mean = np.array([0.485, 0.456, 0.406])
    away = np.array([[0.3, 0, 0], [3.0, 4.0, 0], [0, 0, 0]])
    image = (mean + away)[None, None].astype(np.float32)
    bounded = bound_colors(tf.constant(image)).numpy()[0, 0]
    np.testing.assert_allclose(bounded[0], image[0, 0, 0], atol=1e-6)
    np.testing.assert_allclose(bounded[1], mean + 160 / 255 * np.array([0.6, 0.8, 0]), atol=1e-5)
    np.testing.assert_allclose(bounded[2], mean, atol=1e-6)


def test_a_deep_prior_follows_its_seed_and_makes_one_image():
    def first(seed):
        made = parameterization("deep_prior", (20, 30), seed)
        return made.image([tf.constant(v) for v in made.start(np.zeros((1, 20, 30, 3)))]).numpy()

    assert first(1).shape == (1, 20, 30, 3)
    np.testing.assert_array_equal(first(1), first(1))
    assert np.abs(first(1) - first(2)).max() > 0.01
    with pytest.raises(ValueError, match="one image, not a batch of 2"):
        parameterization("deep_prior", (20, 30)).start(np.zeros((2, 20, 30, 3)))


def test_clip_projects_into_the_range_and_free_and_sigmoid_do_not():
    assert parameterization("free", (1, 3)).project is None
    assert parameterization("sigmoid", (1, 3)).project is None
    (clipped,) = parameterization("clip", (1, 3)).project([tf.constant([-1.0, 0.3, 2.0])])
    np.testing.assert_allclose(clipped, [0, 0.3, 1], rtol=1e-6)


@pytest.mark.parametrize("name", ["sigmoid", "fourier"])
def test_logits_start_at_a_finite_place_from_black_and_white(name):
    checks = np.indices((4, 4)).sum(axis=0) % 2
    start = parameterization(name, (4, 4)).start(np.repeat(checks[None, ..., None], 3, axis=-1).astype(np.float32))
    assert np.isfinite(start[0]).all()


def test_normalized_pixels_are_clamped_in_units_of_the_deviation():
    image = np.random.default_rng(0).uniform(0, 1, (1, 4, 4, 3)).astype(np.float32)
    made = normalized()
    (start,) = made.start(image)
    np.testing.assert_allclose(start, (image - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(made.image([tf.constant(start)]), image, atol=1e-6)
    (clamped,) = made.project([tf.constant([-3.0, 0.5, 1.6])])
    np.testing.assert_array_equal(clamped, [-1.5, 0.5, 1.5])
