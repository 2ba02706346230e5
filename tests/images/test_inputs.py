"""Images as users have them: every kind is read like the file with the same pixels, or refused in one line."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageCms

from tfinvert import images
from tfinvert.system.errors import InputError

SIZE = (24, 16)
RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (40, 30, 3), np.uint8)
GRAY = RNG.integers(0, 256, (40, 30), np.uint8)
CLEAR = RNG.integers(0, 256, (40, 30, 4), np.uint8)


class Jax:
    """Like JAX's arrays: it has an __array__ of its own and nothing else that is looked for."""

    def __init__(self, values):
        self.values = values

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.values, dtype)


def torch():
    return pytest.importorskip("torch", reason="needs the extra 'torch'")


@pytest.fixture
def stored(tmp_path):
    """A function that writes pixels into a file and gives what `images.load` makes of it."""

    def load(pixels, size=SIZE):
        Image.fromarray(pixels).save(tmp_path / "stored.png")
        return images.load(tmp_path / "stored.png", size)

    return load


def read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array


KINDS = {
    "uint8": lambda: PIXELS,
    "float32": lambda: PIXELS / np.float32(255),
    "float32 times 1/255": lambda: PIXELS * np.float32(1 / 255),
    "float64": lambda: PIXELS / 255.0,
    "float64 that was float32": lambda: (PIXELS / np.float32(255)).astype(np.float64),
    "float16": lambda: (PIXELS / 255).astype(np.float16),
    "long double": lambda: (PIXELS / 255).astype(np.longdouble),
    "read-only": lambda: read_only(PIXELS),
    "read-only float": lambda: read_only(PIXELS / np.float32(255)),
    "not contiguous": lambda: PIXELS.transpose(1, 0, 2).copy().transpose(1, 0, 2),
    "with a batch axis": lambda: PIXELS[None],
    "channels first in a batch": lambda: np.moveaxis(PIXELS, -1, 0)[None],
    "Pillow": lambda: Image.fromarray(PIXELS),
    "TensorFlow": lambda: tf.constant(PIXELS),
    "TensorFlow float": lambda: tf.image.convert_image_dtype(PIXELS, tf.float32),
    "TensorFlow variable": lambda: tf.Variable(PIXELS / np.float32(255)),
    "PyTorch": lambda: torch().tensor(PIXELS),
    "PyTorch channels first": lambda: torch().tensor(PIXELS).permute(2, 0, 1),
    "PyTorch batch, channels first": lambda: torch().tensor(PIXELS).permute(2, 0, 1)[None],
    "PyTorch with a gradient": lambda: torch().tensor(PIXELS / 255.0, requires_grad=True),
    "JAX": lambda: Jax(PIXELS),
    "list": lambda: [PIXELS],
    "tuple": lambda: (Image.fromarray(PIXELS),),
}


