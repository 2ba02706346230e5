"""What is read from run directories that are damaged, forged, or of an older version."""

import json
import os

import pytest

from tfinvert.runs import reading


@pytest.mark.parametrize("content", ["[]", "5", "[" * 10**5, '{"network": "\\ud800"}', "{", "\xff"])
def test_a_run_json_that_is_none_is_empty(content, tmp_path):
    (tmp_path / "run.json").write_text(content)
    assert reading.read_info(tmp_path / "run.json") == {}


def test_what_has_another_type_in_run_json_is_left_out(tmp_path):
    info = {"network": 5, "layers": {"a": {"receptive_field": "x"}}, "result": [], "settings": 1, "weights": "w", "seed": 3}
    (tmp_path / "run.json").write_text(json.dumps(info))
    assert reading.read_info(tmp_path / "run.json") == {"weights": "w", "seed": 3}


@pytest.mark.parametrize("layer", [5, {"receptive_field": [1]}, {"receptive_field": [1, "x"]}, {"receptive_field": 3}])
def test_layers_of_which_one_is_damaged_are_left_out(layer, tmp_path):
    good = {"receptive_field": [3, 3]}
    (tmp_path / "run.json").write_text(json.dumps({"layers": {"a": good, "b": {"receptive_field": None}}}))
    assert list(reading.read_info(tmp_path / "run.json")["layers"]) == ["a", "b"]
    (tmp_path / "run.json").write_text(json.dumps({"layers": {"a": good, "b": layer}}))
    assert reading.read_info(tmp_path / "run.json") == {}


def test_lines_of_metrics_that_are_none_are_left_out(tmp_path):
    good = {"step": 3, "loss": 0.5}
    bad = [{"step": True}, {"step": -1}, {"loss": 1.0}, {"step": 1, "loss": "x"}, {"step": 1, "loss": float("nan")}]
    bad += [{"step": 1, "loss": 10**400}, {"step": 1, "a\n": 1}, {"step": 1, **{str(n): n for n in range(6000)}}, [], 5]
    path = tmp_path / "metrics.jsonl"
    path.write_text("\n".join(json.dumps(line) for line in [good, *bad]) + "\n{\n" + "[" * 10**5)
    assert reading.read_metrics(path) == [good]


def test_what_may_never_end_is_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    for name in ("pipe", "zero", "nowhere"):
        assert reading.read_info(tmp_path / name) == {}
        assert reading.read_metrics(tmp_path / name) == []
        assert reading.read_flags(tmp_path / name) == {}


def test_flags_are_read_in_todays_form(tmp_path):
    (tmp_path / "run.flags").write_text("--experiment=invert\n--steps=0\n--tv_weight=0.1\n")
    expected = {"experiment": "invert", "tv_weight": "0.1", "resize": "squash", "beta_2": "0.999"}
    assert reading.read_flags(tmp_path / "run.flags") == expected


@pytest.mark.parametrize("value", ["1", None, True, float("inf"), float("nan"), 10**400, [1], -1e300])
def test_only_finite_numbers_of_a_usual_size_are_numbers(value):
    assert not reading.is_number(value)
    assert reading.number({"psnr": value}, "psnr") != reading.number({"psnr": value}, "psnr")  # NaN


def test_numbers_are_numbers():
    assert reading.number({"psnr": 12}, "psnr") == 12.0
    assert reading.is_number(-2.5)


def test_restarts_were_called_starts():
    each = [{"psnr": 1.0}, {"psnr": 2.0}]
    assert reading.restarts({"restarts": each}) == reading.restarts({"starts": each}) == each
    assert reading.restarts({}) == reading.restarts({"starts": [5]}) == reading.restarts({"starts": 5}) == []
