"""An optimisation into a run directory: lines, pictures, checkpoints, signals."""

import os
import signal

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfinvert import terms
from tfinvert.drive import drive
from tfinvert.errors import InputError
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

    with pytest.raises(Interrupted):
        drive(optimization(), 8, 2, run, part="a", before=100, extra=stop)
    assert run.read_info()["stopped"] == "at step 105"
    made = optimization()
    outcome = drive(made, 8, 2, run, part="a", before=100, resume=True, extra=lambda snapshot: {"scale": 3})
    assert outcome.steps == 3
    np.testing.assert_array_equal(made.image(), whole[1])
    assert run.read_metrics() == whole[0].read_metrics()
    # Finished: resuming it once more changes nothing.
    drive(optimization(), 8, 2, run, part="a", before=100, resume=True, extra=lambda snapshot: {"scale": 3})
    assert run.read_metrics() == whole[0].read_metrics()


def test_a_damaged_checkpoint_is_the_user_s_to_remove(tmp_path):
    run = directory(tmp_path / "run")
    drive(optimization(), 2, 1, run)
    for path in run.checkpoints.glob("ckpt-*"):
        path.write_bytes(b"no checkpoint")
    with pytest.raises(InputError, match="cannot be read"):
        drive(optimization(), 4, 1, run, resume=True)
