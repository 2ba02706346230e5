"""The record of optimizations that step together, each in a run directory of its own."""

import functools
import os
import shutil
import signal

import keras
import numpy as np
import pytest

from tests.runs.recorded import directory, images_of, recorded, solver
from tfinvert.runs.directory import RunDirectory
from tfinvert.runs.recording import Recording, record
from tfinvert.system.errors import NonFiniteLossError
from tfinvert.system.signals import Interrupted

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


def test_a_callback_of_one_ends_them_all():
    outcomes = record(solver(*TARGETS), [Recording(), Recording(on_step=lambda snapshot: True), Recording()], 8, 2)
    assert [(outcome.steps, len(outcome.lines)) for outcome in outcomes] == [(1, 1)] * 3
