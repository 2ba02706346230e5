"""An optimisation into a run directory: lines, pictures, checkpoints, signals."""

import os
import signal
import time
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfinvert import images, terms
from tfinvert.checkpoints import Checkpoints
from tfinvert.drive import drive
from tfinvert.errors import DiskError, InputError
from tfinvert.interruption import Interrupted
from tfinvert.optimize import Optimization
from tfinvert.parameterizations import parameterization
from tfinvert.rundir import RunDirectory

START = np.random.default_rng(0).uniform(0.3, 0.7, (1, 8, 8, 3)).astype(np.float32)


def optimization():
    def model(image, training=False):
        return {"f": image**2}

    term = terms.feature_term("f", tf.fill((1, 8, 8, 3), 0.2))
    return Optimization(model, [term], parameterization("clip", (8, 8)), START, keras.optimizers.Adam(0.01))


def directory(path):
    run = RunDirectory(path)
    run.create("--steps=8\n", {}, resume=path.exists())
    return run


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    run, made = directory(tmp_path_factory.mktemp("runs") / "whole"), optimization()
    outcome = drive(made, 8, 2, run, part="a", before=100, extra=lambda snapshot: {"scale": 3})
    return run, made.image(), outcome


def test_lines_and_pictures_count_from_what_was_before(whole):
    run, _, outcome = whole
    lines = run.read_metrics()
    assert [line["step"] for line in lines] == [100, 102, 104, 106, 108]
    assert set(lines[0]) == {"step", "loss", "learning_rate", "f", "scale"}
    assert tuple(lines) == outcome.lines
    assert list(run.pictures()) == [100, 102, 104, 106, 108]
    assert outcome.steps == 8


def test_without_a_directory_it_is_the_same(whole):
    made = optimization()
    drive(made, 8, 2)
    np.testing.assert_array_equal(made.image(), whole[1])


def test_a_signal_leaves_a_checkpoint_from_which_it_goes_on(whole, tmp_path):
    run = directory(tmp_path / "run")

    def stop(snapshot):
        if snapshot.step == 4:
            os.kill(os.getpid(), signal.SIGTERM)
        return {"scale": 3}

    stopped = drive(optimization(), 8, 2, run, part="a", before=100, extra=stop)
    assert stopped.steps == 5
    with pytest.raises(Interrupted):
        stopped.raise_if_any()
    assert run.read_info()["stopped"] == "at step 105"
    made = optimization()
    outcome = drive(made, 8, 2, run, part="a", before=100, resume=True, extra=lambda snapshot: {"scale": 3})
    assert outcome.steps == 3
    np.testing.assert_array_equal(made.image(), whole[1])
    assert run.read_metrics() == whole[0].read_metrics()
    # Finished: resuming it once more changes nothing.
    drive(optimization(), 8, 2, run, part="a", before=100, resume=True, extra=lambda snapshot: {"scale": 3})
    assert run.read_metrics() == whole[0].read_metrics()


def two_checkpoints(path, monkeypatch):
    """A run of 8 steps that leaves the checkpoints of its last two."""
    monkeypatch.setattr("tfinvert.drive.CHECKPOINT_SECONDS", 0.0)
    run = directory(path)
    drive(optimization(), 8, 2, run)
    assert {path.name for path in run.checkpoints.iterdir()} == {
        *("checkpoint", "ckpt-7.index", "ckpt-7.data-00000-of-00001", "ckpt-8.index", "ckpt-8.data-00000-of-00001")
    }
    return run


def resumed(run):
    made = optimization()
    return made, drive(made, 8, 2, run, resume=True)


def test_the_checkpoint_before_a_damaged_one_is_taken(whole, tmp_path, monkeypatch, caplog):
    run = two_checkpoints(tmp_path / "run", monkeypatch)
    (run.checkpoints / "ckpt-8.index").write_bytes(b"no checkpoint")
    made, outcome = resumed(run)
    assert outcome.steps == 1
    assert "trying the one before it" in caplog.text
    np.testing.assert_array_equal(made.image(), whole[1])
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
    np.testing.assert_array_equal(made.image(), whole[1])
    assert [line["step"] for line in run.read_metrics()] == list(run.pictures()) == [0, 2, 4, 6, 8]


def test_checkpoints_of_something_else_are_refused(tmp_path):
    run = directory(tmp_path / "run")
    Checkpoints(tf.train.Checkpoint(other=tf.Variable(1.0)), run.checkpoints).save(0)
    with pytest.raises(InputError, match="of another run"):
        drive(optimization(), 8, 2, run, resume=True)


