import json
import os
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tfinvert.errors import DiskError, InputError
from tfinvert.images import files as images
from tfinvert.runs.directory import QUEUED_PICTURES, RunDirectory, differing_flags

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


def test_a_slow_disk_is_waited_for_and_named_once(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("tfinvert.runs.directory.WORTH_SAYING", 0.0)
    slow, begun = threading.Event(), threading.Event()

    def save(path, image):
        begun.set()
        slow.wait(60)

    monkeypatch.setattr(images, "save", save)
    run = made(tmp_path / "run")
    with run:
        for step in range(QUEUED_PICTURES + 1):  # one is being written; nothing waits for it
            run.save_picture(run.picture_path(step), np.zeros((4, 4, 3)))
            assert begun.wait(60)
        assert caplog.text == ""
        threading.Timer(0.1, slow.set).start()
        for step in range(4):
            run.save_picture(run.picture_path(step), np.zeros((4, 4, 3)))
    (said,) = caplog.messages
    assert re.match(r"the steps waited [1-4] times, \d+\.\d s in all, for pictures to be written", said)
    assert run._writer is None


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
    run.write_info({"result": {}, "stopped": "at step 3"})
    assert not run.is_finished(FLAGS)


def test_more_steps_of_a_constant_schedule_are_the_same_run():
    before = "--steps=10\n--schedule=constant\n"
    assert differing_flags(before, before.replace("10", "20")) == []
    assert differing_flags(before, before.replace("10", "5")) == ["--steps=5, was 10"]
    assert differing_flags(FLAGS, FLAGS.replace("10", "20")) == ["--steps=20, was 10"]
    other = before.replace("constant", "cosine")
    assert differing_flags(other, before.replace("10", "20")) == ["--schedule=constant, was cosine", "--steps=20, was 10"]
    falling = before + "--regularizer_final=0.5\n"
    assert differing_flags(falling, falling.replace("10", "20")) == ["--steps=20, was 10"]


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


@pytest.mark.parametrize("content", ["[]", "5", "[" * 10**5, '{"network": "\\ud800"}', "{", "\xff"])
def test_a_run_json_that_is_none_is_empty(content, tmp_path):
    run = made(tmp_path / "run")
    run.info.write_text(content)
    assert run.read_info() == {}
    assert not run.is_finished(FLAGS)


def test_what_has_another_type_in_run_json_is_left_out(tmp_path):
    run = made(tmp_path / "run")
    run.write_info({"network": 5, "layers": {"a": {"receptive_field": "x"}}, "result": [], "weights": "w", "seed": 3})
    assert run.read_info() == {"weights": "w", "seed": 3}


def test_the_summary_of_a_damaged_result_has_no_numbers(tmp_path):
    run = made(tmp_path / "run")
    run.write_info({"result": {"psnr": "x", "ssim": None, "seconds": 10**400, "starts": [5]}})
    assert run.summary().startswith("PSNR nan dB, SSIM nan")


def test_lines_of_metrics_that_are_none_are_left_out(tmp_path):
    run = made(tmp_path / "run")
    good = {"step": 3, "loss": 0.5}
    bad = [{"step": True}, {"step": -1}, {"loss": 1.0}, {"step": 1, "loss": "x"}, {"step": 1, "loss": float("nan")}]
    bad += [{"step": 1, "loss": 10**400}, {"step": 1, "a\n": 1}, {"step": 1, **{str(n): n for n in range(6000)}}, [], 5]
    run.metrics.write_text("\n".join(json.dumps(line) for line in [good, *bad]) + "\n{\n" + "[" * 10**5)
    assert run.read_metrics() == [good]


def test_what_may_never_end_is_not_read(tmp_path):
    run = made(tmp_path / "run")
    run.info.unlink()
    os.mkfifo(run.info)
    run.metrics.symlink_to("/dev/zero")
    assert run.read_info() == {}
    assert run.read_metrics() == []


def test_lists_of_checkpoints_name_those_of_the_folder(tmp_path):
    """TensorFlow would read what a list names, wherever it is, and remove it when it is old."""
    run = made(tmp_path / "run")
    run.checkpoints.mkdir()
    for name in ("ckpt-9.index", "ckpt-10.index", "ckpt-10.data-00000-of-00001", "other.index"):
        (run.checkpoints / name).write_bytes(b"")
        os.utime(run.checkpoints / name, (1e9, 1e9))
    state = run.checkpoints / "checkpoint"
    state.write_text('model_checkpoint_path: "/elsewhere/ckpt-1"\nall_model_checkpoint_paths: "../ckpt-2"\n')
    run.create(FLAGS, {}, resume=True)
    paths = [line.partition(": ")[2] for line in state.read_text().splitlines()]
    assert paths == ['"ckpt-10"', '"ckpt-9"', "1000000000.0", '"ckpt-10"', "1000000000.0"]
    for path in run.checkpoints.glob("ckpt-*"):
        path.unlink()
    run.create(FLAGS, {}, resume=True)
    assert not state.exists()


def test_flags_that_only_look_like_numbers_are_compared_as_text():
    assert differing_flags("--steps=\u00b2\n--schedule=constant\n", "--steps=5\n--schedule=constant\n")
    assert differing_flags(f"--steps={'9' * 5000}\n--schedule=constant\n", "--steps=5\n--schedule=constant\n")
