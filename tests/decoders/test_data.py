"""Pictures to train on: layouts, splits, broken files, crops, who gets which."""

import hashlib
import http.server
import shutil
import threading
import zipfile

import numpy as np
import pytest
from PIL import Image

from tfinvert.decoders import data as pictures
from tfinvert.decoders.data import Pictures, Share
from tfinvert.errors import InputError

SETTINGS = {"class_count": 2, "held_out": 0.1, "seed": 1}


def write_pictures(folder, count, size=(20, 16), suffix=".png"):
    folder.mkdir(parents=True)
    rng = np.random.default_rng(count)
    for number in range(count):
        Image.fromarray(rng.integers(0, 255, (*size, 3), np.uint8)).save(folder / f"{folder.parent.name}_{number}{suffix}")


@pytest.fixture(scope="module")
def tiny_imagenet(tmp_path_factory):
    """Tiny ImageNet's layout with three classes of 20 pictures."""
    root = tmp_path_factory.mktemp("data") / "tiny-imagenet-200"
    for name in ("n01", "n02", "n03"):
        write_pictures(root / "train" / name / "images", 20, suffix=".JPEG")
        (root / "train" / name / f"{name}_boxes.txt").write_text("")
    write_pictures(root / "val" / "images", 3, suffix=".JPEG")
    (root / "words.txt").write_text("n01\tgoldfish, Carassius auratus\nn02\ttabby\n")
    return root


def test_tiny_imagenet_is_split_within_its_classes(tiny_imagenet):
    split = pictures.find(str(tiny_imagenet), **SETTINGS)
    assert (len(split.train), len(split.test)) == (36, 4)
    assert not set(split.train) & set(split.test)
    drawn = [name.split()[0] for name in split.classes]
    assert len(drawn) == 2
    for files, count in ((split.train, 18), (split.test, 2)):
        assert [sum(name in path.parts for path in files) for name in drawn] == [count] * 2
    assert pictures.find(str(tiny_imagenet), **SETTINGS) == split
    others = {pictures.find(str(tiny_imagenet), **{**SETTINGS, "seed": seed}).classes for seed in range(10)}
    assert len(others) > 1
    every = pictures.find(str(tiny_imagenet), **{**SETTINGS, "class_count": 3})
    assert every.classes == ("n01 goldfish", "n02 tabby", "n03 ?")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda root: shutil.rmtree(root / "train"), "there is no folder train"),
        (lambda root: shutil.rmtree(root / "train" / "n02" / "images"), "there is no folder .*n02.images"),
        (lambda root: [p.unlink() for p in (root / "train" / "n02" / "images").iterdir()], r"n02 \(tabby\) has 0 pictures"),
        (lambda root: [p.unlink() for p in sorted((root / "train" / "n02" / "images").iterdir())[1:]], "has 1 pictures"),
        (lambda root: shutil.rmtree(root / "train" / "n02"), "holds 2 classes; --class_count=3"),
    ],
)
def test_a_layout_that_is_not_tiny_imagenet_s(spoil, message, tiny_imagenet, tmp_path):
    root = shutil.copytree(tiny_imagenet, tmp_path / "copy")
    spoil(root)
    with pytest.raises(InputError, match=message):
        pictures.find(str(root), **{**SETTINGS, "class_count": 3})


def test_any_folder_of_pictures(tmp_path):
    write_pictures(tmp_path / "a" / "deep", 4)
    write_pictures(tmp_path / "b", 6, suffix=".jpg")
    (tmp_path / "b" / "notes.txt").write_text("no picture")
    split = pictures.find(str(tmp_path), **{**SETTINGS, "held_out": 0.3})
    assert (len(split.train), len(split.test)) == (7, 3)


@pytest.mark.parametrize(("count", "message"), [(0, "holds 0 pictures"), (1, "holds 1 pictures")])
def test_a_folder_with_too_little(count, message, tmp_path):
    write_pictures(tmp_path / "few", count)
    with pytest.raises(InputError, match=message):
        pictures.find(str(tmp_path / "few"), **SETTINGS)
    with pytest.raises(InputError, match="expected samples"):
        pictures.find(str(tmp_path / "none"), **SETTINGS)


def test_two_pictures_are_one_to_train_on_and_one_to_test_with(tmp_path):
    write_pictures(tmp_path / "two", 2)
    split = pictures.find(str(tmp_path / "two"), **SETTINGS)
    assert (len(split.train), len(split.test)) == (1, 1)


def test_the_sample_photographs_are_there():
    split = pictures.find("samples", **SETTINGS)
    assert split.corners
    assert len(split.train) == 10
    assert all(path.is_file() for path in (*split.train, *split.test))
    assert Pictures(split.test, (32, 32)).centers(corners=True).shape == (10, 32, 32, 3)


def test_a_broken_picture_is_skipped_counted_and_named(tmp_path, caplog):
    write_pictures(tmp_path / "some", 4)
    files = sorted((tmp_path / "some").iterdir())
    files[1].write_bytes(files[1].read_bytes()[:50])
    files[2].write_bytes(b"")
    found = Pictures(files, (16, 16))
    assert found.files == [files[0], files[3]]
    assert [path for path, _ in found.broken] == files[1:3]
    assert "2 of 4 pictures are skipped" in caplog.text
    assert str(files[1]) in caplog.text
    assert str(files[2]) in caplog.text
    with pytest.raises(InputError, match="none of 2 pictures can be read"):
        Pictures(files[1:3], (16, 16))


