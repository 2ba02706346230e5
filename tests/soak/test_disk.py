"""A disk that fills up."""

import keras
import numpy as np
import pytest

from tests.soak.disk import CannotTryError, Rig, fill, tmpfs
from tests.soak.programs import PLAIN
from tfinvert.decoders.callbacks import WriteScalars
from tfinvert.runs import tensorboard
from tfinvert.runs.directory import RunDirectory


@pytest.mark.slow
def test_a_run_on_a_full_disk_ends_with_a_line_and_goes_on(runs):
    try:
        assert Rig(runs).full_disk(PLAIN).startswith("tfinvert: ")
    except CannotTryError as error:
        pytest.skip(str(error))


def write_events_of_a_run(disk, steps):
    image = np.zeros((1, 8, 8, 3), np.float32)
    with tensorboard.writer(RunDirectory(disk)) as log:
        for step in steps:
            log({"step": step, "loss": 1.0}, image)


def write_events_of_a_training(disk, steps):
    scalars = WriteScalars(str(disk / "tensorboard"), write_graph=False)
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    scalars.set_model(model)
    for step in steps:
        scalars.on_epoch_end(step, {"loss": 1.0})


def until_full(disk):
    yield 0
    fill(disk / "filler")
    yield from range(1, 2000)


@pytest.mark.parametrize("write_events", [write_events_of_a_run, write_events_of_a_training])
def test_events_for_tensorboard_on_a_full_disk_are_an_error_of_the_disk(write_events, tmp_path):
    try:
        with tmpfs(tmp_path / "disk", megabytes=1) as disk, pytest.raises(OSError, match="No space left on device") as caught:
            write_events(disk, until_full(disk))
    except CannotTryError as error:
        pytest.skip(str(error))
    assert caught.value.strerror == "No space left on device"
