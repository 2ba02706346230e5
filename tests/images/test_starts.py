"""The images that an optimization starts from."""

import numpy as np
import pytest
from PIL import Image

from tfinvert.images import initial_image
from tfinvert.images.starts import STARTS
from tfinvert.settings import inversion


def test_the_settings_have_the_names_of_the_table():
    assert tuple(STARTS) == inversion.STARTS


def test_the_start_of_the_journal_paper_is_noise_around_the_mean_color():
    image = initial_image("mv2016", (50, 60), 0)
    away = (image - [0.485, 0.456, 0.406]) * 255
    assert np.quantile(away, 0.95) == pytest.approx(80 / np.sqrt(3), rel=0.01)
    assert abs(away.mean()) < 1


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


def test_an_image_file_can_be_the_start(tmp_path):
    Image.new("RGB", (32, 32), (255, 0, 51)).save(tmp_path / "start.png")
    image = initial_image(str(tmp_path / "start.png"), (16, 16), 0)
    np.testing.assert_allclose(image[0, 3, 3], [1, 0, 0.2])
