import os

import numpy as np
import pytest
from PIL import Image

from tfinvert.images import files as images
from tfinvert.system.errors import InputError


@pytest.mark.parametrize("name", images.SAMPLES)
def test_sample_photographs_come_with_the_package(name):
    image = images.load(name, (24, 32))
    assert image.shape == (1, 24, 32, 3)
    assert image.dtype == np.float32
    assert 0 <= image.min() < 0.3 < 0.7 < image.max() <= 1


def test_grey_becomes_rgb(tmp_path):
    Image.new("L", (20, 20), 51).save(tmp_path / "grey.png")
    np.testing.assert_allclose(images.load(tmp_path / "grey.png", (16, 16)), 0.2)


def test_transparency_is_laid_over_white(tmp_path):
    Image.new("RGBA", (20, 20), (255, 0, 0, 0)).save(tmp_path / "clear.png")
    np.testing.assert_allclose(images.load(tmp_path / "clear.png", (16, 16)), 1.0)


def test_palette_with_transparency(tmp_path):
    image = Image.new("P", (20, 20), 0)
    image.putpalette([0, 0, 255, *([0] * 765)])
    image.save(tmp_path / "palette.gif", transparency=0)
    np.testing.assert_allclose(images.load(tmp_path / "palette.gif", (16, 16)), 1.0)


def test_16_bit_greys_are_scaled_and_not_cut_off(tmp_path):
    Image.fromarray(np.full((20, 20), 32768, np.uint16)).save(tmp_path / "deep.png")
    np.testing.assert_allclose(images.load(tmp_path / "deep.png", (16, 16)), 0.5, atol=0.003)


@pytest.mark.parametrize(
    ("values", "white"),
    [
        (np.full((20, 20), 200, np.uint16), 65535),  # dark, and not a light image of 8 bits
        (np.full((20, 20), 200, np.int32), 255),
        (np.full((20, 20), 30000, np.int32), 65535),
        (np.full((20, 20), 0.5, np.float32), 1),
        (np.full((20, 20), 1.0002, np.float32), 1),
        (np.full((20, 20), 130.0, np.float32), 255),
    ],
)
def test_the_white_of_deep_grays(tmp_path, values, white):
    Image.fromarray(values).save(tmp_path / "deep.tif")
    np.testing.assert_allclose(images.load(tmp_path / "deep.tif", (16, 16)), values[0, 0] / white, atol=0.003)


@pytest.mark.parametrize("value", [np.nan, np.inf, -0.5, 1e6])
def test_deep_grays_of_no_known_range_are_refused(tmp_path, value):
    Image.fromarray(np.linspace(0.0, 1.0, 400, dtype=np.float32).reshape(20, 20)).save(tmp_path / "fine.tif")
    values = np.full((20, 20), 0.5, np.float32)
    values[3, 3] = value
    Image.fromarray(values).save(tmp_path / "deep.tif")
    images.load(tmp_path / "fine.tif", (16, 16))
    with pytest.raises(InputError, match=r"deep\.tif has .*; expected grays from 0 to 1, 255 or 65535"):
        images.load(tmp_path / "deep.tif", (16, 16))


def test_dark_floats_and_what_is_not_the_first_image_of_a_file_are_said(tmp_path, caplog):
    Image.fromarray(np.full((20, 20), 5, np.float32)).save(tmp_path / "dark.tif")
    images.load(tmp_path / "dark.tif", (16, 16))
    colors = [Image.new("RGB", (20, 20), color) for color in ("red", "blue")]
    colors[0].save(tmp_path / "film.gif", save_all=True, append_images=colors[1:])
    assert images.load(tmp_path / "film.gif", (16, 16))[0, 5, 5].tolist() == [1, 0, 0]
    images.load(tmp_path / "film.gif", (16, 16))
    assert [message.partition(" ")[2] for message in caplog.messages] == [
        "has values up to 5, and its white is taken for 255",
        "has 2 images in it; the first is used",
    ]


def test_a_16_bit_gray_can_be_transparent(tmp_path):
    values = np.full((20, 20), 30000, np.uint16)
    values[:10] = 7
    Image.fromarray(values).save(tmp_path / "a.png", transparency=7)
    image = images.load(tmp_path / "a.png", (20, 20))[0, :, 5, 0]
    np.testing.assert_allclose(image, np.repeat([1, 30000 / 65535], 10), atol=0.003)


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_size_by_the_header_is_that_of_the_image_as_it_is_seen(tmp_path, suffix, orientation):
    image = Image.new("RGB", (40, 20))
    exif = image.getexif()
    exif[0x0112] = orientation
    image.save(tmp_path / f"a.{suffix}", exif=exif)
    expected = (40, 20) if orientation > 4 else (20, 40)
    assert images.size_of(tmp_path / f"a.{suffix}") == expected
    assert images.read(tmp_path / f"a.{suffix}").size == expected[::-1]


