"""The record of an optimization in a run directory: lines, images, checkpoints, signals, callbacks, progress."""

import io
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.runs.recorded import START, directory, images_of, recorded, solver
from tfinvert.images import files as images
from tfinvert.runs.checkpoints import Checkpoints
from tfinvert.runs.recording import Recording, record
from tfinvert.system.errors import DiskError, InputError
from tfinvert.system.signals import Interrupted


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    run, made = directory(tmp_path_factory.mktemp("runs") / "whole"), solver()
    outcome = recorded(made, 8, 2, run, part="a", before=100, measure=lambda snapshot: {"scale": 3})
    return run, images_of(made)[0], outcome


def test_lines_and_images_count_from_what_was_before(whole):
    run, _, outcome = whole
    lines = run.read_metrics()
    assert [line["step"] for line in lines] == [100, 102, 104, 106, 108]
    assert set(lines[0]) == {"step", "loss", "learning_rate", "f", "scale"}
    assert tuple(lines) == outcome.lines
    assert list(run.step_images()) == [100, 102, 104, 106, 108]
    assert outcome.steps == 8


def test_without_a_directory_it_is_the_same(whole):
    made = solver()
    recorded(made, 8, 2)
    np.testing.assert_array_equal(images_of(made)[0], whole[1])


def test_a_signal_leaves_a_checkpoint_from_which_it_goes_on(whole, tmp_path):
    run = directory(tmp_path / "run")

    def stop(snapshot):
        if snapshot.step == 4:
            os.kill(os.getpid(), signal.SIGTERM)
        return {"scale": 3}

    stopped = recorded(solver(), 8, 2, run, part="a", before=100, measure=stop)
    assert stopped.steps == 5
    with pytest.raises(Interrupted):
        stopped.raise_if_any()
    assert run.read_info()["stopped"] == "at step 105"
    made = solver()
    outcome = recorded(made, 8, 2, run, part="a", before=100, resume=True, measure=lambda snapshot: {"scale": 3})
    assert outcome.steps == 3
    np.testing.assert_array_equal(images_of(made)[0], whole[1])
    assert run.read_metrics() == whole[0].read_metrics()
    # Finished: resuming it once more changes nothing.
    recorded(solver(), 8, 2, run, part="a", before=100, resume=True, measure=lambda snapshot: {"scale": 3})
    assert run.read_metrics() == whole[0].read_metrics()


def two_checkpoints(path, monkeypatch):
    """A run of 8 steps that leaves the checkpoints of its last two."""
    monkeypatch.setattr("tfinvert.runs.recording.CHECKPOINT_SECONDS", 0.0)
    run = directory(path)
    recorded(solver(), 8, 2, run)
    assert {path.name for path in run.checkpoints.iterdir()} == {
        *("ckpt-7.index", "ckpt-7.data-00000-of-00001", "ckpt-8.index", "ckpt-8.data-00000-of-00001")
    }
    return run


def resumed(run):
    made = solver()
    return made, recorded(made, 8, 2, run, resume=True)


def test_the_checkpoint_before_a_damaged_one_is_taken(whole, tmp_path, monkeypatch, caplog):
    run = two_checkpoints(tmp_path / "run", monkeypatch)
    (run.checkpoints / "ckpt-8.index").write_bytes(b"no checkpoint")
    run.create(run.flags.read_text(), run.read_info(), resume=True)
    made, outcome = resumed(run)
    assert outcome.steps == 1
    assert "trying the one before it" in caplog.text
    np.testing.assert_array_equal(images_of(made)[0], whole[1])
    assert [line["step"] for line in run.read_metrics()] == [0, 2, 4, 6, 8]


@pytest.mark.parametrize("damaged", ["ckpt-*", "ckpt-*.index", "ckpt-*.data*"])
def test_without_a_whole_checkpoint_a_run_starts_again(damaged, whole, tmp_path, monkeypatch, caplog):
    """As a kill leaves it while the first is written."""
    run = two_checkpoints(tmp_path / "run", monkeypatch)
    for path in run.checkpoints.glob(damaged):
        path.write_bytes(path.read_bytes()[:-40])
    made, outcome = resumed(run)
    assert outcome.steps == 8
    assert "starting from the beginning" in caplog.text
    np.testing.assert_array_equal(images_of(made)[0], whole[1])
    assert [line["step"] for line in run.read_metrics()] == list(run.step_images()) == [0, 2, 4, 6, 8]


def test_checkpoints_of_something_else_are_refused(tmp_path):
    run = directory(tmp_path / "run")
    Checkpoints(tf.train.Checkpoint(other=tf.Variable(1.0)), run.checkpoints).save(0)
    with pytest.raises(InputError, match="of another run"):
        recorded(solver(), 8, 2, run, resume=True)