def test_a_checkpoint_of_which_only_a_part_could_be_written_is_none(whole, tmp_path, monkeypatch):
    """As TensorFlow leaves it on a disk that is full, without an error."""
    monkeypatch.setattr("tfinvert.drive.CHECKPOINT_SECONDS", 0.0)
    run = directory(tmp_path / "run")
    save = tf.train.CheckpointManager.save

    def half(manager, step):
        path = save(manager, step)
        if step == 5:
            index = Path(f"{path}.index")
            index.write_bytes(index.read_bytes()[:40])
        return path

    monkeypatch.setattr(tf.train.CheckpointManager, "save", half)
    with pytest.raises(DiskError, match="the one before it is kept"):
        drive(optimization(), 8, 2, run)
    assert not list(run.checkpoints.glob("ckpt-5.*"))
    monkeypatch.setattr(tf.train.CheckpointManager, "save", save)
    run.create(run.flags.read_text(), run.read_info(), resume=True)
    made, outcome = resumed(run)
    assert outcome.steps == 4
    np.testing.assert_array_equal(made.image(), whole[1])


@pytest.mark.parametrize("lost", ["images/000002.png", "metrics.jsonl"])
def test_a_checkpoint_without_the_pictures_and_lines_before_it_is_none(lost, whole, tmp_path, monkeypatch, caplog):
    run = two_checkpoints(tmp_path / "run", monkeypatch)
    (run.path / lost).unlink()
    made, outcome = resumed(run)
    assert outcome.steps == 8
    assert "are missing" in caplog.text
    np.testing.assert_array_equal(made.image(), whole[1])
    assert [line["step"] for line in run.read_metrics()] == list(run.pictures()) == [0, 2, 4, 6, 8]


def test_a_checkpoint_is_not_before_its_pictures(tmp_path, monkeypatch):
    monkeypatch.setattr("tfinvert.drive.CHECKPOINT_SECONDS", 0.0)
    save, slow, seen = Checkpoints.save, images.save, []
    run = directory(tmp_path / "run")
    monkeypatch.setattr(images, "save", lambda path, image: (time.sleep(0.02), slow(path, image)))
    monkeypatch.setattr(Checkpoints, "save", lambda self, step: (seen.append(len(run.pictures())), save(self, step)))
    drive(optimization(), 4, 1, run)
    assert seen == [1, 2, 3, 4, 5, 5]


def test_what_a_killed_process_left_beside_the_checkpoints_is_removed(tmp_path):
    run = directory(tmp_path / "run")
    (run.checkpoints / "ckpt-3_temp").mkdir(parents=True)
    for name in ("ckpt-3_temp/part-00000-of-00001.index", "checkpoint.tmp0123", "ckpt-2.index"):
        (run.checkpoints / name).write_bytes(b"half")
    drive(optimization(), 4, 2, run)
    assert {path.name for path in run.checkpoints.iterdir()} == {*("checkpoint", "ckpt-4.index", "ckpt-4.data-00000-of-00001")}


def test_a_part_after_which_another_has_begun_is_not_run_again(tmp_path):
    run = directory(tmp_path / "run")
    for number in range(2):
        drive(optimization(), 4, 2, run, part=f"part-{number}", before=5 * number)
    before = run.metrics.read_bytes()
    made = optimization()
    assert drive(made, 4, 2, run, part="part-0", resume=True).lines == ()
    assert made.step == 4
    assert run.metrics.read_bytes() == before


def test_a_folder_that_vanished_is_not_made_again(tmp_path):
    run = directory(tmp_path / "run")

    def vanish(snapshot):
        if snapshot.step == 2:
            run.path.rename(tmp_path / "away")
        return {}

    with pytest.raises(OSError, match="No such file"):
        drive(optimization(), 8, 2, run, extra=vanish)
    assert [path.name for path in tmp_path.iterdir()] == ["away"]


def test_checkpoints_are_not_written_to_a_folder_that_is_gone(tmp_path):
    checkpoints = Checkpoints(optimization().checkpoint, tmp_path / "checkpoints")
    (tmp_path / "checkpoints").rmdir()
    with pytest.raises(DiskError, match="the folder is gone"):
        checkpoints.save(1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("more", [False, True])
def test_a_folder_that_vanishes_under_a_checkpoint_is_not_made_again(more, tmp_path, monkeypatch):
    folder = tmp_path / "out" / "run" / "checkpoints"
    checkpoints = Checkpoints(optimization().checkpoint, folder)
    checkpoints.save(1)
    save = tf.train.CheckpointManager.save

    def late(manager, step):
        folder.parent.rename(tmp_path / "away")
        if more:  # somebody else's, in the same place
            folder.mkdir(parents=True)
            (folder.parent / "notes.txt").write_text("kept")
        return save(manager, step)

    monkeypatch.setattr(tf.train.CheckpointManager, "save", late)
    with pytest.raises(DiskError, match="the folder is gone"):
        checkpoints.save(2)
    left = [path.name for path in (tmp_path / "out").rglob("*")]
    assert left == (["run", "notes.txt"] if more else [])
    assert (tmp_path / "away" / "checkpoints" / "ckpt-1.index").exists()
