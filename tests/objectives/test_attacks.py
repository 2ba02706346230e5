import numpy as np
import pytest

from tfinvert.objectives import attacks as adversarial

RNG = np.random.default_rng(5)
ORIGINAL = (RNG.integers(0, 256, (3, 6, 7, 3)) / 255).astype(np.float32)
GRADIENT = RNG.standard_normal((3, 6, 7, 3)).astype(np.float32)


def test_normalized_ascent_is_the_course_s_step():
    deviation = np.array([0.229, 0.224, 0.225], np.float32)
    found = adversarial.normalized_ascent(ORIGINAL, GRADIENT, 2.0)
    for row in range(3):
        # In the course's X = (image - mean) / deviation, whose gradient is that of the image times the deviation.
        g = GRADIENT[row] * deviation
        moved = (found[row] - ORIGINAL[row]) / deviation
        np.testing.assert_allclose(moved, 2.0 * g / np.linalg.norm(g), atol=1e-5)
        assert np.linalg.norm(moved) == pytest.approx(2.0, rel=1e-4)


def test_a_flat_gradient_moves_nothing():
    np.testing.assert_array_equal(adversarial.normalized_ascent(ORIGINAL, np.zeros_like(GRADIENT), 5.0), ORIGINAL)


def test_one_signed_step_is_the_fast_gradient_sign_method():
    expected = np.clip(ORIGINAL + 8 / 255 * np.sign(GRADIENT), 0, 1)
    np.testing.assert_allclose(adversarial.signed_step(ORIGINAL, GRADIENT, ORIGINAL, 8, 8), expected, atol=1e-6)


@pytest.mark.parametrize("bound", [1, 2.5, 4, 8])
def test_the_bound_is_kept_by_every_step_and_by_the_file(bound):
    image = ORIGINAL
    for step in range(30):
        gradient = np.random.default_rng(step).standard_normal(ORIGINAL.shape) + 1
        image = adversarial.signed_step(image, gradient, ORIGINAL, 0.7, bound)
        written = adversarial.as_written(image, ORIGINAL, bound)
        assert np.abs(image - ORIGINAL).max() <= bound / 255 + 1e-6
        levels = written * 255
        np.testing.assert_allclose(levels, np.rint(levels), atol=1e-3)
        assert adversarial.largest_change(written, ORIGINAL).max() <= bound
        assert written.min() >= 0
        assert written.max() <= 1
    assert adversarial.largest_change(written, ORIGINAL).max() == np.floor(bound)  # it goes as far as it may


def test_what_is_written_is_clipped_and_rounded():
    image = np.array([-0.5, 0.1, 0.5, 1.5], np.float32).reshape(1, 2, 2, 1)
    np.testing.assert_allclose(adversarial.as_written(image).ravel() * 255, [0, 26, 128, 255], atol=1e-4)
