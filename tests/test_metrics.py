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


def test_the_distance_of_pairs_is_the_mean_over_all_of_them():
    features = np.random.default_rng(0).standard_normal((5, 1, 3, 4)).astype(np.float32)
    pairs = [np.sum((a - b) ** 2) for n, a in enumerate(features) for b in features[n + 1 :]]
    assert metrics.mean_pairwise_distances({"a": one} for one in features)["a"] == pytest.approx(np.mean(pairs), rel=1e-5)


def test_the_errors_of_both_papers():
    target = np.array([[3.0, 4.0]])
    found = np.array([[3.0, 1.0]])
    assert metrics.mv2016_error(found, target) == pytest.approx(3 / 5)
    assert metrics.mv2015_error(found, target, 18.0) == pytest.approx(0.5)


def test_the_interval_of_a_mean_is_students():
    mean, half = metrics.interval([1.0, 2.0, 3.0])
    assert mean == 2
    assert half == pytest.approx(4.302653 / np.sqrt(3), rel=1e-5)  # t of 2 degrees of freedom
    assert np.isnan(metrics.interval([1.0])[1])
