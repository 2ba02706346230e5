"""What a page shows of runs that are no inversions: images, figures, tables, and the table of any runs."""

import json

import numpy as np
import pytest

from tests.reports.conftest import made
from tfinvert.images import files as images
from tfinvert.reports import captions, others, page
from tfinvert.reports.entries import Entry, read_run
from tfinvert.runs import reading
from tfinvert.runs.directory import RunDirectory

COMPARISON = {
    "network": "resnet18",
    "weights": "random",
    "layers": ["res1"],
    "loss_gap": 0.001,
    "feature_difference": {"res1": 1e-6},
    "tensorflow": {"psnr": 30.0, "loss": [1.0, 0.5], "steps_per_second": 9.0},
    "pytorch": {"psnr": 29.9, "loss": [1.0, 0.5], "variants": {"eager": {"steps_per_second": 3.0}}},
}
DIAGNOSIS = {
    "network": "vgg16-bn",
    "weights": "random",
    "image": "chelsea",
    "answer": "The port differs from the reference, first in losses. Adam's epsilon is <1e-07>.",
    "agrees": False,
    "findings": [{"cause": "Adam's epsilon is <1e-07>.", "where": "losses", "before": 0.1, "after": 1e-6}],
    "differences": [{"name": "losses", "size": 0.1, "tolerance": 1e-4, "differs": True}],
}


def run_of(experiment, folder, **result):
    """A run of another experiment, with its figures."""
    run = RunDirectory(folder)
    info = {"experiment": experiment, "network": "alexnet", "weights": "random", "result": result}
    run.create(f"--experiment={experiment}\n", info, resume=False)
    return run


def write_image(path, value=0.5):
    images.save(path, np.full((16, 16, 3), value))


def test_any_runs_have_one_table(tmp_path, entries):
    run_of("fool", tmp_path / "fool", seconds=2.0, classes=[{"name": "cat"}])
    runs = [read_run(entry) for entry in (entries[0], Entry(tmp_path / "fool", "fool"))]
    found = others.overview(runs)
    assert found["columns"][:4] == ["run", "experiment", "network", "layers"]
    first, second = ([*row] for row in found["rows"])
    assert first[:4] == ["baseline", "invert", "vgg16-bn", "conv3_1"]
    assert second[:4] == ["fool", "fool", "alexnet", ""]
    assert first[found["columns"].index("PSNR (dB)")] == "12"
    assert second[found["columns"].index("PSNR (dB)")] == ""
    assert second[found["columns"].index("time (s)")] == "2"


@pytest.mark.parametrize("count", [0, 1, 2])
def test_inversions_alone_and_single_runs_have_no_such_table(count, entries):
    assert others.overview([read_run(entry) for entry in entries[:count]]) is None


def test_the_last_step_is_not_shown_beside_the_result(tmp_path):
    run = run_of("style", tmp_path)
    for step in (0, 10, 20):
        write_image(run.image_path(step))
    shown = read_run(Entry(tmp_path, "style"))
    assert [[caption for _, caption in row] for row in others.images(shown)] == [["step 0", "step 10", "step 20"]]
    write_image(run.final)
    assert [[caption for _, caption in row] for row in others.images(shown)] == [["step 0", "step 10", "result"]]


SEEN = {"name": "tabby", "probability": 0.42}
ATTACKS = [{"target": name, "probability_after": 0.5, "steps": 3, "largest_change": 2} for name in ("gorilla", "oboe")]


@pytest.mark.parametrize(
    ("experiment", "stem", "more", "expected"),
    [
        ("saliency", "01-image", {"image": "a.png, b/chelsea.png", "result": {"classes": [SEEN, SEEN]}}, "chelsea: tabby 42 %"),
        ("saliency", "00-grad_cam-overlay", {}, "Grad-CAM, overlay"),
        ("fool", "01-fooled", {"result": {"targets": ATTACKS}}, "oboe 50 %, 3 steps, largest change 2/255"),
        ("fool", "01-fooled", {"result": {"targets": ["damaged"]}}, "fooled"),
        ("fool", "01-fooled", {"result": {"targets": ATTACKS[:1]}}, "fooled"),
        ("fool", "00-difference", {}, "difference"),
        ("fool", "00-difference-x10", {}, "difference x 10"),
        ("compare", "difference", {}, "TensorFlow - PyTorch"),
        (
            "class_vis",
            "class-00",
            {"result": {"targets": [{"target": "conv5, channel 3", "score": 2.5}]}},
            "conv5, channel 3: score 2.5",
        ),
        ("style", "style-1", {"style_images": {"a.jpg": "", "b/starry_night.jpg": ""}}, "style: starry_night"),
        ("style", "style-7", {"style_images": {}}, "style 7"),
    ],
)
def test_images_are_named_by_what_they_show(experiment, stem, more, expected):
    assert captions.caption(stem, {"experiment": experiment, **more}) == expected