def test_a_checkpoint_of_which_only_a_part_could_be_written_is_none(whole, tmp_path, monkeypatch):
    """As TensorFlow leaves it on a disk that is full, without an error."""
    monkeypatch.setattr("tfinvert.runs.recording.CHECKPOINT_SECONDS", 0.0)
    run = directory(tmp_path / "run")
    write = tf.train.Checkpoint.write

    def half(state, path):
        write(state, path)
        if path.endswith("-5"):
            index = Path(f"{path}.index")
            index.write_bytes(index.read_bytes()[:40])

    monkeypatch.setattr(tf.train.Checkpoint, "write", half)
    with pytest.raises(DiskError, match="the one before it is kept"):
        recorded(solver(), 8, 2, run)
    assert not list(run.checkpoints.glob("ckpt-5.*"))
    monkeypatch.setattr(tf.train.Checkpoint, "write", write)
    run.create(run.flags.read_text(), run.read_info(), resume=True)
    made, outcome = resumed(run)
    assert outcome.steps == 4
    np.testing.assert_array_equal(images_of(made)[0], whole[1])


@pytest.mark.parametrize("lost", ["images/000002.png", "metrics.jsonl"])
def test_a_checkpoint_without_the_images_and_lines_before_it_is_none(lost, whole, tmp_path, monkeypatch, caplog):
    run = two_checkpoints(tmp_path / "run", monkeypatch)
    (run.path / lost).unlink()
    made, outcome = resumed(run)
    assert outcome.steps == 8
    assert "are missing" in caplog.text
    np.testing.assert_array_equal(images_of(made)[0], whole[1])
    assert [line["step"] for line in run.read_metrics()] == list(run.step_images()) == [0, 2, 4, 6, 8]


def test_a_checkpoint_is_not_before_its_images(tmp_path, monkeypatch):
    monkeypatch.setattr("tfinvert.runs.recording.CHECKPOINT_SECONDS", 0.0)
    save, slow, seen = Checkpoints.save, images.save, []
    run = directory(tmp_path / "run")
    monkeypatch.setattr(images, "save", lambda path, image: (time.sleep(0.02), slow(path, image)))
    monkeypatch.setattr(Checkpoints, "save", lambda self, step: (seen.append(len(run.step_images())), save(self, step)))
    recorded(solver(), 4, 1, run)
    assert seen == [1, 2, 3, 4, 5, 5]


def test_what_a_killed_process_left_beside_the_checkpoints_is_removed(tmp_path):
    run = directory(tmp_path / "run")
    (run.checkpoints / "ckpt-3_temp").mkdir(parents=True)
    for name in ("ckpt-3_temp/part-00000-of-00001.index", "checkpoint.tmp0123", "ckpt-2.index"):
        (run.checkpoints / name).write_bytes(b"half")
    recorded(solver(), 4, 2, run)
    assert {path.name for path in run.checkpoints.iterdir()} == {"ckpt-4.index", "ckpt-4.data-00000-of-00001"}


def test_a_part_after_which_another_has_begun_is_not_run_again(tmp_path):
    run = directory(tmp_path / "run")
    for number in range(2):
        recorded(solver(), 4, 2, run, part=f"part-{number}", before=5 * number)
    before = run.metrics.read_bytes()
    made = solver()
    assert recorded(made, 4, 2, run, part="part-0", resume=True).lines == ()
    assert made.step == 4
    assert run.metrics.read_bytes() == before


def test_a_folder_that_vanished_is_not_made_again(tmp_path):
    run = directory(tmp_path / "run")

    def vanish(snapshot):
        if snapshot.step == 2:
            run.path.rename(tmp_path / "away")
        return {}

    with pytest.raises(OSError, match="No such file"):
        recorded(solver(), 8, 2, run, measure=vanish)
    assert [path.name for path in tmp_path.iterdir()] == ["away"]


def test_a_callback_sees_each_image_and_ends_the_optimization_as_finished(tmp_path):
    run, seen = directory(tmp_path / "run"), []

    def look(snapshot):
        seen.append((snapshot.step, snapshot.image.shape))
        return snapshot.step == 4

    made = solver()
    (outcome,) = record(made, [Recording(run, on_step=look)], 8, 2)
    assert seen == [(step, START.shape) for step in (0, 2, 4)]
    assert (outcome.error, outcome.steps, made.step) == (None, 5, 5)
    assert [line["step"] for line in outcome.lines] == [0, 2, 4]
    assert "stopped" not in run.read_info()
    assert {path.name for path in run.checkpoints.glob("*.index")} == {"ckpt-5.index"}


@pytest.mark.parametrize(("answer", "steps"), [("stop", 1), (np.bool_(True), 1), (None, 8), (1, 8), ("go", 8), (np.ones(2), 8)])
def test_only_true_and_stop_end_it(answer, steps):
    (outcome,) = record(solver(), [Recording(on_step=lambda snapshot: answer)], 8, 2)
    assert outcome.steps == steps


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("stream", "progress", "shown"),
    [(Terminal, True, True), (Terminal, False, False), (io.StringIO, True, False), (lambda: None, True, False)],
)
def test_progress_is_shown_on_a_terminal_unless_it_is_not_wanted(stream, progress, shown, monkeypatch):
    monkeypatch.setattr(sys, "stderr", stream())
    assert recorded(solver(), 8, 2, progress=progress, label="conv3_1").steps == 8
    assert bool(sys.stderr and "conv3_1" in sys.stderr.getvalue()) == shown
