"""Files that are whole or not there, and values that are read as they were written."""

import errno
import os

import pytest

from tfinvert.system import files


def test_a_file_appears_when_it_is_whole(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("before")
    with files.replacing(path) as part:
        part.write_text("after")
        assert path.read_text() == "before"
    assert path.read_text() == "after"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_of_what_fails_nothing_is_left(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("before")
    with pytest.raises(TypeError), files.replacing(path) as part, open(part, "wb") as file:
        file.writelines([b"half", "not bytes"])
    assert path.read_text() == "before"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_text_is_written_and_read_in_utf_8(tmp_path):
    files.write_text(tmp_path / "a.txt", "Bär\n")
    assert (tmp_path / "a.txt").read_bytes() == b"B\xc3\xa4r\n"
    assert files.read_text(tmp_path / "a.txt") == "Bär\n"
    (tmp_path / "a.txt").write_bytes(b"B\xe4r")
    assert files.read_text(tmp_path / "a.txt") == "B\ufffdr"


def test_what_is_no_file_or_too_large_is_not_read(tmp_path):
    (tmp_path / "large").write_bytes(b"12345")
    os.mkfifo(tmp_path / "pipe")
    for path, number in ((tmp_path / "large", errno.EFBIG), (tmp_path / "pipe", errno.EINVAL), (tmp_path, errno.EINVAL)):
        with pytest.raises(OSError, match="it ") as caught:
            files.read_text(path, largest=4)
        assert caught.value.errno == number
    with pytest.raises(FileNotFoundError):
        files.read_text(tmp_path / "nowhere")


@pytest.mark.parametrize("value", [{"a": [1, 2.5, None]}, [], "text"])
def test_a_sealed_value_is_read_as_it_was_written(value, tmp_path):
    files.write_sealed(tmp_path / "a.json", value)
    assert files.read_sealed(tmp_path / "a.json") == value


@pytest.mark.parametrize("damage", [lambda s: s.replace("12", "13"), lambda s: s[:-3], lambda s: "[]", lambda s: '{"a": 1}'])
def test_a_sealed_value_that_was_changed_is_refused(damage, tmp_path):
    path = tmp_path / "a.json"
    files.write_sealed(path, {"a": 12})
    path.write_text(damage(path.read_text()))
    with pytest.raises(ValueError):  # noqa: PT011 - the JSON module has its own words
        files.read_sealed(path)


def test_the_checksum_of_a_file(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert files.sha256(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


class TensorFlowError(Exception):
    message = "{{function_node x}} /run/ckpt-3; No space left on device [Op:SaveV2] name:"


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), TensorFlowError()])
def test_reasons_are_the_system_s_words(error):
    assert files.reason(error) == "No space left on device"
