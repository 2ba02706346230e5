"""What every experiment returns."""

import dataclasses
import doctest
import io
import pickle
import sys
import types

import numpy as np
import pytest
from PIL import Image

from tfinvert.runs import result as module
from tfinvert.runs.result import Result
from tfinvert.system.errors import InputError


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class InversionResult(Result):
    target: np.ndarray
    psnr: float
    restarts: tuple[dict[str, float], ...] = ()


def result(count=1, **more):
    images = np.stack([np.full((24, 32, 3), 0.1 * (number + 1), np.float32) for number in range(count)])
    lines = ({"step": 0, "loss": 2.0}, {"step": 150, "loss": 1.0})
    values = {"history": lines, "weights": "random", "settings": {"steps": 150}, "target": images[0], "psnr": 38.25}
    return InversionResult(images=images, **{**values, **more})


def pixel(path, x=0, y=0):
    with Image.open(path) as image:
        return image.convert("RGB").getpixel((x, y))


def test_the_image_is_the_only_one():
    np.testing.assert_array_equal(result().image, result().images[0])
    with pytest.raises(InputError, match="has 3 images"):
        _ = result(3).image


def test_figures_are_the_fields_that_are_numbers():
    assert result().figures() == {"psnr": 38.25}
    assert Result(images=np.zeros((1, 8, 8, 3))).figures() == {}


def test_a_line_says_what_it_is():
    assert repr(result()) == "InversionResult(38.2 dB, 24x32, 150 steps)"
    assert repr(result(3, history=())) == "InversionResult(38.2 dB, 3 images of 24x32)"
    assert repr(Result(images=np.zeros((1, 8, 8, 3)))) == "Result(8x8)"


def test_it_can_be_pickled():
    one = result(2)
    other = pickle.loads(pickle.dumps(one))
    np.testing.assert_array_equal(other.images, one.images)
    assert (repr(other), other.history, other.settings, other.weights) == (repr(one), one.history, one.settings, "random")


@pytest.mark.parametrize("name", ["x.png", "x.PNG", "x.webp", "x.jpg", "x.jpeg", "x.tiff", "x.bmp"])
def test_an_image_is_saved_in_the_format_of_its_suffix(name, tmp_path):
    assert result().save(tmp_path / name) == [tmp_path / name]
    assert pixel(tmp_path / name) == pytest.approx((26, 26, 26), abs=2)  # rint(25.5) is 26 as float32
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_several_images_have_numbers(tmp_path):
    paths = result(3).save(str(tmp_path / "x.png"))
    assert paths == [tmp_path / f"x-{number}.png" for number in range(3)]
    assert pixel(paths[2])[0] > pixel(paths[0])[0]


def test_a_folder_holds_all_of_them(tmp_path):
    assert result(2).save(tmp_path / "new" / "folder") == [tmp_path / "new" / "folder" / f"image-{n}.png" for n in range(2)]
    (tmp_path / "with.dot").mkdir()
    assert result().save(tmp_path / "with.dot") == [tmp_path / "with.dot" / "image-0.png"]


def test_the_home_folder_has_its_short_name(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert result().save("~/x.png") == [tmp_path / "x.png"]


def test_what_cannot_be_saved_is_said_before_anything_is_written(tmp_path):
    with pytest.raises(InputError, match="cannot save an image as 'x"):
        result().save(tmp_path / "x.doc")
    with pytest.raises(InputError, match="there is no folder"):
        result().save(tmp_path / "nowhere" / "x.png")
    assert list(tmp_path.iterdir()) == []


def test_values_beyond_the_range_are_clipped(tmp_path):
    images = np.stack([np.full((8, 8, 3), value, np.float32) for value in (-1.0, 2.0)])
    dark, light = Result(images=images).save(tmp_path / "x.png")
    assert (pixel(dark), pixel(light)) == ((0, 0, 0), (255, 255, 255))


def test_notebooks_show_the_images_side_by_side():
    with Image.open(io.BytesIO(result(3)._repr_png_())) as shown:
        assert shown.size == (3 * 32 + 2 * 8, 24)
        assert shown.getpixel((33, 0)) == (255, 255, 255)
        assert [shown.getpixel((40 * number, 0))[0] for number in range(3)] == [26, 51, 76]
    with Image.open(io.BytesIO(result(10)._repr_png_())) as shown:
        assert shown.size == (8 * 32 + 7 * 8, 2 * 24 + 8)
        assert shown.getpixel((300, 50)) == (255, 255, 255)  # the second row has two


def test_it_is_shown_in_a_notebook(monkeypatch):
    shown = []
    kernel = types.SimpleNamespace(kernel=None)
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: kernel))
    monkeypatch.setitem(sys.modules, "IPython.display", types.SimpleNamespace(display=shown.append))
    result(2).show()
    assert [image.size for image in shown] == [(72, 24)]


def test_it_is_shown_in_a_viewer_elsewhere(monkeypatch):
    shown = []
    monkeypatch.setattr(Image.Image, "show", lambda image: shown.append(image.size))
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    result().show()
    assert shown == [(32, 24)]


def test_the_example_is_right():
    names = {"dataclasses": dataclasses, "np": np, "Result": Result}
    examples = doctest.DocTestFinder(recurse=False).find(Result, "Result", module, globs=names)
    assert [doctest.DocTestRunner().run(example).failed for example in examples] == [0]
