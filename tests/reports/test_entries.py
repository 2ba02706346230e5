"""Runs as the report reads them."""

import math

import pytest

from tests.reports.conftest import made
from tfinvert.reports.entries import Entry, read_run


def test_what_a_run_directory_holds(tmp_path):
    run = read_run(made(tmp_path / "q3.3", psnr=11.0, loss=[8.0, 6.0, 4.0], layers=("conv3_1", "fc6"), rate=0.01))
    assert (run.name, run.layers, run.label()) == ("q3.3", ["conv3_1", "fc6"], "vgg16-bn conv3_1+fc6")
    assert run.steps() == [0, 1000, 2000]
    assert run.values("psnr") == [7, 8, 9]
    assert run.feature_loss() == [8.0, 6.0, 4.0]
    assert math.isnan(run.values("tv")[0])
    assert run.result["psnr"] == 11.0
    assert run.directory.final.is_file()


@pytest.mark.parametrize(
    ("settings", "text", "number"),
    [({}, "0.01", 0.01), ({"learning_rate": 0.5}, "0.01", 0.5), ({"learning_rate": "x"}, "0.01", 0), (5, "0.01", 0.01)],
)
def test_a_number_is_the_preset_s_and_a_text_the_user_s(settings, text, number, tmp_path):
    entry = made(tmp_path / "q1", psnr=11.0, loss=[8.0, 6.0], rate=0.01)
    directory = read_run(entry).directory
    directory.write_info({**directory.read_info(), "settings": settings})
    run = read_run(entry)
    assert (run.setting("learning_rate"), run.number("learning_rate")) == (text, number)
    assert (run.setting("momentum"), run.number("momentum")) == ("", 0.0)


def test_a_folder_that_is_not_there_is_empty(tmp_path):
    run = read_run(Entry(tmp_path / "missing", "missing"))
    assert (run.info, run.flags, run.metrics, run.result, run.layers, run.label()) == ({}, {}, [], {}, [], "? ")
    assert run.feature_loss() == run.steps() == []
