"""Style transfer on the tiny network and, where it is there, on the real one."""

import itertools
import json
import re
import shutil

import numpy as np
import pytest
from PIL import Image

import tfinvert as package
from tests.conftest import ROOT, tfinvert, tiny_graph, write_onnx
from tests.test_cli import parsed
from tfinvert import cli
from tfinvert.errors import InputError
from tfinvert.images import files as images
from tfinvert.settings.config import StyleConfig

TINY = {
    "side": 24,
    "style_side": 20,
    "layers": ["conv2_1"],
    "style_layers": ["conv1_1", "conv2_1"],
    "style_weights": [10.0, 10.0],
    "content_weight": 1e-3,
    "tv_weight": 1e-5,
    "learning_rate": 0.05,
    "decay_boundaries": [],
    "decay_factors": [],
    "steps": 30,
    "save_every": 10,
}
FLAGS = [f"--{name}={','.join(map(str, value)) if isinstance(value, list) else value}" for name, value in TINY.items()]


@pytest.fixture(scope="module")
def tiny_file(tmp_path_factory):
    return write_onnx(tiny_graph(), tmp_path_factory.mktemp("tiny") / "tiny.onnx")


def test_a_run_lowers_the_loss_and_goes_on_after_being_stopped(tiny_file, tmp_path):
    flags = ["--experiment=style", f"--onnx={tiny_file}", "--image=chelsea", "--style_images=coffee,rocket", *FLAGS]
    flags += ["--scales=2", "--side=40", "--style_side=36"]
    done = tfinvert(*flags, f"--output_dir={tmp_path / 'run'}")
    assert (done.returncode, done.stderr) == (0, "")
    run = tmp_path / "run"
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [(line["scale"], line["step"]) for line in lines] == [
        *((0, step) for step in (0, 10, 20, 30)),
        *((1, step) for step in (31, 41, 51, 61)),
    ]
    for line in lines:
        assert line["loss"] == pytest.approx(1e-3 * line["content"] + line["style"] + 1e-5 * line["tv"], rel=1e-4)
    assert lines[3]["loss"] < lines[0]["loss"]
    assert lines[-1]["loss"] < lines[4]["loss"]
    with Image.open(run / "final.png") as final:
        assert final.size == (60, 40)  # chelsea is 451x300, the longer side rounded down
    assert (run / "sheet.png").exists()
    assert (run / "curves.png").exists()
    result = json.loads((run / "run.json").read_text())["result"]
    assert result["loss_ratio"] < 1

    # The second scale again, from the checkpoint that the first ended with: the same picture.
    again = tmp_path / "again"
    shutil.copytree(run, again)
    for path in (again / "checkpoints" / "scale-1").iterdir():
        path.unlink()
    info = json.loads((again / "run.json").read_text())
    info.pop("result")
    (again / "run.json").write_text(json.dumps(info))
    (again / "final.png").unlink()
    assert cli.execute(["tfinvert", *flags, "--resume", f"--output_dir={again}"]) == 0
    assert (again / "final.png").read_bytes() == (run / "final.png").read_bytes()
    assert (again / "metrics.jsonl").read_text() == (run / "metrics.jsonl").read_text()


def test_style_pictures_count_by_their_weights(tiny_file):
    def found(**settings):
        return package.style("chelsea", network=tiny_file, **{**TINY, "steps": 15, **settings})["image"]

    one = found(style_images=["coffee"])
    nearly_one = found(style_images=["coffee", "rocket"], style_image_weights=[1.0, 1e-9])
    both = found(style_images=["coffee", "rocket"])
    np.testing.assert_allclose(nearly_one, one, atol=1e-4)
    assert np.abs(both - one).max() > 1e-3


def test_the_content_s_color_is_kept(tiny_file):
    settings = {**TINY, "content_weight": 0.0, "steps": 5}
    found = package.style("chelsea", ["coffee"], tiny_file, keep_color=True, **settings)["image"]
    content = images.load("chelsea", found.shape[:2])[0]
    inside = (found > 0).all(axis=-1) & (found < 1).all(axis=-1)  # clipping changes colors
    assert inside.mean() > 0.5
    rest = images.TO_YIQ[1:].T
    np.testing.assert_allclose((found @ rest)[inside], (content @ rest)[inside], atol=1e-4)


