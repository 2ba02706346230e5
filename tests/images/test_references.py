"""What images reach that hold nothing of the features."""

import numpy as np
import pytest

from tfinvert import images
from tfinvert.images.references import EVEN_GREY, MEAN_IMAGE, OWN_COLOR, reference_psnr


def test_references_are_an_even_grey_the_mean_image_and_the_target_s_own_color():
    target = np.random.default_rng(0).uniform(0, 1, (8, 9, 3))
    psnr = reference_psnr(target)
    assert list(psnr) == [EVEN_GREY, MEAN_IMAGE, OWN_COLOR]
    for name, color in ((EVEN_GREY, [0.5] * 3), (MEAN_IMAGE, images.MEAN_COLOR), (OWN_COLOR, target.mean((0, 1)))):
        assert psnr[name] == pytest.approx(-10 * np.log10(np.mean((target - color) ** 2)), rel=1e-6)


def test_an_even_target_has_a_finite_psnr():
    assert reference_psnr(np.full((8, 8, 3), 0.5, np.float32))[EVEN_GREY] == 200
