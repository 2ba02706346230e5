"""Downloads, against a local server that misbehaves on request."""

import time

import pytest

from tests.soak import downloads
from tests.soak.downloads import CONTENT, SHA256, parts, wanting
from tfinvert.errors import InputError
from tfinvert.networks import zoo


@pytest.fixture
def server():
    with downloads.serving() as address:
        yield address


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
        ("/stalled", "timed out"),
        ("/dripping", "less than 1000 bytes a second"),
        ("/closed", "no connection"),
        ("/nonsense", "no connection"),
        ("/headers", "timed out"),
    ],
)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_bad_source_leaves_nothing_and_the_next_is_tried(server, tmp_path, address, reason, monkeypatch):
    monkeypatch.setattr(zoo, "CONNECT_TIMEOUT", 0.5)
    monkeypatch.setattr(zoo, "SLOW_SECONDS", 0.5)
    folder = tmp_path / "models"
    with pytest.raises(InputError, match="put it at") as caught:
        zoo.pretrained_file(model(f"{server}{address}"), folder)
    assert reason in str(caught.value)
    assert [path.name for path in folder.iterdir() if path.name != ".lock"] == []
    assert zoo.pretrained_file(model(f"{server}{address}", f"{server}/good"), folder).read_bytes() == CONTENT


def test_two_downloads_at_once_are_one(server, tmp_path):
    path = tmp_path / "models" / "net.onnx"
    both = [wanting(path, f"{server}/slow"), wanting(path, f"{server}/slow")]
    for process in both:
        said = process.communicate(timeout=60)[1]
        assert process.returncode == 0, said
    assert path.read_bytes() == CONTENT
    assert parts(path.parent) == []
    assert downloads.asked("/slow") == 1


def test_a_download_that_was_killed_starts_again(server, tmp_path):
    path = tmp_path / "models" / "net.onnx"
    process = wanting(path, f"{server}/stalled")
    while not parts(path.parent):
        assert process.poll() is None
        time.sleep(0.02)
    process.kill()
    process.communicate()
    assert not path.exists()
    assert zoo.pretrained_file(model(f"{server}/good"), path.parent).read_bytes() == CONTENT
    assert parts(path.parent) == []


def test_no_network(tmp_path):
    with pytest.raises(InputError, match="no connection") as caught:
        zoo.pretrained_file(model("http://127.0.0.1:1/a", "http://127.0.0.1:1/b"), tmp_path / "models")
    assert str(tmp_path / "models" / "net.onnx") in str(caught.value)
    assert "--weights=random" in str(caught.value)


def test_a_pointer_file_of_git_lfs_is_recognized(tmp_path):
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
