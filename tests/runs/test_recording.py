"""The record of an optimization in a run directory: lines, images, checkpoints, signals, callbacks, progress."""

import functools
import io
import os
import shutil
import signal
import sys
import time
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfinvert.images import files as images
from tfinvert.images.parameterizations import parameterization
from tfinvert.objectives import terms
from tfinvert.optimization.solver import Solver
from tfinvert.optimization.state import Problem, current_image, init
from tfinvert.runs.checkpoints import Checkpoints
from tfinvert.runs.directory import RunDirectory
from tfinvert.runs.recording import Recording, record
from tfinvert.system.errors import DiskError, InputError, NonFiniteLossError
from tfinvert.system.signals import Interrupted

START = np.random.default_rng(0).uniform(0.3, 0.7, (1, 8, 8, 3)).astype(np.float32)


def solver(*targets, optimizers=()):
    """A solver with a problem for each target, or for the target 0.2."""

    def model(image, training=False):
        return {"f": image**2}

    adam = functools.partial(keras.optimizers.Adam, 0.01)
    problems = [
        Problem(
            model, tuple(terms.match({"f": tf.fill((1, 8, 8, 3), target)}, loss="mse")), parameterization("clip", (8, 8)), made
        )
        for target, made in zip(targets or (0.2,), optimizers or [adam] * 3, strict=False)
    ]
    return Solver(problems, [init(problem, START) for problem in problems])


def images_of(made):
    return [current_image(*pair) for pair in zip(made.problems, made.states, strict=True)]


def recorded(made, steps, save_every, run=None, *, measure=lambda snapshot: {}, **settings):
    """The outcome of a solver with one problem."""
    (outcome,) = record(made, [Recording(run, measure)], steps, save_every, **settings)
    return outcome


def directory(path):
    run = RunDirectory(path)
    run.create("--steps=8\n", {}, resume=path.exists())
    return run


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


TARGETS = (0.2, 0.4, 0.6)


def together(path, resume=False, stopped=False):
    """Three problems that step together, each in a directory of its own; `stopped` by a signal in step 5."""

    def stop(snapshot):
        if stopped and snapshot.step == 4:
            os.kill(os.getpid(), signal.SIGTERM)
        return {}

    made = solver(*TARGETS)
    first, *others = (directory(path / str(number)) for number in range(len(TARGETS)))
    return made, record(made, [Recording(first, stop), *map(Recording, others)], 8, 2, resume=resume)


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs")
    made, outcomes = together(path)
    assert [outcome.error for outcome in outcomes] == [None] * 3
    return path, images_of(made)


def same(made, path, three):
    for number, image in enumerate(images_of(made)):
        np.testing.assert_array_equal(image, three[1][number])
        kept, whole = (RunDirectory(where / str(number)) for where in (path, three[0]))
        assert kept.read_metrics() == whole.read_metrics()
        assert list(kept.step_images()) == list(whole.step_images()) == [0, 2, 4, 6, 8]
        assert [p.read_bytes() for p in kept.step_images().values()] == [p.read_bytes() for p in whole.step_images().values()]


def test_each_of_several_has_what_it_would_have_alone(three, tmp_path):
    for number, target in enumerate(TARGETS):
        alone = solver(target)
        recorded(alone, 8, 2, directory(tmp_path / str(number)))
        np.testing.assert_allclose(images_of(alone)[0], three[1][number], atol=1e-6)
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
    """As a process leaves them that was killed between the checkpoints of two images."""
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
    alone, run = solver(TARGETS[1]), directory(tmp_path / "1")
    assert recorded(alone, 8, 2, run, resume=True).steps == 3
    np.testing.assert_allclose(images_of(alone)[0], three[1][1], atol=1e-6)


def test_where_the_loss_of_one_is_not_finite_the_others_are_finished(tmp_path):
    wild, tame = (functools.partial(keras.optimizers.SGD, rate) for rate in (float("inf"), 0.01))
    runs = [directory(tmp_path / name) for name in ("wild", "tame")]
    failed, finished = record(solver(0.2, 0.2, optimizers=[wild, tame]), list(map(Recording, runs)), 8, 2)
    assert isinstance(failed.error, NonFiniteLossError)
    assert "the loss is" in runs[0].read_info()["stopped"]
    assert finished.error is None
    assert "stopped" not in runs[1].read_info()
    assert [line["step"] for line in runs[1].read_metrics()] == [0, 2, 4, 6, 8]
    assert len(failed.lines) < 5


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


def test_a_callback_of_one_ends_them_all():
    outcomes = record(solver(*TARGETS), [Recording(), Recording(on_step=lambda snapshot: True), Recording()], 8, 2)
    assert [(outcome.steps, len(outcome.lines)) for outcome in outcomes] == [(1, 1)] * 3


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
