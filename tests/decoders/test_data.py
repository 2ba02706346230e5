"""Which images --data means, and how they are split."""

import shutil

import pytest

from tests.decoders.conftest import write_images
from tfinvert.decoders import data, tiny_imagenet
from tfinvert.decoders.image_set import ImageSet
from tfinvert.system.errors import InputError

SETTINGS = {"class_count": 2, "held_out": 0.1, "seed": 1}
PLAIN = {**SETTINGS, "class_count": None}


@pytest.fixture(scope="module")
def layout(tmp_path_factory):
    """A folder in the layout of Tiny ImageNet, with three classes of 20 images."""
    root = tmp_path_factory.mktemp("data") / "tiny-imagenet-200"
    for name in ("n01", "n02", "n03"):
        write_images(root / "train" / name / "images", 20, suffix=".JPEG")
        (root / "train" / name / f"{name}_boxes.txt").write_text("")
    write_images(root / "val" / "images", 3, suffix=".JPEG")
    (root / "words.txt").write_text("n01\tgoldfish, Carassius auratus\nn02\ttabby\n")
    return root


def test_tiny_imagenet_is_split_within_its_classes(layout):
    split = data.find(str(layout), **SETTINGS)
    assert (len(split.train), len(split.test)) == (36, 4)
    assert not set(split.train) & set(split.test)
    drawn = [name.split()[0] for name in split.classes]
    assert len(drawn) == 2
    for files, count in ((split.train, 18), (split.test, 2)):
        assert [sum(name in path.parts for path in files) for name in drawn] == [count] * 2
    assert data.find(str(layout), **SETTINGS) == split
    others = {data.find(str(layout), **{**SETTINGS, "seed": seed}).classes for seed in range(10)}
    assert len(others) > 1
    every = data.find(str(layout), **{**SETTINGS, "class_count": 3})
    assert every.classes == ("n01 goldfish", "n02 tabby", "n03 ?")


def test_tiny_imagenet_is_downloaded_where_no_folder_has_that_name(layout, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tiny_imagenet, "download", lambda folder: layout)
    assert data.find("tiny-imagenet", **SETTINGS) == data.find(str(layout), **SETTINGS)
    write_images(tmp_path / "tiny-imagenet", 2)
    assert len(data.find("tiny-imagenet", **PLAIN).train) == 1


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda root: shutil.rmtree(root / "train"), "there is no folder train"),
        (lambda root: shutil.rmtree(root / "train" / "n02" / "images"), "there is no folder .*n02.images"),
        (lambda root: [p.unlink() for p in (root / "train" / "n02" / "images").iterdir()], r"n02 \(tabby\) has 0 images"),
        (lambda root: [p.unlink() for p in sorted((root / "train" / "n02" / "images").iterdir())[1:]], "has 1 images"),
        (lambda root: shutil.rmtree(root / "train" / "n02"), "holds 2 classes; --class_count=3"),
    ],
)
def test_a_layout_that_is_not_tiny_imagenet_s(spoil, message, layout, tmp_path):
    root = shutil.copytree(layout, tmp_path / "copy")
    spoil(root)
    with pytest.raises(InputError, match=message):
        data.find(str(root), **{**SETTINGS, "class_count": 3})


def test_the_folder_above_or_below_that_of_tiny_imagenet_is_recognized(layout):
    expected = data.find(str(layout), **SETTINGS)
    for folder in (layout.parent, layout / "train"):
        assert data.find(str(folder), **SETTINGS) == expected
    assert len(data.find(str(layout), **{**SETTINGS, "class_count": 3}).classes) == 3
    with pytest.raises(InputError, match="--class_count=20 expects"):
        data.find(str(layout), **PLAIN)


def test_images_without_classes_are_not_drawn_by_class(tmp_path):
    write_images(tmp_path, 4)
    for place in (str(tmp_path), "samples"):
        with pytest.raises(InputError, match=f"--class_count is 2, and --data={place} has no classes"):
            data.find(place, **SETTINGS)


def test_images_of_any_name_and_format(tmp_path, caplog):
    write_images(tmp_path / "a", 3, suffix=".jfif")
    write_images(tmp_path / "b", 3, suffix=".jp2")
    next((tmp_path / "b").glob("*_0.jp2")).rename(tmp_path / "b" / "first")
    (tmp_path / "b" / "notes.txt").write_text("no image")
    split = data.find(str(tmp_path), **PLAIN)
    assert (len(split.train), len(split.test)) == (5, 1)
    assert "1 of 7 files" in caplog.text
    assert "notes.txt is no image" in caplog.text


def test_any_folder_of_images(tmp_path):
    write_images(tmp_path / "a" / "deep", 4)
    write_images(tmp_path / "b", 6, suffix=".jpg")
    (tmp_path / "b" / "notes.txt").write_text("no image")
    split = data.find(str(tmp_path), **{**PLAIN, "held_out": 0.3})
    assert (len(split.train), len(split.test)) == (7, 3)


@pytest.mark.parametrize(("count", "message"), [(0, "holds 0 images"), (1, "holds 1 images")])
def test_a_folder_with_too_little(count, message, tmp_path):
    write_images(tmp_path / "few", count)
    with pytest.raises(InputError, match=message):
        data.find(str(tmp_path / "few"), **PLAIN)
    with pytest.raises(InputError, match="expected samples"):
        data.find(str(tmp_path / "none"), **SETTINGS)


def test_two_images_are_one_to_train_on_and_one_to_test_with(tmp_path):
    write_images(tmp_path / "two", 2)
    split = data.find(str(tmp_path / "two"), **PLAIN)
    assert (len(split.train), len(split.test)) == (1, 1)


def test_the_sample_photographs_are_there():
    split = data.find("samples", **PLAIN)
    assert split.corners
    assert len(split.train) == 10
    assert all(path.is_file() for path in (*split.train, *split.test))
    assert ImageSet(split.test, (32, 32)).centers(corners=True).shape == (10, 32, 32, 3)
