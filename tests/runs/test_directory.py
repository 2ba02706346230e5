import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.settings.test_legacy import INVERT, flags
from tfinvert.runs.directory import RunDirectory
from tfinvert.settings.legacy import modernized
from tfinvert.system.errors import DiskError, InputError

FLAGS = "--steps=10\n--schedule=cosine\n"


def made(path):
    run = RunDirectory(path)
    run.check(FLAGS, resume=False, overwrite=False)
    run.create(FLAGS, {"network": "n"}, resume=False)
    return run


def test_a_run_is_refused_where_one_is(tmp_path):
    made(tmp_path / "run")
    again = RunDirectory(tmp_path / "run")
    with pytest.raises(InputError, match="--resume, --overwrite"):
        again.check(FLAGS, resume=False, overwrite=False)
    again.check(FLAGS, resume=False, overwrite=True)
    again.check(FLAGS, resume=True, overwrite=False)
    with pytest.raises(InputError, match="holds a run of 10 steps, which cannot be resumed with 20"):
        again.check(FLAGS.replace("10", "20"), resume=True, overwrite=False)


def test_files_that_are_no_run_are_never_touched(tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(InputError, match="holds files that are no run"):
        RunDirectory(tmp_path).check(FLAGS, resume=False, overwrite=True)
    assert (tmp_path / "thesis.tex").read_text() == "precious"


def test_a_file_in_the_place_of_the_folder(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is a file"):
        RunDirectory(tmp_path / "file").check(FLAGS, resume=False, overwrite=True)


def test_checking_writes_nothing(tmp_path):
    RunDirectory(tmp_path / "a" / "b").check(FLAGS, resume=False, overwrite=False)
    assert list(tmp_path.iterdir()) == []


def test_overwriting_removes_the_old_run_only(tmp_path):
    run = made(tmp_path / "run")
    run.append_metrics({"step": 0})
    (run.path / "notes.txt").write_text("mine")
    run.create(FLAGS, {}, resume=False)
    assert run.read_metrics() == []
    assert (run.path / "notes.txt").read_text() == "mine"


def test_rewinding_forgets_what_will_be_made_again(tmp_path):
    run = made(tmp_path / "run")
    for step in (0, 10, 20):
        run.append_metrics({"step": step})
        run.save_image(run.image_path(step), np.zeros((4, 4, 3)))
    run.flush()
    with open(run.metrics, "a") as file:
        file.write('{"step": 30, "los')  # a line cut off by a kill
    run.rewind(15)
    assert [line["step"] for line in run.read_metrics()] == [0, 10]
    assert list(run.step_images()) == [0, 10]
    assert [json.loads(line)["step"] for line in run.metrics.read_text().splitlines()] == [0, 10]


def test_images_are_all_there_at_the_end(tmp_path):
    run = made(tmp_path / "run")
    image = np.zeros((1, 8, 8, 3), np.float32)
    with run:
        for step in range(50):
            run.save_image(run.image_path(step), image)
            image += 0.02  # the caller's array may change afterwards
    values = [np.asarray(Image.open(path))[0, 0, 0] for path in run.step_images().values()]
    assert len(values) == 50
    np.testing.assert_allclose(values, np.arange(50) * 0.02 * 255, atol=1)


def test_an_image_that_cannot_be_written_is_reported(tmp_path):
    run = made(tmp_path / "run")
    run.save_image(tmp_path / "nowhere" / "a.png", np.zeros((4, 4, 3)))
    with pytest.raises(OSError, match="No such file"):
        run.flush()


def test_only_one_run_at_a_time_writes_into_a_folder(tmp_path, monkeypatch):
    monkeypatch.setattr("tfinvert.system.locks.WAIT_SECONDS", 0.1)
    first, second = RunDirectory(tmp_path / "run"), RunDirectory(tmp_path / "run")
    with first.locked(), pytest.raises(InputError, match=f"process {os.getpid()} on .* is writing"), second.locked():
        pass
    with RunDirectory(tmp_path / "run").locked():
        pass
    assert [path.name for path in (tmp_path / "run").iterdir()] == [".lock"]
    RunDirectory(tmp_path / "run").check(FLAGS, resume=False, overwrite=False)  # a lock is no run


def test_the_lock_of_a_process_that_died_is_free(tmp_path, monkeypatch):
    monkeypatch.setattr("tfinvert.system.locks.WAIT_SECONDS", 0.1)
    code = "import os, sys; from tfinvert.runs.directory import *; held = RunDirectory(Path(sys.argv[1])).locked()"
    code += "; held.__enter__(); os._exit(1)"
    assert subprocess.run([sys.executable, "-c", code, tmp_path / "run"], check=False).returncode == 1
    with RunDirectory(tmp_path / "run").locked():
        pass


def test_half_files_of_a_killed_run_are_removed(tmp_path):
    run = made(tmp_path / "run")
    run.checkpoints.mkdir()
    for name in ("images/.000010.png.99.part", ".final.png.99.part", ".decoder.keras.99.part.keras"):
        (run.path / name).write_bytes(b"half")
    (run.path / ".checkpoints.99.part").mkdir()
    run.create(FLAGS, {}, resume=True)
    assert sorted(path.name for path in run.path.iterdir()) == ["checkpoints", "images", "run.flags", "run.json"]
    assert list(run.images.iterdir()) == []


def test_what_is_killed_while_it_overwrites_can_be_started_again(tmp_path, monkeypatch):
    """Whichever file it is that is not removed any more."""
    other = FLAGS + "--seed=1\n"
    for number in range(40):
        run = made(tmp_path / str(number))
        run.checkpoints.mkdir()
        (run.checkpoints / "ckpt-10.index").write_bytes(b"")
        run.append_metrics({"step": 10})
        run.write_info({"result": {}})
        with monkeypatch.context() as context:
            left = number

            def counted(function):
                def call(*arguments, **settings):
                    nonlocal left
                    left -= 1
                    if left < 0:
                        raise KeyboardInterrupt
                    return function(*arguments, **settings)

                return call

            for place, name in ((Path, "rename"), (Path, "unlink"), (shutil, "rmtree"), (Path, "mkdir"), (os, "replace")):
                context.setattr(place, name, counted(getattr(place, name)))
            try:
                run.create(other, {}, resume=False)
            except KeyboardInterrupt:
                finished = False
            else:
                finished = True
        mine = run.flags.read_text() == other
        run.check(other, resume=mine, overwrite=not mine)
        assert not (mine and run.is_finished(other))
        assert not (mine and run.checkpoints.exists())
    assert finished


def test_errors_of_the_disk_say_where_and_how_to_go_on(tmp_path):
    run = made(tmp_path / "run")
    with pytest.raises(DiskError) as found, run.locked():
        (run.path / "nowhere" / "a").write_text("a")
    assert str(found.value) == f"cannot go on in {run.path}: No such file or directory ({run.path / 'nowhere' / 'a'})"
    run.checkpoints.mkdir()
    (run.checkpoints / "ckpt-1.index").write_bytes(b"")
    with pytest.raises(DiskError, match="--resume goes on from the last checkpoint"), run.locked():
        raise OSError(28, "No space left on device")


def test_finished_is_the_same_run_that_ended_well(tmp_path):
    run = made(tmp_path / "run")
    assert not run.is_finished(FLAGS)
    run.write_info({"result": {}})
    assert run.is_finished(FLAGS)
    assert not run.is_finished(FLAGS + "--seed=1\n")
    assert run.is_finished(f"# tfinvert 0.2\n{FLAGS}")
    run.write_info({"result": {}, "stopped": "at step 3"})
    assert not run.is_finished(FLAGS)


@pytest.mark.parametrize("name", ["images", "metrics.jsonl", "checkpoints", "run.json"])
def test_a_link_in_the_place_of_what_is_written_is_refused(name, tmp_path):
    run = made(tmp_path / "run")
    (tmp_path / "elsewhere").mkdir()
    path = run.path / name
    if path.is_dir():
        path.rmdir()
    path.unlink(missing_ok=True)
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match=f"{name} is a link"):
        run.check(FLAGS, resume=False, overwrite=True)


def test_a_run_of_version_0_1_goes_on_and_is_found_finished(tmp_path):
    old = flags(INVERT)
    new = f"# tfinvert 0.2\n{modernized(old)}"
    run = RunDirectory(tmp_path / "run")
    run.create(old, {"result": {}}, resume=False)
    run.check(new, resume=True, overwrite=False)
    assert run.is_finished(new)
    with pytest.raises(InputError, match=r"--tv_weight=0.5, was \(default\)"):
        run.check(f"{new}--tv_weight=0.5\n", resume=True, overwrite=False)


def test_images_are_in_the_order_of_their_steps(tmp_path):
    run = made(tmp_path / "run")
    for step in (1000000, 20, 999990):
        run.image_path(step).write_bytes(b"")
    (run.images / "notes.png").write_bytes(b"")
    assert list(run.step_images()) == [20, 999990, 1000000]
    assert run.step_images()[20] == run.images / "000020.png"


def test_a_step_is_there_with_its_line_and_its_image(tmp_path):
    run = made(tmp_path / "run")
    for step in (0, 10):
        run.append_metrics({"step": step})
        run.image_path(step).write_bytes(b"")
    run.append_metrics({"step": 20})
    assert run.has([0, 10])
    assert run.has([])
    assert not run.has([0, 20])
    assert run.goes_beyond(10)
    assert not run.goes_beyond(20)


def test_the_thread_that_writes_images_ends_with_the_context(tmp_path):
    run, before = made(tmp_path / "run"), threading.active_count()
    with run:
        run.save_image(run.image_path(0), np.zeros((4, 4, 3)))
        assert threading.active_count() == before + 1
    assert threading.active_count() == before
    assert run.image_path(0).exists()