def test_exif_rotation_is_applied(tmp_path):
    image = Image.new("RGB", (40, 20), "black")
    image.paste((255, 255, 255), (0, 0, 20, 20))  # the left half
    exif = image.getexif()
    exif[0x0112] = 6  # shown turned by 90 degrees clockwise: the left half is on top
    image.save(tmp_path / "turned.png", exif=exif)
    turned = images.load(tmp_path / "turned.png", (16, 16))
    assert turned[0, 2].mean() > 0.9
    assert turned[0, 13].mean() < 0.1


def damaged(tmp_path, name):
    path = tmp_path / name
    if name == "text.png":
        path.write_text("no image")
    elif name == "half.jpg":
        Image.fromarray(np.random.default_rng(0).integers(0, 255, (200, 200, 3), np.uint8)).save(path)
        path.write_bytes(path.read_bytes()[:4000])
    elif name == "dot.png":
        Image.new("RGB", (1, 1)).save(path)
    elif name == "huge.png":
        Image.new("1", (20000, 20000)).save(path)
    elif name == "large.png":
        Image.new("1", (9000, 9000)).save(path)
    elif name == "long.png":
        Image.new("1", (100_000, 8)).save(path)
    elif name == "folder":
        path.mkdir()
    return path


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("text.png", "is no image in a known format"),
        ("half.jpg", "truncated"),
        ("dot.png", "1x1 pixels; expected at least 8x8"),
        ("huge.png", "too large"),
        ("large.png", "9000x9000 pixels; expected at most 64 million"),
        ("long.png", "100000x8 pixels; expected at most 65535 on a side"),
        ("folder", "directory"),
        ("missing.png", "there is no image"),
    ],
)
def test_bad_images_are_named_with_what_is_wrong(tmp_path, name, message):
    path = damaged(tmp_path, name)
    with pytest.raises(InputError, match=message) as caught:
        images.load(path, (16, 16))
    assert name in str(caught.value)


def test_save_clips_and_does_not_stretch(tmp_path):
    image = np.full((1, 4, 4, 3), 0.5, np.float32)
    image[0, 0, 0] = 7.0
    images.save(tmp_path / "a.png", image)
    pixels = np.asarray(Image.open(tmp_path / "a.png"))
    assert pixels[0, 0].tolist() == [255] * 3
    assert pixels[1, 1].tolist() == [128] * 3
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]


def test_sizes_that_keep_proportions(tmp_path):
    for size, expected in (((1024, 768), (192, 256)), ((300, 500), (320, 192)), ((100, 100), (192, 192))):
        Image.new("RGB", size).save(tmp_path / "image.png")
        assert images.proportional_size(tmp_path / "image.png", 192) == expected


def test_color_of_one_and_luminance_of_the_other():
    rng = np.random.default_rng(0)
    one, other = rng.uniform(0.2, 0.8, (2, 1, 5, 6, 3)).astype(np.float32)
    mixed = images.with_color_of(one, other)
    weights = np.array([0.299, 0.587, 0.114])
    np.testing.assert_allclose(mixed @ weights, one @ weights, atol=1e-5)
    rest = images.TO_YIQ[1:].T
    np.testing.assert_allclose(mixed @ rest, other @ rest, atol=1e-5)
    grey = images.luminance(one)
    np.testing.assert_allclose(grey[..., 0], one @ weights, atol=1e-6)
    np.testing.assert_array_equal(grey[..., 0], grey[..., 2])
    np.testing.assert_allclose(images.with_color_of(grey, one), one, atol=1e-5)


def test_statistics_of_another():
    rng = np.random.default_rng(0)
    moved = images.with_statistics_of(rng.uniform(0, 1, (1, 9, 9, 3)), np.array([0.0, 1.0, 0.5, 0.5]))
    assert moved.mean() == pytest.approx(0.5)
    assert moved.std() == pytest.approx(np.std([0, 1, 0.5, 0.5]))


def test_what_other_programs_would_have_to_run_is_no_image(tmp_path):
    """Pillow hands PostScript, which is a program, to Ghostscript."""
    (tmp_path / "a.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\n%%EndComments\n")
    with pytest.raises(InputError, match="is no image in a known format"):
        images.load(tmp_path / "a.png", (16, 16))


def test_what_may_never_end_is_no_image(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    for path in (tmp_path / "pipe.png", "/dev/zero"):
        with pytest.raises(InputError, match="no regular file"):
            images.load(path, (16, 16))
