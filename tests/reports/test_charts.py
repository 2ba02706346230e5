"""Charts as images and as SVG."""

import re

import pytest
from PIL import Image

from tfinvert.reports import charts
from tfinvert.runs.directory import RunDirectory


@pytest.fixture
def run(tmp_path):
    run = RunDirectory(tmp_path)
    run.create("", {}, resume=False)
    return run


@pytest.mark.parametrize("more", [{}, {"psnr": 9.0}, {"psnr": 9.0, "conv3_1": 1.0, "$\\frac$": 2.0}])
@pytest.mark.parametrize("loss", [1.0, -1.0])
def test_the_curves_of_a_run_are_an_image(loss, more, run):
    for step in (0, 10):
        run.append_metrics({"step": step, "loss": loss, "learning_rate": 0.1, **more})
    charts.write_curves(run)
    with Image.open(run.curves) as opened:
        assert opened.size == (1300, 380)


def test_without_lines_there_are_no_curves(run):
    run.append_metrics({"step": 0})
    charts.write_curves(run)
    assert not run.curves.exists()


def test_the_same_curves_give_the_same_file(run):
    run.append_metrics({"step": 0, "loss": 1.0, "learning_rate": 0.1})
    charts.write_curves(run)
    first = run.curves.read_bytes()
    charts.write_curves(run)
    assert run.curves.read_bytes() == first


def test_two_curves_and_their_gap_are_an_image(tmp_path):
    charts.write_two_curves(tmp_path / "a.png", {"one": [3.0, 2.0], "two": [3.0, 1.9]})
    with Image.open(tmp_path / "a.png") as opened:
        assert opened.size == (800, 640)


def test_lines_are_svg_that_takes_the_page_s_size_and_color():
    svg = charts.lines({"<b>": ([0, 10, 20], [1.0, float("nan"), -2.0]), "other": ([0], [3.0])}, "loss", log=True)
    head = re.match(r"<svg[^>]*>", svg)[0]
    assert "width=" not in head
    assert "viewBox" in head
    assert "currentColor" in svg
    assert "<b>" not in svg
    assert charts.lines({"a": ([0], [1.0])}, "y") == charts.lines({"a": ([0], [1.0])}, "y")


def test_bars_have_their_values():
    svg = charts.bars({"first": 12.345, "second": 0.5}, "PSNR (dB)")
    assert ">12.3<" in svg
    assert ">0.5<" in svg
    assert svg.index(">first<") < svg.index(">second<")