@pytest.fixture(scope="module")
def ramp(tmp_path_factory):
    """A picture whose red is its row and whose green is its column."""
    rows, columns = np.mgrid[:40, :60].astype(np.uint8)
    path = tmp_path_factory.mktemp("ramp") / "ramp.png"
    Image.fromarray(np.stack([rows, columns, 0 * rows], axis=-1)).save(path)
    return path


def test_crops_are_the_pixels_that_they_say(ramp):
    found = Pictures([ramp], (20, 20))
    corner = found.crop(0, (0.5, 0.0, 1.0))  # 20 pixels of 40, at the top right: not resized
    np.testing.assert_array_equal(corner[..., 0], np.mgrid[:20, :20][0])
    np.testing.assert_array_equal(corner[..., 1], np.mgrid[:20, 40:60][1])
    np.testing.assert_array_equal(found.crop(0, (0.5, 0.0, 1.0), mirrored=True), corner[:, ::-1])
    center = found.center(0)  # 40 x 40 from column 10 on, at half the size
    np.testing.assert_allclose(center[..., 1].mean(), 10 + 19.5, atol=0.6)
    wide = Pictures([ramp], (10, 30)).center(0)  # 20 x 60 from row 10 on
    assert wide.shape == (10, 30, 3)
    np.testing.assert_allclose([wide[..., 0].mean(), wide[..., 1].mean()], [19.5, 29.5], atol=0.6)


def test_what_does_not_fit_into_memory_is_read_again(tmp_path):
    write_pictures(tmp_path / "some", 4)
    files = sorted((tmp_path / "some").iterdir())
    kept, again = Pictures(files, (8, 8)), Pictures(files, (8, 8), memory=0)
    np.testing.assert_array_equal(again.centers(), kept.centers())
    assert all(value is None for value in again._kept)


def test_draws_depend_on_the_seed_and_their_number_alone(tmp_path):
    write_pictures(tmp_path / "some", 5)
    found = Pictures(sorted((tmp_path / "some").iterdir()), (8, 8))
    for turn in range(3):  # every picture once in each pass
        assert sorted(found.drawn(5 * turn + i, 7, augment=True)[0] for i in range(5)) == list(range(5))
    orders = {tuple(found.drawn(5 * turn + i, 7, augment=False)[0] for i in range(5)) for turn in range(6)}
    assert len(orders) > 1
    index, picture = found.drawn(13, 7, augment=True)
    again = found.drawn(13, 7, augment=True)
    assert again[0] == index
    np.testing.assert_array_equal(again[1], picture)
    assert np.any(found.drawn(13, 8, augment=True)[1] != picture)
    index, picture = found.drawn(13, 7, augment=False)
    np.testing.assert_array_equal(picture, found.center(index))


def test_workers_share_each_batch():
    both = [Share(index, 2).numbers(3, 6, 4).reshape(3, 2) for index in range(2)]
    np.testing.assert_array_equal(np.concatenate(both, axis=1), np.arange(12, 24).reshape(3, 4))
    np.testing.assert_array_equal(Share().numbers(0, 2, 3), np.arange(6))


@pytest.fixture
def server(tiny_imagenet, tmp_path):
    """The address of an archive of the tiny data set, and its hash."""
    with zipfile.ZipFile(tmp_path / "tiny-imagenet-200.zip", "w") as archive:
        for path in sorted(tiny_imagenet.rglob("*")):
            archive.write(path, path.relative_to(tiny_imagenet.parent))

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments):
            super().__init__(*arguments, directory=tmp_path)

        def log_message(self, *_):
            pass

    served = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=served.serve_forever)
    thread.start()
    digest = hashlib.md5((tmp_path / "tiny-imagenet-200.zip").read_bytes()).hexdigest()
    yield f"http://127.0.0.1:{served.server_address[1]}/tiny-imagenet-200.zip", f"md5:{digest}"
    served.shutdown()
    thread.join()
    served.server_close()


def test_tiny_imagenet_is_downloaded_checked_and_unpacked(server, tmp_path, monkeypatch):
    address, known_hash = server
    folder = tmp_path / "cache"
    monkeypatch.setattr(pictures, "TINY_IMAGENET_SOURCES", (address,))
    monkeypatch.setattr(pictures, "TINY_IMAGENET_HASH", "md5:" + "0" * 32)
    with pytest.raises(InputError, match=r"another checksum.*--data=FOLDER"):
        pictures.tiny_imagenet(folder)
    assert [path.name for path in folder.iterdir()] == [".lock"]
    monkeypatch.setattr(pictures, "TINY_IMAGENET_HASH", known_hash)
    root = pictures.tiny_imagenet(folder)
    assert len(pictures.find(str(root), **SETTINGS).train) == 36
    monkeypatch.setattr(pictures, "TINY_IMAGENET_SOURCES", ())
    assert pictures.tiny_imagenet(folder) == root
