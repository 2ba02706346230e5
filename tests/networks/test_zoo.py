"""The networks that are known by name, and their files."""

import pytest

from tests.soak import downloads
from tests.soak.downloads import CONTENT, SHA256
from tfinvert.networks import zoo
from tfinvert.networks.preprocessing import PREPROCESSING
from tfinvert.system.errors import InputError


@pytest.fixture
def server():
    with downloads.serving() as address:
        yield address


def model(*sources):
    return zoo.ZooModel("net", "net.onnx", SHA256, sources, "torch", zoo.MODELS["alexnet"].topology)


def test_a_download_arrives_whole_and_is_not_fetched_again(server, tmp_path):
    path = zoo.pretrained_file(model(f"{server}/missing", f"{server}/good"), tmp_path / "models")
    assert path.read_bytes() == CONTENT
    assert zoo.pretrained_file(model("http://127.0.0.1:1/nowhere"), tmp_path / "models") == path


def test_no_network(tmp_path):
    with pytest.raises(InputError, match="no connection") as caught:
        zoo.pretrained_file(model("http://127.0.0.1:1/a"), tmp_path / "models")
    assert str(tmp_path / "models" / "net.onnx") in str(caught.value)
    assert "--weights=random" in str(caught.value)


def test_a_pointer_file_of_git_lfs_is_recognized(tmp_path):
    (tmp_path / "net.onnx").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(InputError, match="Git LFS pointer"):
        zoo.pretrained_file(model(), tmp_path)


def test_a_file_with_another_checksum_is_not_used(tmp_path):
    (tmp_path / "net.onnx").write_bytes(b"something else")
    with pytest.raises(InputError, match=f"expected {SHA256}"):
        zoo.pretrained_file(model(), tmp_path)
    assert (tmp_path / "net.onnx").read_bytes() == b"something else"


def test_every_zoo_model_has_two_sources_and_a_topology():
    for entry in zoo.MODELS.values():
        if entry.name != "resnet18-homework":  # whose weights are the course's
            assert len(entry.sources) == 2
            assert len(entry.sha256) == 64
        assert entry.preprocessing in PREPROCESSING
        assert entry.topology().nodes


def test_an_unknown_model_is_answered_with_the_known_ones():
    with pytest.raises(InputError, match=r"unknown model 'resnet19'; expected one of: resnet18, "):
        zoo.model("resnet19")
    with pytest.raises(InputError, match=r"'mine/net.keras', which is a file; give it as --onnx=mine/net.keras"):
        zoo.model("mine/net.keras")