@pytest.mark.parametrize("size", [SIZE, None, (50, 70)], ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_the_pixels_of_a_file_give_what_the_file_gives(kind, size, stored):
    image = images.as_images(KINDS[kind](), size)
    np.testing.assert_array_equal(image, stored(PIXELS, size or PIXELS.shape[:2]))
    assert image.dtype == np.float32


@pytest.mark.parametrize("scale", [1, np.float32(255)], ids=["uint8", "float"])
@pytest.mark.parametrize("shape", [(40, 30), (40, 30, 1), (1, 40, 30), (1, 40, 30, 1), (1, 1, 40, 30)], ids=str)
def test_gray(shape, scale, stored):
    values = GRAY.reshape(shape)
    np.testing.assert_array_equal(images.as_images(values if scale == 1 else values / scale, SIZE), stored(GRAY))


@pytest.mark.parametrize("pixels", [CLEAR, CLEAR / np.float32(255), CLEAR[None], Image.fromarray(CLEAR)], ids=type)
def test_transparency_is_laid_over_white(pixels, stored):
    np.testing.assert_array_equal(images.as_images(pixels, SIZE), stored(CLEAR))


def test_transparency_of_floats_that_no_file_has():
    image = images.as_images(np.full((9, 9, 4), [0.1, 0.2, 0.3, 0.25]))
    np.testing.assert_allclose(image[0, 4, 4], [0.775, 0.8, 0.825], rtol=1e-6)


@pytest.mark.parametrize("mode", "1 L P RGB RGBA CMYK YCbCr HSV LAB I F LA PA La RGBa".split())
def test_pillow_images_of_every_mode(mode):
    through = {"RGBa": "RGBA", "La": "LA", "PA": "P", "LAB": "RGB"}.get(mode, mode)
    picture = Image.new("RGB", (9, 12), (204, 204, 204)).convert(through)
    if mode == "LAB":
        srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        picture = ImageCms.profileToProfile(picture, srgb, lab, outputMode="LAB")
    picture = picture if picture.mode == mode else picture.convert(mode)
    if mode == "1":  # dithered
        picture = Image.new("1", (9, 12), 1)
    image = images.as_images(picture)
    assert image.shape == (1, 12, 9, 3)
    np.testing.assert_allclose(image[0, 5, 5], 1 if mode == "1" else 0.8, atol=0.01)


def test_pillow_images_are_turned_as_files_are(tmp_path):
    picture = Image.fromarray(PIXELS)
    exif = picture.getexif()
    exif[0x0112] = 6
    picture.save(tmp_path / "turned.png", exif=exif)
    with Image.open(tmp_path / "turned.png") as opened:
        np.testing.assert_array_equal(images.as_images(opened, SIZE), images.load(tmp_path / "turned.png", SIZE))


def test_files_and_sample_photographs(tmp_path, monkeypatch):
    Image.fromarray(PIXELS).save(tmp_path / "a.png")
    monkeypatch.setenv("HOME", str(tmp_path))
    expected = PIXELS[None] / np.float32(255)
    for source in (str(tmp_path / "a.png"), tmp_path / "a.png", "~/a.png", Path("~/a.png")):
        np.testing.assert_array_equal(images.as_images(source), expected)
    np.testing.assert_array_equal(images.as_images("chelsea", SIZE), images.load("chelsea", SIZE))
    assert images.as_images("chelsea").shape == (1, 300, 451, 3)


def test_floats_between_the_levels_of_a_file_are_resized_as_floats():
    values = np.random.default_rng(1).uniform(0, 1, (40, 30, 3)).astype(np.float32)
    np.testing.assert_array_equal(images.as_images(values)[0], values)
    small = images.as_images(values, (10, 10), resize="squash")[0]
    for channel in range(3):
        resized = Image.fromarray(values[..., channel].copy()).resize((10, 10), Image.Resampling.BILINEAR)
        np.testing.assert_array_equal(small[..., channel], resized)
    # In 8 bits it would be this, give or take half a level at each of three roundings.
    in_bytes = images.as_images(np.rint(values * 255).astype(np.uint8), (10, 10), resize="squash")[0]
    np.testing.assert_allclose(small, in_bytes, atol=1.6 / 255)


@pytest.mark.parametrize("tensor", [lambda v: tf.constant(v, tf.bfloat16), lambda v: torch().tensor(v).bfloat16()])
def test_floats_that_numpy_does_not_have(tensor):
    values = np.linspace(0, 1, 9 * 8 * 3).reshape(9, 8, 3)
    np.testing.assert_allclose(images.as_images(tensor(values))[0], values, atol=2**-8)


def test_what_leaves_the_range_by_rounding_is_clipped():
    values = np.full((8, 8, 3), 0.3, np.float32)
    values[0, 0], values[0, 1] = 1 + 3e-7, -3e-7
    assert images.as_images(values)[0, 0, :2].tolist() == [[1, 1, 1], [0, 0, 0]]


def test_the_result_is_no_view():
    values = np.full((8, 8, 3), 0.3, np.float32)
    images.as_images(values)[...] = 1
    assert values.max() == np.float32(0.3)


def test_a_list_becomes_one_batch_of_one_size(tmp_path, stored):
    batch = images.as_images([PIXELS, np.stack([GRAY, GRAY]), Image.new("RGB", (100, 90), "white"), "chelsea"])
    assert batch.shape == (5, 40, 30, 3)
    np.testing.assert_array_equal(batch[0], PIXELS / np.float32(255))
    np.testing.assert_array_equal(batch[1], batch[2])
    np.testing.assert_array_equal(batch[3], np.ones((40, 30, 3)))
    np.testing.assert_array_equal(batch[4], images.load("chelsea", (40, 30))[0])


def test_a_batch_of_tensors_with_the_channels_first():
    batch = torch().tensor(np.stack([PIXELS, PIXELS[::-1]])).permute(0, 3, 1, 2)
    np.testing.assert_array_equal(images.as_images(batch)[1], PIXELS[::-1] / np.float32(255))


WRONG = {
    "shape": (np.zeros((2, 3, 40, 30, 3)), r"has the shape \[2, 3, 40, 30, 3\]; expected \[H, W\]"),
    "channels": (np.zeros((9, 9, 9, 5)), r"has the shape \[9, 9, 9, 5\]; expected"),
    "number": (np.float32(0.5), r"has the shape \[\]"),
    "row": (np.zeros(9), r"has the shape \[9\]"),
    "three grays or channels": (np.zeros((3, 40, 30)), r"\[3, 40, 30\], which is 3 gray images or one.*\[n, H, W, 1\]"),
    "small": (np.zeros((7, 30, 3)), "is 30x7 pixels; expected at least 8x8"),
    "long": (np.zeros((8, 70000), np.uint8), "is 70000x8 pixels; expected at most 65535"),
    "small Pillow": (Image.new("RGB", (4, 4)), "is 4x4 pixels; expected at least 8x8"),
    "four grays or channels": (np.zeros((4, 40, 30)), r"\[4, 40, 30\], which is 4 gray images or one.*as \[H, W, 4\]"),
    "range of 255": (PIXELS.astype(np.float32), "from 0 to 255; expected floats from 0 to 1: divide .* by 255, or .* uint8"),
    "range of -1 to 1": (np.linspace(-1, 1, 192).reshape(8, 8, 3), "from -1 to 1; expected floats from 0 to 1"),
    "NaN": (np.full((9, 9, 3), np.nan), "NaN or infinite"),
    "infinite": (np.full((9, 9, 3), np.inf), "NaN or infinite"),
    "NaN of Pillow": (Image.fromarray(np.full((9, 9), np.nan, np.float32)), "NaN or infinite"),
    "integers": (PIXELS.astype(np.int64), r"array \[40, 30, 3\] of int64; expected uint8 from 0 to 255 or floats"),
    "bool": (np.zeros((9, 9), bool), r"of bool; expected uint8 .* by \.astype\(float\)"),
    "16 bits": (np.full((9, 9), 40000, np.uint16), "of uint16; expected .*: its largest value is 40000, so divide it"),
    "open file": (open(__file__, "rb"), r"_io.BufferedReader name=.*\(BufferedReader\); expected a file"),  # noqa: SIM115
    "objects": (np.full((9, 9), None), "of object; expected uint8"),
    "symbolic": (tf.keras.Input((9, 9, 3)), "whose values cannot be read"),
    "empty list": ([], r"has no image in it \(\[\] \(list\)\); expected a file"),
    "empty batch": (np.zeros((0, 9, 9, 3)), "has no image in it"),
    "dict": ({"image": PIXELS}, r"\(dict\); expected a file, the name of a sample image, a Pillow image"),
    "None": (None, r"photo is None \(NoneType\); expected a file"),
    "int": (7, r"is 7 \(int\); expected"),
    "bytes": (b"a" * 99, r"a\.\.\. \(bytes\); expected"),
    "numbers": ([[0.5]], r"photo\[0\] is \[0.5\] \(list\); expected"),
    "second of a list": ([PIXELS, None], r"photo\[1\] is None"),
    "no file": ("nowhere.png", "photo: there is no image 'nowhere.png'"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_is_no_image_is_refused_in_one_line(kind):
    value, message = WRONG[kind]
    with pytest.raises(InputError, match=message) as error:
        images.as_images(value, name="photo")
    assert str(error.value).startswith("photo")
    assert "\n" not in str(error.value)


def test_a_tensor_without_values_is_refused():
    with pytest.raises(InputError, match="whose values cannot be read"):
        images.as_images(torch().zeros(9, 9, 3).to_sparse())


def test_images_are_imported_without_tensorflow():
    code = "import sys; from tfinvert import images; images.load; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
