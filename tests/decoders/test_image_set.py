"""Decoded images: broken files, crops, and which draw is which."""

import numpy as np
import pytest
from PIL import Image

from tests.decoders.conftest import write_images
from tfinvert.decoders.image_set import ImageSet
from tfinvert.system.errors import InputError


def test_a_broken_image_is_skipped_counted_and_named(tmp_path, caplog):
    files = write_images(tmp_path / "some", 4)
    files[1].write_bytes(files[1].read_bytes()[:50])
    files[2].write_bytes(b"")
    image_set = ImageSet(files, (16, 16))
    assert image_set.files == [files[0], files[3]]
    assert len(image_set) == 2
    assert [path for path, _ in image_set.broken] == files[1:3]
    assert "2 of 4 images are skipped" in caplog.text
    assert str(files[1]) in caplog.text
    assert str(files[2]) in caplog.text
    with pytest.raises(InputError, match="none of 2 images can be read"):
        ImageSet(files[1:3], (16, 16))


@pytest.fixture(scope="module")
def ramp(tmp_path_factory):
    """An image whose red is its row and whose green is its column."""
    rows, columns = np.mgrid[:40, :60].astype(np.uint8)
    path = tmp_path_factory.mktemp("ramp") / "ramp.png"
    Image.fromarray(np.stack([rows, columns, 0 * rows], axis=-1)).save(path)
    return path


def test_crops_are_the_pixels_that_they_say(ramp):
    image_set = ImageSet([ramp], (20, 20))
    corner = image_set.crop(0, (0.5, 0.0, 1.0))  # 20 pixels of 40, at the top right: not resized
    np.testing.assert_array_equal(corner[..., 0], np.mgrid[:20, :20][0])
    np.testing.assert_array_equal(corner[..., 1], np.mgrid[:20, 40:60][1])
    np.testing.assert_array_equal(image_set.crop(0, (0.5, 0.0, 1.0), mirrored=True), corner[:, ::-1])
    center = image_set.center(0)  # 40 x 40 from column 10 on, at half the size
    np.testing.assert_allclose(center[..., 1].mean(), 10 + 19.5, atol=0.6)
    wide = ImageSet([ramp], (10, 30)).center(0)  # 20 x 60 from row 10 on
    assert wide.shape == (10, 30, 3)
    np.testing.assert_allclose([wide[..., 0].mean(), wide[..., 1].mean()], [19.5, 29.5], atol=0.6)


def test_the_corners_come_after_each_center(ramp):
    image_set = ImageSet([ramp, ramp], (20, 20))
    crops = image_set.centers(corners=True)
    assert crops.shape == (10, 20, 20, 3)
    np.testing.assert_array_equal(crops[::5], image_set.centers())
    corner = image_set.crop(0, (0.6, 0.0, 1.0))
    np.testing.assert_array_equal(crops[2], corner)


def test_what_does_not_fit_into_memory_is_read_again(tmp_path):
    files = write_images(tmp_path / "some", 4)
    kept, again = ImageSet(files, (8, 8)), ImageSet(files, (8, 8), memory=0)
    before = kept.centers()
    np.testing.assert_array_equal(again.centers(), before)
    for path in files:
        Image.new("RGB", (20, 16), "red").save(path)
    np.testing.assert_array_equal(kept.centers(), before)
    assert np.all(again.centers() == (255, 0, 0))


def test_draws_depend_on_the_seed_and_their_number_alone(tmp_path):
    image_set = ImageSet(write_images(tmp_path / "some", 5), (8, 8))
    for turn in range(3):  # every image once in each pass
        assert sorted(image_set.draw(5 * turn + i, 7, augment=True)[0] for i in range(5)) == list(range(5))
    orders = {tuple(image_set.draw(5 * turn + i, 7, augment=False)[0] for i in range(5)) for turn in range(6)}
    assert len(orders) > 1
    index, image = image_set.draw(13, 7, augment=True)
    again = image_set.draw(13, 7, augment=True)
    assert again[0] == index
    np.testing.assert_array_equal(again[1], image)
    assert np.any(image_set.draw(13, 8, augment=True)[1] != image)
    index, image = image_set.draw(13, 7, augment=False)
    np.testing.assert_array_equal(image, image_set.center(index))
