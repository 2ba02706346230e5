"""One process at a time in a folder."""

import os
import socket
import subprocess
import sys

import pytest

from tests.conftest import ROOT
from tfinvert.system.errors import InputError
from tfinvert.system.locks import locked


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr("tfinvert.system.locks.WAIT_SECONDS", 0.1)


def test_a_folder_is_held_by_one_and_says_by_whom(tmp_path):
    with locked(tmp_path / "new"):
        with pytest.raises(InputError, match=f"process {os.getpid()} on {socket.gethostname()} is writing into"):
            locked(tmp_path / "new").__enter__()
        with locked(tmp_path / "other"):
            pass
    with locked(tmp_path / "new"):
        pass
    assert os.listdir(tmp_path / "new") == [".lock"]


def test_it_is_free_after_an_error(tmp_path):
    with pytest.raises(ZeroDivisionError), locked(tmp_path):
        raise ZeroDivisionError
    with locked(tmp_path):
        pass


def test_the_lock_of_a_process_that_died_is_free(tmp_path):
    code = "import os, sys, pathlib; from tfinvert.system.locks import locked"
    code += "; held = locked(pathlib.Path(sys.argv[1])); held.__enter__(); os._exit(1)"
    assert subprocess.run([sys.executable, "-c", code, tmp_path], cwd=ROOT, check=False).returncode == 1
    assert (tmp_path / ".lock.holder").exists()
    with locked(tmp_path):
        pass


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(InputError, match="Not a directory"),
        locked(tmp_path / "file" / "folder"),
    ):
        pass
