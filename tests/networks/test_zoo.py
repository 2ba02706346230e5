"""Downloads, against a local server that misbehaves on request."""

import hashlib
import http.server
import threading

import pytest

from tfinvert.errors import InputError
from tfinvert.networks import zoo

CONTENT = b"the weights of a network" * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/missing":
            self.send_error(404)
        elif self.path == "/loop":
            self.send_response(302)
            self.send_header("Location", "/loop")
            self.end_headers()
        elif self.path == "/stalled":
            self.send_response(200)
            self.send_header("Content-Length", str(len(CONTENT)))
            self.end_headers()
            self.wfile.write(CONTENT[:100])
            self.wfile.flush()
            self.server.stop.wait(5)
        else:
            body = {"/good": CONTENT, "/page": b"<html>log in</html>", "/truncated": CONTENT[:500]}[self.path]
            self.send_response(200)
            self.send_header("Content-Length", str(len(CONTENT) if self.path == "/truncated" else len(body)))
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.stop = threading.Event()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.stop.set()
    server.shutdown()
    thread.join()
    server.server_close()


def model(*sources):
    return zoo.ZooModel("net", "net.onnx", SHA256, sources, "torch", zoo.MODELS["alexnet"].topology)


def test_a_download_arrives_whole_and_is_not_fetched_again(server, tmp_path):
    path = zoo.pretrained_file(model(f"{server}/good"), tmp_path / "models")
    assert path.read_bytes() == CONTENT
    assert zoo.pretrained_file(model("http://127.0.0.1:1/nowhere"), tmp_path / "models") == path


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("/missing", "the server answered 404"),
        ("/loop", "redirected in a circle"),
        ("/page", "another checksum"),
        ("/truncated", ""),
        ("/stalled", ""),
    ],
)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_bad_source_leaves_nothing_and_the_next_is_tried(server, tmp_path, address, reason, monkeypatch):
    monkeypatch.setattr(zoo, "CONNECT_TIMEOUT", 0.5)
    folder = tmp_path / "models"
    with pytest.raises(InputError, match="put it at") as caught:
        zoo.pretrained_file(model(f"{server}{address}"), folder)
    assert reason in str(caught.value)
    assert list(folder.iterdir()) == []
    assert zoo.pretrained_file(model(f"{server}{address}", f"{server}/good"), folder).read_bytes() == CONTENT


def test_no_network(tmp_path):
    with pytest.raises(InputError, match="no connection") as caught:
        zoo.pretrained_file(model("http://127.0.0.1:1/a", "http://127.0.0.1:1/b"), tmp_path / "models")
    assert str(tmp_path / "models" / "net.onnx") in str(caught.value)
    assert "--weights=random" in str(caught.value)


def test_a_pointer_file_of_git_lfs_is_recognised(tmp_path):
    (tmp_path / "net.onnx").write_bytes(zoo.LFS_HEADER + b"/v1\n")
    with pytest.raises(InputError, match="Git LFS pointer"):
        zoo.pretrained_file(model(), tmp_path)


def test_a_file_with_another_checksum_is_not_used(tmp_path):
    (tmp_path / "net.onnx").write_bytes(b"something else")
    with pytest.raises(InputError, match=f"expected {SHA256}"):
        zoo.pretrained_file(model(), tmp_path)
    assert (tmp_path / "net.onnx").read_bytes() == b"something else"


def test_every_zoo_model_has_two_sources_and_a_topology():
    for entry in zoo.MODELS.values():
        assert len(entry.sources) == 2
        assert len(entry.sha256) == 64
        assert entry.preprocessing in zoo.PREPROCESSING
        assert entry.topology().nodes


def test_preprocessing():
    import numpy as np

    picture = np.array([1.0, 0.5, 0.0])
    expected = {
        "torch": [(1 - 0.485) / 0.229, (0.5 - 0.456) / 0.224, (0 - 0.406) / 0.225],
        "caffe": [0 - 104.00698793, 127.5 - 116.66876762, 255 - 122.67891434],
        "tf": [1, 0, -1],
        "none": [1, 0.5, 0],
    }
    for name, wanted in expected.items():
        prepare = zoo.PREPROCESSING[name]
        np.testing.assert_allclose(picture[list(prepare.channels)] * prepare.scale + prepare.shift, wanted)