def test_inversion_needs_no_style_and_starts_from_noise(tiny_file):
    settings = {**TINY, "style_weights": [0.0, 0.0], "content_weight": 1.0, "steps": 40, "init": "uniform"}
    found = package.style("chelsea", (), tiny_file, **settings)
    assert found["history"][-1]["loss"] < found["history"][0]["loss"] / 3
    assert "style" not in found["history"][0]


def test_lbfgs_never_goes_up(tiny_file):
    found = package.style("chelsea", ["coffee"], tiny_file, **{**TINY, "optimizer": "lbfgs", "save_every": 1})
    losses = [line["loss"] for line in found["history"]]
    assert all(later <= earlier for earlier, later in itertools.pairwise(losses))
    assert losses[-1] < losses[0]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "--style_images is empty"),
        ({"style_weights": (1.0,)}, "--style_weights has 1 numbers for 4 --style_layers"),
        ({"style_layers": ("a", "a", "b", "c")}, "names a layer twice"),
        ({"style_images": ("a",), "style_image_weights": (1.0, 2.0)}, "2 numbers for 1"),
        ({"style_images": ("a",), "side": 4}, "--side is 4"),
        ({"style_images": ("a",), "size": (64, 64)}, "give --side"),
        ({"style_images": ("a",), "layers": ("a", "b")}, "expects one, for the content"),
        ({"style_images": ("a",), "scales": 9}, "cannot be halved"),
        ({"style_images": ("a",), "optimizer": "sgd"}, "unknown --optimizer 'sgd'"),
        ({"style_images": ("a",), "decay_factors": ()}, "0 numbers for 1"),
        ({"style_weights": (0.0,) * 4, "content_weight": 0.0, "tv_weight": 0.0}, "are all 0"),
    ],
)
def test_settings_that_do_not_fit(settings, message):
    with pytest.raises(InputError, match=message):
        StyleConfig(**settings)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--style_images=starry.jpg"], "there is no picture 'starry.jpg'"),
        (["--style_images=coffee", "--style_layers=conv9_9", "--style_weights=1"], "unknown layer 'conv9_9'"),
        (["--style_images=coffee", "--style_weights=1,2,3"], "--style_weights has 3 numbers for 2 --style_layers"),
        ([], "--style_images is empty"),
    ],
)
def test_mistakes_are_answered_before_anything_is_written(flags, message, tiny_file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=re.escape(message)):
        cli.execute(["tfinvert", "--experiment=style", f"--onnx={tiny_file}", *FLAGS, *flags])
    assert list(tmp_path.iterdir()) == []


COURSE = {
    "style-composition": (192, 512, 5e-2, (20000.0, 500.0, 12.0, 1.0), 5e-2, "content"),
    "style-scream": (192, 224, 3e-2, (200000.0, 800.0, 12.0, 1.0), 2e-2, "content"),
    "style-starry": (192, 192, 6e-2, (300000.0, 1000.0, 15.0, 3.0), 2e-2, "content"),
    "texture": (192, 192, 0.0, (300000.0, 1000.0, 15.0, 3.0), 2e-2, "uniform"),
    "feature-inversion": (192, 192, 6e-2, (0.0,) * 4, 2e-2, "uniform"),
}


@pytest.mark.parametrize("name", COURSE)
def test_the_course_s_constants(name):
    config = parsed(f"--flagfile={ROOT / 'flags' / name}.flags")
    found = (config.side, config.style_side, config.content_weight, config.style_weights, config.tv_weight, config.init)
    assert found == COURSE[name]
    assert config.layers == ("features.3",)
    assert config.style_layers == ("features.1", "features.4", "features.6", "features.7")
    assert (config.steps, config.learning_rate, config.decay_boundaries) == (200, 3.0, (180,))
    assert config.learning_rate * config.decay_factors[0] == pytest.approx(0.1)


def test_the_course_s_third_set_on_the_real_network(shared):
    found = package.style(
        shared / "images" / "tubingen.jpg",
        [shared / "images" / "starry_night.jpg"],
        shared / "models" / "squeezenet1_1-torchvision.onnx",
        steps=60,
        save_every=60,
    )
    assert found["image"].shape == (192, 256, 3)
    assert found["history"][-1]["style"] < found["history"][0]["style"] / 4