def test_what_belongs_together_is_in_one_row_behind_the_target(tmp_path):
    run = run_of("fool", tmp_path, targets=ATTACKS)
    write_image(run.target)
    for number in range(2):
        for name in ("fooled", "difference"):
            write_image(run.images / f"{number:02d}-{name}.png")
    rows = others.images(read_run(Entry(tmp_path, "fool")))
    assert [[path.stem for path, _ in row] for row in rows] == [
        ["target", "00-fooled", "00-difference"],
        ["target", "01-fooled", "01-difference"],
    ]


def test_a_score_that_is_made_large_has_its_curve(tmp_path):
    run = run_of("class_vis", tmp_path)
    for step, loss in enumerate((-1.0, -20.0)):
        run.append_metrics({"step": step, "loss": loss})
    (drawn,) = page._draw(read_run(Entry(tmp_path, "class_vis")))
    assert "10^" not in drawn[1]
    assert "−20" in drawn[1]


@pytest.mark.parametrize(
    ("stem", "expected"),
    [
        ("target-1", "coffee, target"),
        ("res2-1-1", "coffee, res2, decoder"),
        ("res2-0-0", "chelsea, res2, optimization"),
        ("res2-7-9", "7, res2, 9"),
        ("conv-1-2-0-1", "chelsea, conv-1-2, decoder"),
        ("other", "other"),
    ],
)
def test_images_of_decoders_are_named_by_image_layer_and_way(stem, expected):
    rows = [{"image": image, "way": way} for image in ("chelsea", "coffee") for way in ("optimization", "decoder")]
    assert captions.caption(stem, {"experiment": "compare_decoders", "result": {"rows": rows}}) == expected


def test_maps_have_the_bar_of_their_colors(tmp_path):
    run = run_of("saliency", tmp_path)
    for name in ("00-image", "00-gradient", "00-gradient-overlay"):
        write_image(run.images / f"{name}.png")
    html, _ = page.render("Test", [Entry(tmp_path, "saliency")])
    assert html.count('<div class="heat"') == 1


@pytest.mark.parametrize(("name", "content"), [("compare.json", COMPARISON), ("diagnose.json", DIAGNOSIS)])
def test_a_comparison_and_a_diagnosis_have_a_page(name, content, tmp_path):
    (tmp_path / name).write_text(json.dumps(content))
    write_image(tmp_path / "target.png")
    html, figures = page.render("Test", [Entry(tmp_path, "mine")])
    assert "weights: random" in html
    assert "loss gap" in html or "&lt;1e-07&gt;" in html
    assert "<1e-07>" not in html
    assert figures["runs"][0]["network"] == content["network"]


def test_compare_json_is_read_like_a_run_json(tmp_path):
    (tmp_path / "compare.json").write_text(json.dumps(COMPARISON))
    info = reading.read_outcome(tmp_path)
    assert (info["experiment"], info["network"], info["result"]["psnr"]) == ("compare", "resnet18", 30.0)
    assert info["result"]["sides"] == [  # without the losses
        {"side": "TensorFlow", "psnr": 30.0, "steps_per_second": 9.0},
        {"side": "PyTorch, eager", "psnr": 29.9, "steps_per_second": 3.0},
    ]
    assert "layers" not in info


@pytest.mark.parametrize("text", ["", "[]", '{"tensorflow": 3, "findings": "x"}', '{"differences": {"a": 1}}', "\x00"])
@pytest.mark.parametrize("name", reading.OUTCOMES)
def test_damaged_figures_leave_a_page(name, text, tmp_path):
    (tmp_path / name).write_text(text)
    html, _ = page.render("Test", [Entry(tmp_path, "mine")])
    assert "mine" in html


def test_the_inversions_of_a_page_are_told_from_the_others(tmp_path):
    entry = made(tmp_path / "mine", psnr=20.0, loss=[2.0, 1.0])
    run_of("fool", tmp_path / "fool", seconds=2.0)
    html, figures = page.render("Test", [entry, Entry(tmp_path / "fool", "fool")])
    assert '<h2 id="all">All runs</h2>' in html
    assert [run["name"] for run in figures["runs"]] == ["mine", "fool"]
