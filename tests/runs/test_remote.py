"""Runs on workers that are processes of their own, behind a scheduler of its own: the bytes of a run here, and files sent."""

import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import run_contents, run_program, tiny_graph, write_onnx
from tests.runs.dask_processes import Processes
from tfinvert.runs import archives, remote
from tfinvert.system.errors import DiskError


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    """Two workers that do not see the client's working directory under its name."""
    pytest.importorskip("distributed")
    processes = Processes(tmp_path_factory.mktemp("elsewhere"))
    for _ in range(2):
        processes.add_worker()
    yield processes
    processes.close()


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    """The client's working directory, with a network and two images."""
    folder = tmp_path_factory.mktemp("client")
    write_onnx(tiny_graph(size=32), folder / "net.onnx")
    rng = np.random.default_rng(0)
    (folder / "images").mkdir()
    for name in ("a", "b"):
        Image.fromarray(rng.integers(0, 255, (40, 30, 3), np.uint8)).save(folder / "images" / f"{name}.png")
    return folder


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/cwd").exists(), reason="needs /proc, in which each process sees a folder of its own")
def test_two_workers_give_the_bytes_of_a_run_here(elsewhere, client):
    """/proc/self/cwd is another folder in each process: what the client has there, the workers lack."""
    own = "/proc/self/cwd"
    flags = ("--preprocessing=none", "--steps=5", "--layers=conv1_1,pool1", f"--onnx={own}/net.onnx", f"--image={own}/images")
    runs = {
        "here": (),
        "gathered": (f"--scheduler={elsewhere.file}", "--gather"),
        "hidden": (f"--scheduler={elsewhere.file}",),
        "shared": (f"--scheduler={elsewhere.file}",),
    }
    for name, more in runs.items():
        folder = f"{own}/{name}" if name in ("gathered", "hidden") else client / name
        done = run_program("sweep", *flags, *more, f"--output_dir={folder}", cwd=client)
        if name == "hidden":
            assert done.returncode == 1
            assert "does not see the folder /proc/self/cwd/hidden of the client" in done.stdout
            assert "the worker tcp://127.0.0.1:" in done.stdout
        else:
            assert done.returncode == 0, (name, done.stderr, done.stdout)
    for image in "ab":
        for layer in ("conv1_1", "pool1"):
            contents = run_contents(client / "here" / image / layer)
            for name in ("gathered", "shared"):
                found = run_contents(client / name / image / layer)
                assert found == contents, name
    assert not [path for path in client.rglob("*") if ".part" in path.name or path.name == remote.MARK]


def test_a_file_is_received_once_and_checked(tmp_path, monkeypatch):
    content = os.urandom(3000)
    monkeypatch.setattr(remote, "CHUNK", 1000)
    (tmp_path / "there").write_bytes(content)
    checksum = remote.remembered_sha256(tmp_path / "there")
    asked = []

    def fetch(name, number):
        asked.append(number)
        return content[1000 * number : 1000 * number + 1000] or None

    def work(message):
        return {"results": [{"line": remote.received.located(Path("/elsewhere/net.onnx")).read_bytes().hex()}]}

    message = {"flags": ["--output_dir=/nowhere"], "version": remote.tfinvert.__version__, "count": 1, "gather": ""}
    message |= {"files": {"/elsewhere/net.onnx": checksum}, "mark": remote.mark(tmp_path, "seen")}
    for _ in range(2):
        answer = remote.do(work, message, "tcp://w:1", tmp_path / "scratch", fetch)
        assert answer["results"] == [{"line": content.hex()}]
    assert asked == [0, 1, 2, 3]
    wrong = {**message, "files": {"/elsewhere/other.onnx": "0" * 64}}
    (result,) = remote.do(work, wrong, "tcp://w:1", tmp_path / "scratch", fetch)["results"]
    assert result["error"].startswith("the worker tcp://w:1 on ")
    assert "has no file /elsewhere/other.onnx as the client has it" in result["error"]
    (result,) = remote.do(work, {**message, "version": "0.0"}, "tcp://w:1", tmp_path / "scratch", fetch)["results"]
    assert "has tfinvert" in result["error"]


def test_an_archive_has_what_is_shown_and_is_bounded(tmp_path, monkeypatch):
    (tmp_path / "run" / "images").mkdir(parents=True)
    (tmp_path / "run" / "run.json").write_text("{}")
    (tmp_path / "run" / "images" / "0.png").write_bytes(b"image")
    (tmp_path / "run" / ".lock").write_text("")
    data = archives.pack(tmp_path / "run")
    archives.unpack(data, tmp_path / "copy")
    assert sorted(str(path.relative_to(tmp_path / "copy")) for path in (tmp_path / "copy").rglob("*")) == [
        *("images", "images/0.png", "run.json")
    ]
    with pytest.raises(DiskError, match="is damaged"):
        archives.unpack(data[:-30], tmp_path / "copy")
    monkeypatch.setattr(archives, "MOST_BYTES", 3)
    with pytest.raises(DiskError, match="the results are larger than 0 MB"):
        archives.pack(tmp_path / "run")
    with pytest.raises(DiskError, match="larger than"):
        archives.unpack(data, tmp_path / "copy")


@pytest.mark.parametrize("name", ["../run.json", "/etc/passwd", "a/../../b", ".hidden"])
def test_an_archive_stays_in_its_folder(tmp_path, name):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr(name, "x")
    with pytest.raises(DiskError, match="names the file"):
        archives.unpack((tmp_path / "x.zip").read_bytes(), tmp_path / "folder")
    assert not (tmp_path / "folder").exists()
