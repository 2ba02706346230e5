"""An optimization into a run directory: lines, pictures, checkpoints, signals."""

import os
import shutil
import signal
import time
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfinvert.errors import DiskError, InputError, NonFiniteLossError
from tfinvert.images import files as images
from tfinvert.images.parameterizations import parameterization
from tfinvert.objectives import terms
from tfinvert.optimization.step import Optimization
from tfinvert.runs.checkpoints import Checkpoints
from tfinvert.runs.directory import RunDirectory
from tfinvert.runs.recording import Driven, drive, drive_together
from tfinvert.system.signals import Interrupted

START = np.random.default_rng(0).uniform(0.3, 0.7, (1, 8, 8, 3)).astype(np.float32)


def optimization(target=0.2, optimizer=None):
    def model(image, training=False):
        return {"f": image**2}

    term = terms.feature_term("f", tf.fill((1, 8, 8, 3), target))
    adam = keras.optimizers.Adam(0.01)
    return Optimization(model, [term], parameterization("clip", (8, 8)), START, optimizer or adam)


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
    monkeypatch.setattr("tfinvert.runs.recording.CHECKPOINT_SECONDS", 0.0)
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
    run.create(run.flags.read_text(), run.read_info(), resume=True)
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
    monkeypatch.setattr("tfinvert.runs.recording.CHECKPOINT_SECONDS", 0.0)
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
    monkeypatch.setattr("tfinvert.runs.recording.CHECKPOINT_SECONDS", 0.0)
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


TARGETS = (0.2, 0.4, 0.6)


def together(path, resume=False, stopped=False):
    """Three optimizations that step together, each in a directory of its own; `stopped` by a signal in step 5."""

    def stop(snapshot):
        if stopped and snapshot.step == 4:
            os.kill(os.getpid(), signal.SIGTERM)
        return {}

    made = [optimization(target) for target in TARGETS]
    first, *others = (directory(path / str(number)) for number in range(len(made)))
    driven = [Driven(made[0], first, extra=stop), *map(Driven, made[1:], others)]
    return made, drive_together(driven, 8, 2, resume=resume)


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs")
    made, outcomes = together(path)
    assert [outcome.error for outcome in outcomes] == [None] * 3
    return path, [one.image() for one in made]


def same(made, path, three):
    for number, one in enumerate(made):
        np.testing.assert_array_equal(one.image(), three[1][number])
        kept, whole = (RunDirectory(where / str(number)) for where in (path, three[0]))
        assert kept.read_metrics() == whole.read_metrics()
        assert list(kept.pictures()) == list(whole.pictures()) == [0, 2, 4, 6, 8]
        assert [p.read_bytes() for p in kept.pictures().values()] == [p.read_bytes() for p in whole.pictures().values()]


def test_each_of_several_has_what_it_would_have_alone(three, tmp_path):
    for number, target in enumerate(TARGETS):
        alone = optimization(target)
        drive(alone, 8, 2, directory(tmp_path / str(number)))
        np.testing.assert_allclose(alone.image(), three[1][number], atol=1e-6)
        kept = RunDirectory(three[0] / str(number))
        assert [line["step"] for line in kept.read_metrics()] == [0, 2, 4, 6, 8]
        assert {path.name for path in kept.checkpoints.glob("*.index")} == {"ckpt-8.index"}


def test_a_signal_leaves_checkpoints_from_which_all_go_on(three, tmp_path):
    _, outcomes = together(tmp_path, stopped=True)
    for number, outcome in enumerate(outcomes):
        assert isinstance(outcome.error, Interrupted)
        assert RunDirectory(tmp_path / str(number)).read_info()["stopped"] == "at step 5"
    made, outcomes = together(tmp_path, resume=True)
    assert [outcome.steps for outcome in outcomes] == [3] * 3
    same(made, tmp_path, three)


def test_all_go_on_from_the_newest_step_of_which_each_has_a_checkpoint(three, tmp_path, monkeypatch):
    """As a process leaves them that was killed between the checkpoints of two pictures."""
    monkeypatch.setattr("tfinvert.runs.recording.CHECKPOINT_SECONDS", 0.0)
    together(tmp_path, stopped=True)
    for path in (tmp_path / "1" / "checkpoints").glob("ckpt-5.*"):
        path.unlink()
    made, outcomes = together(tmp_path, resume=True)
    assert [outcome.steps for outcome in outcomes] == [4] * 3
    same(made, tmp_path, three)


def test_without_checkpoints_of_one_step_all_start_again(three, tmp_path, caplog):
    together(tmp_path, stopped=True)
    shutil.rmtree(tmp_path / "2")
    made, outcomes = together(tmp_path, resume=True)
    assert [outcome.steps for outcome in outcomes] == [8] * 3
    assert "no checkpoints of the same step" in caplog.text
    same(made, tmp_path, three)


def test_one_of_several_can_go_on_alone(three, tmp_path):
    together(tmp_path, stopped=True)
    alone, run = optimization(TARGETS[1]), directory(tmp_path / "1")
    assert drive(alone, 8, 2, run, resume=True).steps == 3
    np.testing.assert_allclose(alone.image(), three[1][1], atol=1e-6)


def test_where_the_loss_of_one_is_not_finite_the_others_are_finished(tmp_path):
    wild = optimization(optimizer=keras.optimizers.SGD(float("inf")))
    runs = [directory(tmp_path / name) for name in ("wild", "tame")]
    failed, finished = drive_together([Driven(wild, runs[0]), Driven(optimization(), runs[1])], 8, 2)
    assert isinstance(failed.error, NonFiniteLossError)
    assert "the loss is" in runs[0].read_info()["stopped"]
    assert finished.error is None
    assert "stopped" not in runs[1].read_info()
    assert [line["step"] for line in runs[1].read_metrics()] == [0, 2, 4, 6, 8]
    assert len(failed.lines) < 5
