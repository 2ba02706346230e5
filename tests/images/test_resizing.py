"""From an image's proportions to those of a network."""

import numpy as np
import pytest
from PIL import Image

from tfinvert import images
from tfinvert.images import files, resizing
from tfinvert.system.errors import InputError

BARS = np.zeros((20, 60, 3), np.uint8)  # a red, a green and a blue square side by side
BARS[:, :20, 0] = BARS[:, 20:40, 1] = BARS[:, 40:, 2] = 255


@pytest.fixture
def bars(tmp_path):
    Image.fromarray(BARS).save(tmp_path / "bars.png")
    return str(tmp_path / "bars.png")


def test_the_middle_is_cut_out_and_not_squashed(bars):
    for image in (bars, BARS, BARS.astype(np.float64) / 255, Image.fromarray(BARS)):
        cropped = images.as_images(image, (10, 10))[0]
        np.testing.assert_allclose(cropped[:, 1:-1], np.broadcast_to([0, 1, 0], (10, 8, 3)), atol=1e-3)
        squashed = images.as_images(image, (10, 10), resize="squash")[0]
        assert squashed[:, 0, 0].min() > 0.9
        assert squashed[:, -1, 2].min() > 0.9
    np.testing.assert_array_equal(images.load(bars, (10, 10)), images.as_images(bars, (10, 10)))
    np.testing.assert_array_equal(images.load(bars, (10, 10), "squash"), images.as_images(bars, (10, 10), resize="squash"))


@pytest.mark.parametrize(
    ("size", "target", "box"),
    [
        ((300, 451), (224, 224), (75.5, 0, 375.5, 300)),
        ((451, 300), (224, 224), (0, 75.5, 300, 375.5)),
        ((300, 400), (224, 448), (0, 50, 400, 250)),
        ((512, 512), (224, 224), None),
        ((300, 400), (150, 200), None),
        ((7, 9), (14, 18), None),
    ],
)
def test_the_part_that_is_kept(size, target, box):
    assert resizing.middle(size, target) == (box if box is None else pytest.approx(box))


@pytest.mark.parametrize("size", [(16, 16), (24, 24), (64, 64)])
def test_a_square_image_gets_the_same_bytes_either_way(size):
    square = np.random.default_rng(0).integers(0, 256, (37, 37, 3), np.uint8)
    for image in (square, square / 255.0 * 0.99, "astronaut"):
        cropped, squashed = (images.as_images(image, size, resize=resize) for resize in ("crop", "squash"))
        np.testing.assert_array_equal(cropped, squashed)


def test_the_size_of_an_image_that_keeps_its_proportions():
    assert images.kept_size([(300, 451)], (224, 224)) == (224, 337)
    assert images.kept_size([(451, 300)], (128, 160)) == (192, 128)
    assert images.kept_size([(100, 1000)], (64, 64)) == (64, 192)  # at most 3 to 1
    assert images.kept_size([(10, 10), (99, 99)], (64, 64)) == (64, 64)
    with pytest.raises(InputError, match="same proportions, and these need the sizes 64x64, 64x96"):
        images.kept_size([(10, 10), (20, 30)], (64, 64))


def test_what_is_cut_off_is_said_in_words():
    assert images.describe_cuts({"a": (300, 400)}, (224, 224)) == "25% of the width of a is cut off"
    assert images.describe_cuts({"a": (400, 300), "b": (9, 9)}, (224, 224)) == "25% of the height of a is cut off"
    assert images.describe_cuts({"a": (300, 300), "b": (224, 225)}, (224, 224)) == ""
    many = {str(number): (100, 100 + 10 * number) for number in range(9)}
    assert images.describe_cuts(many, (64, 64)) == "8 of 9 images are cut at two sides, by up to 44% of a side"


def test_the_sizes_of_images_as_they_are_seen(bars, tmp_path):
    lying = Image.new("RGB", (30, 20))
    exif = lying.getexif()
    exif[files.ORIENTATION] = 6
    lying.save(tmp_path / "lying.jpg", exif=exif)
    sizes = images.sizes_of([bars, str(tmp_path / "lying.jpg"), "chelsea"])
    assert sizes == {"bars": (20, 60), "lying": (30, 20), "chelsea": (300, 451)}
    assert images.read(tmp_path / "lying.jpg").size == (20, 30)
    assert images.sizes_of(BARS) == {"image": (20, 60)}
    assert images.sizes_of([BARS, Image.new("L", (9, 8))]) == {"image[0]": (20, 60), "image[1]": (8, 9)}
