import numpy as np
import pytest

from tfinvert import metrics

RNG = np.random.default_rng(0)
PICTURE = RNG.uniform(0, 1, (32, 40, 3)).astype(np.float32)


def test_psnr_by_hand():
    assert metrics.psnr(np.zeros((4, 4, 3)), np.full((4, 4, 3), 0.1)) == pytest.approx(20.0)
    assert metrics.psnr(np.zeros((4, 4, 3)), np.ones((4, 4, 3))) == pytest.approx(0.0)


def test_psnr_agrees_with_scikit_image():
    from skimage.metrics import peak_signal_noise_ratio

    other = np.clip(PICTURE + 0.05 * RNG.standard_normal(PICTURE.shape), 0, 1)
    assert metrics.psnr(other, PICTURE) == pytest.approx(peak_signal_noise_ratio(PICTURE, other, data_range=1.0))


def test_psnr_of_equal_pictures_is_infinite():
    assert metrics.psnr(PICTURE, PICTURE) == float("inf")


def test_values_out_of_range_are_clipped_before_they_are_measured():
    assert metrics.psnr(np.full((4, 4, 3), 7.0), np.ones((4, 4, 3))) == float("inf")


def test_ssim_is_one_for_equal_pictures_and_falls_with_noise():
    noisy = np.clip(PICTURE + 0.2 * RNG.standard_normal(PICTURE.shape), 0, 1)
    assert metrics.ssim(PICTURE, PICTURE) == pytest.approx(1.0)
    assert metrics.ssim(noisy, PICTURE) < 0.95
    assert metrics.ssim(1 - PICTURE, PICTURE) < 0


def test_normalized_feature_error():
    target = RNG.standard_normal((1, 3, 3, 2)).astype(np.float32)
    assert metrics.normalized_feature_error(target, target) == 0
    assert metrics.normalized_feature_error(np.zeros_like(target), target) == pytest.approx(1.0)
    assert metrics.normalized_feature_error(-target, target) == pytest.approx(4.0)


@pytest.mark.parametrize("function", [metrics.psnr, metrics.ssim, metrics.normalized_feature_error])
def test_different_shapes_are_refused(function):
    with pytest.raises(ValueError, match="expected the same"):
        function(np.zeros((4, 4, 3)), np.zeros((4, 5, 3)))
