import numpy as np
import tensorflow as tf

from tfinvert.images.transforms import jitter, jitter_offsets, jittering, random_offsets, robust, shift, turned

IMAGE = np.random.default_rng(0).uniform(size=(2, 5, 6, 3)).astype(np.float32)


def test_a_shift_moves_down_and_right_in_a_circle():
    found = shift(tf.constant(IMAGE), tf.constant([2, -1])).numpy()
    np.testing.assert_array_equal(found[:, 2:, :5], IMAGE[:, :3, 1:])
    np.testing.assert_array_equal(found, np.roll(IMAGE, (2, -1), axis=(1, 2)))


def test_offsets_are_a_function_of_seed_and_step_and_reach_both_ends():
    found = np.array([random_offsets(7, tf.constant(step, tf.int64), -1, 2).numpy() for step in range(60)])
    again = np.array([random_offsets(7, tf.constant(step, tf.int64), -1, 2).numpy() for step in range(60)])
    np.testing.assert_array_equal(found, again)
    assert set(found.ravel()) == {-1, 0, 1, 2}
    assert np.any(found != [random_offsets(8, tf.constant(step, tf.int64), -1, 2).numpy() for step in range(60)])


def test_jitter_is_undone_by_its_gradient():
    """What the network sees has moved; the gradient of a pixel that it saw comes back to where the pixel is."""
    for step in range(10):
        variable = tf.Variable(IMAGE)
        with tf.GradientTape() as tape:
            seen = jitter(variable, 3, 1, tf.constant(step, tf.int64))
            loss = tf.reduce_sum(seen * tf.stop_gradient(seen))
        np.testing.assert_allclose(tape.gradient(loss, variable), IMAGE, rtol=1e-6)


def test_jittering_moves_the_image_by_its_offsets_in_the_first_steps():
    transform, offsets = jittering(4, seed=7, steps=20), jitter_offsets(4, 7, jittered=20, steps=30)
    assert offsets.shape == (31, 2)
    for step in range(30):
        moved = transform(tf.constant(IMAGE), tf.constant(step, tf.int64))
        np.testing.assert_array_equal(moved, np.roll(IMAGE, offsets[step], axis=(1, 2)))
    assert np.any(offsets[:20], axis=1).sum() > 10
    assert not offsets[20:].any()


def test_turning_by_a_right_angle_and_enlarging():
    image = np.random.default_rng(0).uniform(0, 1, (1, 5, 5, 3)).astype(np.float32)
    quarter = turned(tf.constant(image), tf.constant(np.pi / 2, tf.float32), tf.constant(1.0))
    np.testing.assert_allclose(quarter[0], np.rot90(image[0]), atol=1e-5)
    double = turned(tf.constant(image), tf.constant(0.0), tf.constant(2.0))
    np.testing.assert_allclose(double[0, ::2, ::2], image[0, 1:4, 1:4], atol=1e-5)  # the middle, twice as large
    np.testing.assert_allclose(double[0, 2, 1], (image[0, 2, 1] + image[0, 2, 2]) / 2, atol=1e-5)


def test_feature_visualisation_s_transform_moves_the_picture_and_passes_gradients():
    transform = robust(5, seed=1)
    image = tf.constant(np.random.default_rng(0).uniform(0, 1, (2, 16, 16, 3)).astype(np.float32))
    with tf.GradientTape() as tape:
        tape.watch(image)
        first = transform(image, tf.constant(3, tf.int64))
    assert tape.gradient(first, image).shape == image.shape
    np.testing.assert_array_equal(first, transform(image, tf.constant(3, tf.int64)))  # of the seed and the step alone
    assert np.abs(first - transform(image, tf.constant(4, tf.int64))).max() > 0.01
