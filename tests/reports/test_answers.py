"""Sentences that come from figures: other figures give other sentences."""

import dataclasses
import json

import pytest

from tests.reports.conftest import made
from tfinvert.reports import answers, judging, page
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
    assert "All of them are below the 12.0 dB without" in q2
    assert "Flat images (under 1 % of the start's variation): q2.1" in q2
    assert q3.startswith("conv1_1: 40.0 dB; conv3_1: 12.0 dB; pool5: 9.0 dB; conv3_1+fc6: 11.0 dB.")
    assert "The deeper the layer, the less" in q3
    assert "PSNR does not tell conv3_1+fc6 from conv3_1 alone" in q3  # 11.0 and 12.0 dB
    assert "conv3_1+fc6 is" not in q3
    assert q3.endswith("No nearer to the image than an even color: q3.2.")
    assert "72.0 steps/s, 4.0 times the baseline's" in q4
    assert "PSNR does not tell these apart, which have the highest: vgg16-bn conv3_1, resnet18 res2." in q4
    by_name = {run["name"]: run["answer"] for run in report["runs"]}
    assert "18.0 dB above the baseline" in by_name["q1"]
    assert "the baseline's final feature loss by step 1000 (of 2000)" in by_name["q1"]
    assert "2.0 dB below the baseline" in by_name["q2.1"]
    assert "no nearer to the image than an even color, which has up to 10.8 dB" in by_name["q2.1"]
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
    assert "PSNR does not fall with every layer: it rises from conv1_1 to conv3_1" in q3
    assert "0.5 times the baseline's" in q4
    assert "The highest PSNR is that of resnet18 res2, 31.0 dB" in q4


def test_the_baseline_is_not_compared_with_itself(entries):
    runs = [read_run(entry) for entry in entries]
    text = answers.answer_run(runs[0], runs)
    assert text == "vgg16-bn conv3_1 ends at 12.0 dB, SSIM 0.500, with a normalized feature error of 0.2."
    assert answers.find_baseline(runs) is runs[0]
    assert answers.find_baseline(runs[1:]) is None


@pytest.mark.parametrize(("psnr", "difference"), [(12.04, None), (12.9, None), (10.0, None), (13.2, "1.2 dB above")])
def test_a_difference_that_another_seed_would_make_is_none(psnr, difference, tmp_path):
    pair = [made(tmp_path / name, psnr=psnr, loss=[8.0, 1.0]) for name, psnr in (("baseline", 11.5), ("q1", psnr))]
    pair[0] = made(tmp_path / "0" / "baseline", psnr=12.0 if psnr > 11 else 9.0, loss=[8.0, 1.0])
    runs = [read_run(entry) for entry in pair]
    text = answers.answer_run(runs[1], runs)
    assert (f"That is {difference} the baseline" in text) == (difference is not None)
    assert ("PSNR does not tell it from the baseline" in text) == (difference is None)


def test_the_spread_over_restarts_is_what_another_seed_may_make(tmp_path):
    runs = []
    for name, psnr in (("baseline", 20.0), ("q1", 22.0)):
        run = read_run(made(tmp_path / name, psnr=psnr, loss=[8.0, 1.0]))
        run.info["result"]["restarts"] = [{"psnr": psnr - 2}, {"psnr": psnr}, {"psnr": psnr - 1}]
        runs.append(run)
    assert judging.spread(runs[0]) == pytest.approx(4.302653 * 2**0.5, rel=1e-5)
    assert not judging.differ(*runs)
    assert "PSNR does not tell it from the baseline" in answers.answer_run(runs[1], runs)
    for run in runs:
        del run.info["result"]["restarts"]
    assert judging.differ(*runs)


def test_noise_says_nothing_about_depth(tmp_path):
    """Four images of noise, whose PSNR happens to fall with depth, below that of an even grey."""
    layers = ("conv1_1", "conv3_1", "pool4", "pool5")
    group = [
        read_run(made(tmp_path / layer, psnr=psnr, loss=[8.0, 4.0], layers=(layer,), steps=60))
        for layer, psnr in zip(layers, (7.8, 7.7, 7.6, 7.4), strict=True)
    ]
    text = answers.answer_section(answers.answer_depth(group), group)
    assert "PSNR does not tell these layers apart." in text
    assert "The deeper" not in text
    assert "cut short, whose images were still on their way: conv1_1 (60 of 400 steps)" in text
    assert "No nearer to the image than an even color: conv1_1, conv3_1, pool4, pool5." in text


@pytest.mark.parametrize(
    ("psnr", "sentence"),
    [
        ((40.0, 30.0, 9.0, 8.0), "The deeper the layer, the less of the image comes back."),
        ((40.0, 30.0, 29.5, 20.0), "Less comes back from pool5 than from conv1_1; not every layer differs from the next."),
        ((40.0, 30.0, 31.5, 20.0), "PSNR does not fall with every layer: it rises from conv3_1 to pool4."),
        ((12.0, 11.8, 11.9, 11.5), "PSNR does not tell these layers apart."),
    ],
)
def test_what_depth_does(psnr, sentence, tmp_path):
    layers = ("conv1_1", "conv3_1", "pool4", "pool5")
    pairs = zip(layers, psnr, strict=True)
    group = [read_run(made(tmp_path / layer, psnr=value, loss=[8.0, 4.0], layers=(layer,))) for layer, value in pairs]
    assert sentence in answers.answer_depth(group)


@pytest.mark.parametrize(
    ("more", "usual", "reason"),
    [
        ({}, None, ""),
        ({}, 2000, "60 of 2000 steps"),
        ({"stopped": "at step 60 of 400"}, None, "at step 60 of 400"),
        ({"settings": {"steps": 60}}, None, ""),  # the preset chose them
        ({"layers": {"conv3_1": {"stride": [4, 4], "receptive_field": [24, 24]}}}, None, "60 of 400 steps"),
        ({"layers": {"conv3_1": {"stride": [2, 2], "receptive_field": [24, 24]}}}, None, "60 of 200 steps"),
    ],
)
def test_a_run_that_was_cut_short_is_called_so(more, usual, reason, tmp_path):
    entry = made(tmp_path / "q1", psnr=20.0, loss=[8.0, 1.0], steps=60, layers=("conv3_1",))
    directory = read_run(entry).directory
    directory.write_info({**directory.read_info(), **({"settings": {"steps": 60}} if not (more or usual) else {}), **more})
    run = read_run(dataclasses.replace(entry, usual_steps=usual))
    assert run.cut_short() == reason
    assert ("It was cut short" in answers.answer_run(run, [run])) == bool(reason)


def test_rates_that_end_with_nearly_the_same_loss_are_not_told_apart(tmp_path):
    group = [
        read_run(made(tmp_path / name, psnr=20.0, loss=[8.0, loss], rate=rate))
        for name, loss, rate in (("baseline", 1.0, 0.001), ("q1", 0.8, 0.01))
    ]
    assert answers.answer_learning_rate(group).startswith("None of the constant rates (0.01, 0.001) is clearly ahead")


def test_runs_of_other_images_are_not_compared_with_the_baseline(tmp_path):
    pair = [
        read_run(made(tmp_path / name, psnr=psnr, loss=[8.0, 1.0], image_sha256=name))
        for name, psnr in (("baseline", 12.0), ("q1", 30.0))
    ]
    assert answers.answer_run(pair[1], pair).endswith("The baseline has another image.")


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
