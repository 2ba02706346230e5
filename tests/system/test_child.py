"""A process of its own: its messages, its failure, and its end when its parent ends."""

import json
import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT, wait_until
from tfinvert.system.child import Child

WORKER = "tests.system.worker"
PARENT = """
import sys, time
from tfinvert.system.child import Child
process = Child("tests.system.worker", *sys.argv[1:])
print(process.receive()["event"], flush=True)
time.sleep(60)
"""


def test_messages_go_both_ways_and_what_the_child_prints_is_in_its_log():
    with Child(WORKER, "exchange") as process:
        for values in ([1, 2], [], [0.5]):
            process.send(values=values)
            assert process.receive() == {"doubled": [2 * value for value in values]}
        assert process.poll() is None
        process.ask_to_end()
        assert process.wait() == 0
        assert process.receive() is None
        assert process.last_line() == "a library prints this"


def test_the_child_has_an_environment_and_a_session_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "json.py").write_text("raise SystemExit('a module of the working directory')")
    with Child(WORKER, "environment", environment={"TFINVERT_TEST": "here"}) as process:
        found = process.receive()
    assert found is not None
    assert found["variable"] == "here"
    assert str(ROOT) in found["path"]
    assert not {"", str(tmp_path)} & set(found["path"])
    assert found["session"] != os.getsid(0)


def test_a_child_that_fails_leaves_its_exit_code_and_its_last_line():
    with Child(WORKER, "fail") as process:
        assert process.receive() is None
        process.send(values=[1])  # nobody reads it, which is no error of the sender
        assert process.wait() == 1
        assert process.last_line() == "RuntimeError: the café is closed"


def test_what_a_child_prints_is_dropped_where_nobody_reads_it():
    with Child(WORKER, "environment", answers=False) as process:
        assert process.wait() == 0
        assert process.last_line() == ""


@pytest.mark.parametrize("action", ["write", "checkpoint"])
def test_a_child_whose_parent_was_killed_ends_as_it_chose(action, tmp_path):
    """One removes what it was writing, the other ends as after SIGTERM and leaves a checkpoint."""
    folder = tmp_path / "scratch"
    parent = subprocess.Popen([sys.executable, "-c", PARENT, action, str(folder)], stdout=subprocess.PIPE, cwd=ROOT, text=True)
    assert parent.stdout is not None
    with parent:
        parent.stdout.readline()  # the child is ready
        assert folder.exists() == (action == "write")
        parent.kill()
    wait_until(lambda: folder.exists() == (action == "checkpoint"))


def test_closing_kills_a_child_at_once_or_lets_it_end(tmp_path):
    with Child(WORKER, "exchange") as process:
        pass
    assert process.poll() is not None
    with Child(WORKER, "checkpoint", str(tmp_path / "kept"), grace=60.0) as process:
        assert process.receive() == {"event": "ready"}
    assert process.poll() == 0
    assert (tmp_path / "kept").exists()
    process.close()  # twice is no error


def test_a_program_that_no_child_started_does_not_watch_its_input():
    done = subprocess.run(
        [sys.executable, "-m", WORKER, "alone"], stdin=subprocess.DEVNULL, capture_output=True, cwd=ROOT, timeout=60
    )
    assert done.returncode == 0
    assert json.loads(done.stdout) == {"event": "alive"}


def test_the_helper_is_light():
    program = "import sys; from tfinvert.system import child; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True
    ).stdout.split()
    assert not {"numpy", "tensorflow", "keras", "PIL", "onnx"} & set(loaded)
