"""Downloads, against a local server that misbehaves on request."""

import io
import time

import pytest

from tests.soak import downloads as server_
from tests.soak.downloads import CONTENT, SHA256, parts, wanting
from tfinvert.system import downloads
from tfinvert.system.errors import InputError

HASH = f"sha256:{SHA256}"


@pytest.fixture
def server():
    with server_.serving() as address:
        yield address


def fetch(path, *sources):
    return downloads.fetch(path, sources, HASH, "or do without")


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("/missing", "the server answered 404"),
        ("/broken", "the server answered 500"),
        ("/loop", "redirected in a circle"),
        ("/page", "another checksum"),
        ("/wrong", "another checksum"),
        ("/empty", "another checksum"),
        ("/longer", "another checksum"),
        ("/truncated", "IncompleteRead"),
        ("/stalled", "timed out"),
        ("/closed", "no connection"),
        ("/nonsense", "no connection"),
    ],
)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_bad_source_leaves_nothing_and_the_next_is_tried(server, tmp_path, address, reason, monkeypatch):
    monkeypatch.setattr(downloads, "TIMEOUT", 0.5)
    path = tmp_path / "models" / "net.onnx"
    with pytest.raises(InputError, match="put it at") as caught:
        fetch(path, f"{server}{address}")
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)
    assert [other.name for other in path.parent.iterdir() if other.name != ".lock"] == []
    assert fetch(path, f"{server}{address}", f"{server}/good").read_bytes() == CONTENT


def test_no_network(tmp_path):
    path = tmp_path / "models" / "net.onnx"
    with pytest.raises(InputError, match=r"http://127\.0\.0\.1:1/a: no connection; .*/b: no connection") as caught:
        fetch(path, "http://127.0.0.1:1/a", "http://127.0.0.1:1/b")
    assert str(caught.value).endswith(f"put it at {path}, or do without")


def test_a_folder_that_cannot_be_written(server, tmp_path):
    (tmp_path / "models").write_text("a file")
    with pytest.raises(InputError, match=r"cannot write .*net\.onnx"):
        fetch(tmp_path / "models" / "net.onnx", f"{server}/good")


def test_two_downloads_at_once_are_one(server, tmp_path):
    path = tmp_path / "models" / "net.onnx"
    both = [wanting(path, f"{server}/slow"), wanting(path, f"{server}/slow")]
    for process in both:
        said = process.communicate(timeout=60)[1]
        assert process.returncode == 0, said
    assert path.read_bytes() == CONTENT
    assert parts(path.parent) == []
    assert server_.asked("/slow") == 1


def test_a_download_that_was_killed_starts_again(server, tmp_path):
    path = tmp_path / "models" / "net.onnx"
    process = wanting(path, f"{server}/stalled")
    while not parts(path.parent):
        assert process.poll() is None
        time.sleep(0.02)
    process.kill()
    process.communicate()
    assert not path.exists()
    assert fetch(path, f"{server}/good").read_bytes() == CONTENT
    assert parts(path.parent) == []


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(("stream", "progress"), [(Terminal, True), (Terminal, False), (io.StringIO, True)])
def test_progress_is_shown_on_a_terminal_alone(server, tmp_path, monkeypatch, stream, progress):
    screen = stream()
    monkeypatch.setattr("sys.stderr", screen)
    downloads.fetch(tmp_path / "net.onnx", [f"{server}/good"], HASH, "", progress=progress)
    assert ("24.0k" in screen.getvalue()) == (stream is Terminal and progress)


def test_no_standard_error_is_no_reason_to_fail(server, tmp_path, monkeypatch):
    monkeypatch.setattr("sys.stderr", None)
    assert fetch(tmp_path / "net.onnx", f"{server}/good").read_bytes() == CONTENT
