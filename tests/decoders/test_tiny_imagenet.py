"""The download of Tiny ImageNet, from a server on this machine."""

import hashlib
import http.server
import threading
import zipfile

import pytest

from tests.decoders.conftest import write_images
from tfinvert.decoders import tiny_imagenet
from tfinvert.system.errors import InputError


@pytest.fixture
def serve(tmp_path, monkeypatch):
    """A function that serves an archive with files instead of Tiny ImageNet's; returns the archive's hash."""
    folder = tmp_path / "served"
    folder.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments):
            super().__init__(*arguments, directory=folder)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    address = f"http://127.0.0.1:{server.server_address[1]}/tiny-imagenet-200.zip"

    def put(files):
        with zipfile.ZipFile(folder / "tiny-imagenet-200.zip", "w") as archive:
            for name, content in files.items():
                archive.writestr(name, content)
        return f"md5:{hashlib.md5((folder / 'tiny-imagenet-200.zip').read_bytes()).hexdigest()}"

    monkeypatch.setattr(tiny_imagenet, "SOURCES", (address,))
    yield put
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_archive_is_downloaded_checked_and_unpacked(serve, tmp_path, monkeypatch):
    (path,) = write_images(tmp_path / "images", 1)
    inside = "tiny-imagenet-200/train/n01/images/n01_0.JPEG"
    known_hash = serve({inside: path.read_bytes(), "tiny-imagenet-200/words.txt": "n01\tgoldfish\n"})
    cache = tmp_path / "cache"
    monkeypatch.setattr(tiny_imagenet, "HASH", "md5:" + "0" * 32)
    with pytest.raises(InputError, match=r"another checksum.*--data=FOLDER"):
        tiny_imagenet.download(cache)
    assert [path.name for path in cache.iterdir()] == [".lock"]
    monkeypatch.setattr(tiny_imagenet, "HASH", known_hash)
    root = tiny_imagenet.download(cache)
    assert (root.parent / inside).read_bytes() == path.read_bytes()
    monkeypatch.setattr(tiny_imagenet, "SOURCES", ())  # it is not downloaded again
    assert tiny_imagenet.download(cache) == root


def test_nothing_is_unpacked_outside_of_the_folder(serve, tmp_path, monkeypatch):
    absolute = tmp_path / "absolute.txt"
    known_hash = serve({"tiny-imagenet-200/words.txt": "", "../../outside.txt": "x", str(absolute): "x"})
    monkeypatch.setattr(tiny_imagenet, "HASH", known_hash)
    cache = tmp_path / "a" / "cache"
    tiny_imagenet.download(cache)
    assert sorted(path.name for path in cache.iterdir()) == [".lock", "tiny-imagenet-200", "tiny-imagenet-200.zip"]
    assert [path.name for path in cache.parent.iterdir()] == ["cache"]
    assert not absolute.exists()


def test_a_place_that_cannot_be_written_is_named(serve, tmp_path, monkeypatch):
    monkeypatch.setattr(tiny_imagenet, "HASH", serve({"tiny-imagenet-200/words.txt": ""}))
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write"):
        tiny_imagenet.download(tmp_path / "file")
