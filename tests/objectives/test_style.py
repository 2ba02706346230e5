import numpy as np
import pytest

from tfinvert.objectives.style import content_loss, gram_matrix, style_loss

RNG = np.random.default_rng(0)
FEATURES = RNG.standard_normal((2, 4, 5, 3)).astype(np.float32)
TARGET = RNG.standard_normal((1, 4, 5, 3)).astype(np.float32)


def test_content_loss_is_a_sum():
    expected = ((FEATURES - TARGET) ** 2).sum(axis=(1, 2, 3))
    np.testing.assert_allclose(content_loss(FEATURES, TARGET), expected, rtol=1e-5)
    with pytest.raises(ValueError, match="expected the same"):
        content_loss(FEATURES, TARGET[:, :2])


@pytest.mark.parametrize("normalize", [True, False])
def test_gram_matrix_against_numpy(normalize):
    flat = FEATURES.reshape(2, 20, 3)
    expected = np.stack([one.T @ one for one in flat]) / (4 * 5 * 3 if normalize else 1)
    np.testing.assert_allclose(gram_matrix(FEATURES, normalize=normalize), expected, rtol=1e-4)


def test_style_loss_sums_the_layers_by_their_weights():
    grams = [gram_matrix(TARGET), gram_matrix(TARGET[:, :2])]
    found = style_loss([FEATURES, FEATURES[:, :2]], grams, [3.0, 0.5])
    expected = 0.0
    for features, target, weight in ((FEATURES, TARGET, 3.0), (FEATURES[:, :2], TARGET[:, :2], 0.5)):
        own, wanted = (x.reshape(len(x), -1, 3) for x in (features, target))
        difference = np.einsum("bpi,bpj->bij", own, own) - np.einsum("bpi,bpj->bij", wanted, wanted)
        expected = expected + weight * np.square(difference / features[0].size).sum(axis=(1, 2))
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    with pytest.raises(ValueError, match="zip"):
        style_loss([FEATURES], grams, [3.0, 0.5])


def test_style_does_not_depend_on_places():
    shuffled = FEATURES[:, ::-1, ::-1]
    np.testing.assert_allclose(style_loss([shuffled], [gram_matrix(FEATURES)], [1.0]), [0, 0], atol=1e-10)
