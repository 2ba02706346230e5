"""Charts as images and as SVG."""

import re
import warnings

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
    (svg,) = charts.lines({"<b>": ([0, 10, 20], [1.0, float("nan"), -2.0]), "other": ([0], [3.0])}, "loss", log=True)
    head = re.match(r"<svg[^>]*>", svg)[0]
    assert "width=" not in head
    assert "viewBox" in head
    assert "currentColor" in svg
    assert "<b>" not in svg
    assert charts.lines({"a": ([0], [1.0])}, "y") == charts.lines({"a": ([0], [1.0])}, "y")


def test_bars_have_their_values():
    svg = charts.bars(["first", "second"], [12.345, 0.5], "PSNR (dB)")
    assert ">12.3<" in svg
    assert ">0.5<" in svg
    assert svg.index(">first<") < svg.index(">second<")


def test_bars_of_one_name_are_both_there():
    svg = charts.bars(["conv3_1", "conv3_1"], [12.345, 0.5], "PSNR (dB)")
    assert svg.count(">conv3_1<") == 2
    assert ">12.3<" in svg
    assert ">0.5<" in svg


def test_bars_have_whiskers():
    assert charts.bars(["a", "b"], [2.0, 1.0], "x", [0.5, 0.0]) != charts.bars(["a", "b"], [2.0, 1.0], "x")


LONG = "a photograph with a name that is far longer than any chart is wide " * 3


@pytest.mark.parametrize("name", ["photograph", LONG, "\u732b \U0001f431", "_hidden", "$\\frac$", "many\nlines\n" * 20])
def test_charts_of_many_runs_warn_nobody_and_show_each(name, recwarn):
    """Eight images and three layers are 24 runs. Matplotlib warns where a legend leaves no room for the axes."""
    warnings.simplefilter("always")
    curves = {f"{number} {name}": ([0, 10], [1.0, 1.0 + number]) for number in range(24)}
    parts = charts.lines(curves, "PSNR (dB)")
    assert len(parts) == 3
    bars = charts.bars(list(curves), list(range(24)), "PSNR (dB)", [1.0] * 24)
    for number in range(24):
        assert f">{number} " in parts[number // 8]
        assert f">{number} " in bars
    assert [str(warning.message) for warning in recwarn] == []


def test_charts_of_one_section_have_the_same_axes():
    curves = {str(number): ([0, 10], [1.0, 10.0 * number]) for number in range(1, 11)}
    first, second = (re.findall(r">([\d.]+)</text>", part) for part in charts.lines(curves, "y"))
    assert "100" in first
    assert "100" in second


def test_a_run_of_many_terms_has_curves_without_a_warning(run, recwarn):
    warnings.simplefilter("always")
    for step in (0, 10):
        line = {f"{number}/a_layer_with_a_long_name_{number}": 1.0 for number in range(40)}
        run.append_metrics({"step": step, "loss": 3.0, "learning_rate": 0.1, **line})
    charts.write_curves(run)
    assert run.curves.is_file()
    assert [str(warning.message) for warning in recwarn] == []
