"""Sentences that come from figures: other figures give other sentences."""

import json

import pytest

from tests.reports.conftest import made
from tfinvert.reports import answers, page
from tfinvert.reports.entries import Entry, Run, read_run


def written(folder, entries):
    """The content of report.json."""
    page.write(folder, "Test", entries)
    return json.loads((folder / "report.json").read_text())


def test_answers_follow_from_the_figures(tmp_path, entries):
    report = written(tmp_path, entries)
    q1, q2, q3, q4 = report["answers"].values()
    assert "0.01 ends with the lowest feature loss, 0.1, and 30.0 dB" in q1
    assert "1 x the sum: 10.0 dB, 0.10% of the start's total variation left" in q2
    assert "below the 12.0 dB without" in q2
    assert "Flat images (under 1 % of the start's variation): q2.1" in q2
    assert q3.startswith("conv1_1: 40.0 dB; conv3_1: 12.0 dB; pool5: 9.0 dB; conv3_1+fc6: 11.0 dB.")
    assert "The deeper the layer, the less" in q3
    assert "conv3_1+fc6 is 1.0 dB below conv3_1 alone" in q3
    assert "72.0 steps/s, 4.0 times the baseline's" in q4
    assert "The highest PSNR is vgg16-bn conv3_1's" in q4
    by_name = {run["name"]: run["answer"] for run in report["runs"]}
    assert "18.0 dB above the baseline" in by_name["q1"]
    assert "the baseline's final feature loss by step 1000 (of 2000)" in by_name["q1"]
    assert "2.0 dB below the baseline" in by_name["q2.1"]
    assert "never reaches the baseline's final feature loss" in by_name["q2.1"]


def test_other_figures_give_other_answers(tmp_path):
    entries = [
        made(tmp_path / "baseline", psnr=25.0, loss=[8.0, 0.5, 0.1]),
        made(tmp_path / "q1", psnr=20.0, loss=[8.0, 5.0, 4.0], rate=0.01),
        made(tmp_path / "q3.1", psnr=15.0, loss=[8.0, 6.0, 5.0], layers=("conv1_1",)),
        made(tmp_path / "q4", psnr=31.0, loss=[8.0, 4.0, 1.0], network="resnet18", layers=("res2",), speed=9.0),
    ]
    q1, q3, q4 = written(tmp_path, entries)["answers"].values()
    assert "0.001 ends with the lowest feature loss, 0.1, and 25.0 dB" in q1
    assert "PSNR does not fall with every layer" in q3
    assert "0.5 times the baseline's" in q4
    assert "The highest PSNR is resnet18 res2's" in q4


def test_the_baseline_is_not_compared_with_itself(entries):
    runs = [read_run(entry) for entry in entries]
    text = answers.answer_run(runs[0], runs)
    assert text == "vgg16-bn conv3_1 ends at 12.0 dB, SSIM 0.500, with a normalized feature error of 0.2."
    assert answers.find_baseline(runs) is runs[0]
    assert answers.find_baseline(runs[1:]) is None


def test_a_difference_that_the_page_does_not_show_is_none(tmp_path):
    pair = [made(tmp_path / name, psnr=psnr, loss=[8.0, 1.0]) for name, psnr in (("baseline", 12.0), ("q1", 12.04))]
    runs = [read_run(entry) for entry in pair]
    assert "That is the baseline's PSNR." in answers.answer_run(runs[1], runs)


def test_runs_of_other_layers_are_compared_by_psnr_alone(entries):
    runs = {entry.name: read_run(entry) for entry in entries}
    text = answers.answer_run(runs["q3.1"], list(runs.values()))
    assert "28.0 dB above the baseline" in text
    assert "final feature loss" not in text


def test_the_schedule_that_a_preset_chose_is_named(tmp_path):
    constant = read_run(made(tmp_path / "baseline", psnr=12.0, loss=[8.0, 4.0]))
    chosen = read_run(made(tmp_path / "q1", psnr=20.0, loss=[8.0, 1.0]))
    chosen.flags.pop("schedule")
    chosen.info["settings"] = {"schedule": "cosine", "learning_rate": 0.1}
    assert "q1 (cosine from 0.1) goes further, to 1 and 20.0 dB" in answers.answer_learning_rate([constant, chosen])


@pytest.mark.parametrize("metrics", [[], [{"step": 0, "loss": 1.0}]])
def test_a_run_that_has_not_ended_has_no_figures(metrics, tmp_path):
    run = Run(Entry(tmp_path, "q1"), {"layers": {"conv3_1": {}}, "result": {"psnr": 3.0}}, {}, metrics)
    assert run.result == {}
    assert answers.answer_run(run, [run]) == "No figures: the run has not ended."
