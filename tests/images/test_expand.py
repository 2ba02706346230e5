"""What one flag for images stands for: files, folders and sample photographs."""

import numpy as np
import pytest
from PIL import Image

from tfinvert import images
from tfinvert.system.errors import InputError


@pytest.fixture
def folder(tmp_path):
    """A folder with two images, a hidden one, and a file that is none."""
    for name in ("b.png", "a.JPG", ".hidden.png"):
        Image.new("RGB", (9, 9)).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no image")
    return tmp_path


def test_files_folders_and_sample_photographs_are_expanded(folder, monkeypatch):
    both = {"a": str(folder / "a.JPG"), "b": str(folder / "b.png")}
    assert images.expand([str(folder)]) == both
    assert list(images.expand(folder)) == ["a", "b"]
    assert images.expand(["chelsea", folder / "b.png"]) == {"chelsea": "chelsea", "b": str(folder / "b.png")}
    assert list(images.expand(["rocket", str(folder)])) == ["rocket", "a", "b"]
    monkeypatch.setenv("HOME", str(folder))
    assert images.expand("~") == both
    assert images.expand("~/b.png") == {"b": str(folder / "b.png")}


def test_what_does_not_expand_to_images_is_refused_in_one_line(folder):
    (folder / "other").mkdir()
    (folder / "empty").mkdir()
    Image.new("RGB", (9, 9)).save(folder / "other" / "b.png")
    (folder / "other" / "wrong.png").write_text("no image")
    for values, message in (
        ([folder / "b.png", folder / "other" / "b.png"], "--image has two images of the name b "),
        (["chelsea", "chelsea"], "two images of the name chelsea"),
        ([folder / "empty"], "has no image in .*empty; expected files such as PNG"),
        ([folder / "other" / "wrong.png"], "wrong.png is no image"),
        ([folder / "notes.txt"], "notes.txt is no image"),
        (["nowhere"], "there is no image 'nowhere'"),
        ([], "--image is empty"),
    ):
        with pytest.raises(InputError, match=message) as error:
            images.expand(values)
        assert "\n" not in str(error.value)


def test_expanding_reads_headers_alone(tmp_path):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8)).save(tmp_path / "half.jpg")
    (tmp_path / "half.jpg").write_bytes((tmp_path / "half.jpg").read_bytes()[:4000])
    assert list(images.expand(tmp_path)) == ["half"]
    with pytest.raises(InputError, match="truncated"):
        images.check(tmp_path / "half.jpg")


def test_what_a_file_is_counts_and_not_what_it_is_called(tmp_path, caplog):
    for name, kind in (
        ("a.jfif", "JPEG"),
        ("b.jp2", "JPEG2000"),
        ("c.pgm", "PPM"),
        ("d.dib", "BMP"),
        ("e", "PNG"),
        ("f.png", "GIF"),
    ):
        Image.new("L", (9, 9)).save(tmp_path / name, kind)
    assert list(images.expand(tmp_path)) == ["a", "b", "c", "d", "e", "f"]
    assert caplog.text == ""
    (tmp_path / "g.jpg").write_text("no image")
    (tmp_path / "notes.txt").write_text("no image")
    Image.new("RGB", (4, 4)).save(tmp_path / "small.png")
    (tmp_path / "folder.png").mkdir()
    assert list(images.expand(tmp_path)) == ["a", "b", "c", "d", "e", "f"]
    (message,) = {record.message for record in caplog.records}
    assert (
        f"3 of 9 files in {tmp_path} are passed over: g.jpg is no image; notes.txt is no image; small.png is 4x4 pixels"
        in message
    )


def test_many_files_are_counted_and_some_of_them_named(tmp_path, caplog):
    Image.new("L", (9, 9)).save(tmp_path / "a.png")
    for number in range(8):
        (tmp_path / f"{number}.txt").write_text("no image")
    assert list(images.expand(tmp_path)) == ["a"]
    assert "8 of 9 files" in caplog.text
    assert caplog.text.count(".txt") == 5
    assert "and 3 more" in caplog.text
