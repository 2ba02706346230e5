import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from tfinvert.errors import InputError
from tfinvert.rundir import RunDirectory, differing_flags

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
    with pytest.raises(InputError, match="--steps=20, was 10"):
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
        run.save_picture(run.picture_path(step), np.zeros((4, 4, 3)))
    run.flush()
    with open(run.metrics, "a") as file:
        file.write('{"step": 30, "los')  # a line cut off by a kill
    run.rewind(15)
    assert [line["step"] for line in run.read_metrics()] == [0, 10]
    assert list(run.pictures()) == [0, 10]
    assert [json.loads(line)["step"] for line in run.metrics.read_text().splitlines()] == [0, 10]


def test_pictures_are_written_behind_and_all_there_at_the_end(tmp_path):
    run = made(tmp_path / "run")
    image = np.zeros((1, 8, 8, 3), np.float32)
    with run:
        for step in range(50):
            run.save_picture(run.picture_path(step), image)
            image += 0.02  # the caller's array may change afterwards
    values = [np.asarray(Image.open(path))[0, 0, 0] for path in run.pictures().values()]
    assert len(values) == 50
    np.testing.assert_allclose(values, np.arange(50) * 0.02 * 255, atol=1)


def test_a_picture_that_cannot_be_written_is_reported(tmp_path):
    run = made(tmp_path / "run")
    run.save_picture(tmp_path / "nowhere" / "a.png", np.zeros((4, 4, 3)))
    with pytest.raises(OSError, match="No such file"):
        run.flush()


def test_only_one_run_at_a_time_writes_into_a_folder(tmp_path, monkeypatch):
    monkeypatch.setattr("tfinvert.rundir.LOCK_SECONDS", 0.1)
    first, second = RunDirectory(tmp_path / "run"), RunDirectory(tmp_path / "run")
    with first.locked(), pytest.raises(InputError, match="another run is writing"), second.locked():
        pass
    with RunDirectory(tmp_path / "run").locked():
        pass
    RunDirectory(tmp_path / "run").check(FLAGS, resume=False, overwrite=False)  # a lock is no run


def test_the_lock_of_a_process_that_died_is_free(tmp_path, monkeypatch):
    monkeypatch.setattr("tfinvert.rundir.LOCK_SECONDS", 0.1)
    code = "import os, sys; from tfinvert.rundir import *; held = RunDirectory(Path(sys.argv[1])).locked()"
    code += "; held.__enter__(); os._exit(1)"
    assert subprocess.run([sys.executable, "-c", code, tmp_path / "run"], check=False).returncode == 1
    with RunDirectory(tmp_path / "run").locked():
        pass


def test_half_files_of_a_killed_run_are_removed(tmp_path):
    run = made(tmp_path / "run")
    for folder in (run.path, run.images):
        (folder / ".000010.png.99.part").write_bytes(b"half")
    run.create(FLAGS, {}, resume=True)
    assert list(run.path.rglob(".*.part")) == []


def test_finished_is_the_same_run_that_ended_well(tmp_path):
    run = made(tmp_path / "run")
    assert not run.is_finished(FLAGS)
    run.write_info({"result": {}})
    assert run.is_finished(FLAGS)
    assert not run.is_finished(FLAGS + "--seed=1\n")
    run.write_info({"result": {}, "stopped": "at step 3"})
    assert not run.is_finished(FLAGS)


def test_more_steps_of_a_constant_schedule_are_the_same_run():
    before = "--steps=10\n--schedule=constant\n"
    assert differing_flags(before, before.replace("10", "20")) == []
    assert differing_flags(before, before.replace("10", "5")) == ["--steps=5, was 10"]
    assert differing_flags(FLAGS, FLAGS.replace("10", "20")) == ["--steps=20, was 10"]
