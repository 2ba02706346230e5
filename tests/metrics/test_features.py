import numpy as np
import pytest
import scipy.stats

from tfinvert import metrics

RNG = np.random.default_rng(0)
TARGET = np.maximum(RNG.standard_normal((1, 6, 6, 4)), 0)  # with ties, as features after a ReLU have them
FEATURES = np.maximum(TARGET + 0.3 * RNG.standard_normal(TARGET.shape), 0)


def test_normalized_feature_error():
    target = RNG.standard_normal((1, 3, 3, 2)).astype(np.float32)
    assert metrics.normalized_feature_error(target, target) == 0
    assert metrics.normalized_feature_error(np.zeros_like(target), target) == pytest.approx(1.0)
    assert metrics.normalized_feature_error(-target, target) == pytest.approx(4.0)


def test_the_errors_of_both_papers():
    target = np.array([[3.0, 4.0]])
    found = np.array([[3.0, 1.0]])
    assert metrics.mv2016_error(found, target) == pytest.approx(3 / 5)
    assert metrics.mv2015_error(found, target, 18.0) == pytest.approx(0.5)


def test_the_distance_of_pairs_is_the_mean_over_all_of_them():
    features = RNG.standard_normal((5, 1, 3, 4)).astype(np.float32)
    pairs = [np.sum((a - b) ** 2) for n, a in enumerate(features) for b in features[n + 1 :]]
    assert metrics.mean_pairwise_distances({"a": one} for one in features)["a"] == pytest.approx(np.mean(pairs), rel=1e-5)


def test_the_cosine_of_features():
    assert metrics.feature_cosine(2 * TARGET, TARGET) == pytest.approx(1.0)
    assert metrics.feature_cosine(-TARGET, TARGET) == pytest.approx(-1.0)
    assert metrics.feature_cosine([3.0, 4.0], [4.0, 3.0]) == pytest.approx(24 / 25)
    assert np.isnan(metrics.feature_cosine(np.zeros(3), np.ones(3)))


def test_correlations_agree_with_scipy():
    first, second = FEATURES.ravel(), TARGET.ravel()
    assert metrics.spearman(FEATURES, TARGET) == pytest.approx(scipy.stats.spearmanr(first, second).statistic)
    assert metrics.r_squared(FEATURES, TARGET) == pytest.approx(scipy.stats.pearsonr(first, second).statistic ** 2)
    assert metrics.spearman(-np.exp(TARGET), TARGET) == pytest.approx(-1.0)
    assert np.isnan(metrics.r_squared(np.ones(3), np.arange(3)))


def test_the_signal_to_noise_ratio():
    assert metrics.signal_to_noise(0.9 * TARGET, TARGET) == pytest.approx(20.0)
    assert metrics.signal_to_noise(np.zeros_like(TARGET), TARGET) == pytest.approx(0.0)
    assert metrics.signal_to_noise(TARGET, TARGET) == float("inf")


def test_the_null_distribution_is_of_pairs_of_different_images():
    images = RNG.standard_normal((3, 50))
    null = metrics.null_distribution(images, pairs=40)
    possible = {round(metrics.spearman(a, b), 9) for n, a in enumerate(images) for m, b in enumerate(images) if n != m}
    assert {round(value, 9) for value in null.spearman} == possible
    assert [len(values) for values in null] == [40, 40, 40]
    assert np.isfinite(null.signal_to_noise).all()  # an image beside itself would be infinite
    again = metrics.null_distribution(images, pairs=40)
    np.testing.assert_array_equal(null, again)
    with pytest.raises(ValueError, match="expected at least two"):
        metrics.null_distribution(images[:1])


def test_a_metamer_is_beyond_every_unrelated_pair_in_all_three_measures():
    null = metrics.null_distribution(RNG.standard_normal((6, 144)), pairs=100)
    near = TARGET.reshape(-1)
    assert metrics.is_metamer(near + 0.01, near, null, same_class=True)
    assert not metrics.is_metamer(near + 0.01, near, null, same_class=False)
    assert not metrics.is_metamer(near + 5, near, null, same_class=True)  # correlated, but far away
    assert not metrics.is_metamer(RNG.permutation(near), near, null, same_class=True)


def independent_identification(features, targets):
    """The definition, image by image: how many other targets correlate less with the features than the image's own."""
    shares = []
    for number, one in enumerate(features):
        own, *others = [
            np.corrcoef(one.ravel(), targets[m].ravel())[0, 1]
            for m in (number, *(m for m in range(len(targets)) if m != number))
        ]
        shares.append(np.mean([other < own for other in others]))
    return shares


def test_pairwise_identification_is_the_share_of_targets_that_are_further_away():
    targets = RNG.standard_normal((7, 4, 5))
    features = targets + 2 * RNG.standard_normal(targets.shape)
    found = metrics.pairwise_identification(features, targets)
    np.testing.assert_array_equal(found, independent_identification(features, targets))
    assert 0.5 < found.mean() < 1
    np.testing.assert_array_equal(metrics.pairwise_identification(targets, targets), 1)
    with pytest.raises(ValueError, match="expected at least two"):
        metrics.pairwise_identification(features[:1], targets[:1])


def test_pairwise_identification_is_bdpys():
    bdpy = pytest.importorskip("bdpy.evals.metrics")
    targets = RNG.standard_normal((7, 4, 5))
    features = targets + 2 * RNG.standard_normal(targets.shape)
    np.testing.assert_array_equal(
        metrics.pairwise_identification(features, targets), bdpy.pairwise_identification(features, targets)
    )


@pytest.mark.parametrize("function", ["normalized_feature_error", "feature_cosine", "spearman", "r_squared", "signal_to_noise"])
def test_different_shapes_are_refused(function):
    with pytest.raises(ValueError, match="expected the same"):
        getattr(metrics, function)(np.zeros((4, 4, 3)), np.zeros((4, 5, 3)))
