"""Style transfer on the tiny network and, where it is there, on the real one."""

import itertools
import json
import re
import shutil

import keras
import numpy as np
import pytest
from PIL import Image

import tfinvert
from tests.conftest import ROOT, messages, run_program
from tests.test_cli import parsed
from tfinvert import cli, images
from tfinvert.experiments.style import Settings
from tfinvert.images.files import TO_YIQ
from tfinvert.system.errors import InputError

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


def test_a_run_lowers_the_loss_and_goes_on_after_being_stopped(tiny_file, tmp_path):
    flags = ["style", f"--onnx={tiny_file}", "--image=chelsea", "--style_images=coffee,rocket", *FLAGS]
    flags += ["--scales=2", "--side=40", "--style_side=36"]
    done = run_program(*flags, f"--output_dir={tmp_path / 'run'}")
    assert (done.returncode, messages(done)) == (0, [])
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
    info = json.loads((run / "run.json").read_text())
    assert info["result"]["loss_ratio"] < 1
    assert info["size"] == [40, 60]  # that of the last scale
    assert list(info["style_images"]) == ["coffee", "rocket"]

    # The second scale again, from the checkpoint that the first ended with: the same image.
    again = tmp_path / "again"
    shutil.copytree(run, again)
    for path in (again / "checkpoints" / "scale-1").iterdir():
        path.unlink()
    info.pop("result")
    (again / "run.json").write_text(json.dumps(info))
    (again / "final.png").unlink()
    resumed = run_program(*flags, "--resume", f"--output_dir={again}")
    assert (resumed.returncode, messages(resumed)) == (0, [])
    assert (again / "final.png").read_bytes() == (run / "final.png").read_bytes()
    assert (again / "metrics.jsonl").read_text() == (run / "metrics.jsonl").read_text()


@pytest.mark.slow
def test_style_images_count_by_their_weights(tiny_file):
    def paint(**settings):
        return tfinvert.style("chelsea", network=tiny_file, **{**TINY, "steps": 15, **settings}).image

    single = paint(style_images="coffee")
    nearly_single = paint(style_images=["coffee", "rocket"], style_image_weights=[1.0, 1e-9])
    both = paint(style_images=["coffee", "rocket"])
    np.testing.assert_allclose(nearly_single, single, atol=1e-4)
    assert np.abs(both - single).max() > 1e-3


def test_the_content_s_color_is_kept(tiny_file):
    settings = {**TINY, "content_weight": 0.0, "steps": 5}
    image = tfinvert.style("chelsea", ["coffee"], tiny_file, keep_color=True, **settings).image
    content = images.load("chelsea", image.shape[:2], "squash")[0]
    inside = (image > 0).all(axis=-1) & (image < 1).all(axis=-1)  # clipping changes colors
    assert inside.mean() > 0.5
    rest = TO_YIQ[1:].T
    np.testing.assert_allclose((image @ rest)[inside], (content @ rest)[inside], atol=1e-4)


def test_inversion_needs_no_style_and_starts_from_noise(tiny_file):
    settings = {**TINY, "style_weights": [0.0, 0.0], "content_weight": 1.0, "steps": 40, "init": "uniform"}
    result = tfinvert.style("chelsea", (), tiny_file, **settings)
    assert result.history[-1]["loss"] < result.history[0]["loss"] / 3
    assert "style" not in result.history[0]
    assert (result.content.shape, result.styles) == (result.image.shape, ())


def test_lbfgs_never_goes_up(tiny_file):
    result = tfinvert.style("chelsea", ["coffee"], tiny_file, **{**TINY, "optimizer": "lbfgs", "save_every": 1})
    losses = [line["loss"] for line in result.history]
    assert all(later <= earlier for earlier, later in itertools.pairwise(losses))
    assert losses[-1] < losses[0]


def test_a_loaded_network_is_used_at_the_size_of_each_image(tiny_file):
    network = tfinvert.load(tiny_file)
    image = tfinvert.style("chelsea", "coffee", network, **{**TINY, "steps": 5}).image
    np.testing.assert_array_equal(image, tfinvert.style("chelsea", "coffee", tiny_file, **{**TINY, "steps": 5}).image)
    assert (image.shape, network.size) == ((24, 36, 3), (16, 16))


def test_a_loaded_keras_model_has_no_size_that_the_user_gave():
    image = keras.Input((None, None, 3))
    model = keras.Model(image, keras.layers.Conv2D(4, 3, activation="relu", name="conv")(image))
    values = {"layers": "conv", "style_layers": "conv", "style_weights": 1, "side": 32, "style_side": 32, "steps": 1}
    network = tfinvert.load(model, preprocessing="torch", size=48)
    assert tfinvert.style("astronaut", "chelsea", network, progress=False, **values).image.shape == (32, 32, 3)


def test_an_array_is_refused_before_anything_starts():
    with pytest.raises(InputError, match="image is of the type ndarray; expected the name of an image file"):
        tfinvert.style(np.zeros((20, 30, 3)), "coffee")


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
        Settings(**settings)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--style_images=starry.jpg"], "there is no image 'starry.jpg'"),
        (["--style_images=coffee", "--style_layers=conv9_9", "--style_weights=1"], "unknown layer 'conv9_9'"),
        (["--style_images=coffee", "--style_weights=1,2,3"], "--style_weights has 3 numbers for 2 --style_layers"),
        ([], "--style_images is empty"),
    ],
)
def test_mistakes_are_answered_before_anything_is_written(flags, message, tiny_file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=re.escape(message)):
        cli.run_arguments(["style", f"--onnx={tiny_file}", *FLAGS, *flags])
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
    settings = parsed(f"--flagfile={ROOT / 'flags' / name}.flags")
    names = ("side", "style_side", "content_weight", "style_weights", "tv_weight", "init")
    assert tuple(getattr(settings, name) for name in names) == COURSE[name]
    assert settings.layers == ("features.3",)
    assert settings.style_layers == ("features.1", "features.4", "features.6", "features.7")
    assert (settings.steps, settings.learning_rate, settings.decay_boundaries) == (200, 3.0, (180,))
    assert settings.learning_rate * settings.decay_factors[0] == pytest.approx(0.1)


@pytest.mark.slow
def test_the_course_s_third_set_on_the_real_network(shared):
    result = tfinvert.style(
        shared / "images" / "tubingen.jpg",
        [shared / "images" / "starry_night.jpg"],
        shared / "models" / "squeezenet1_1-torchvision.onnx",
        steps=60,
        save_every=60,
    )
    assert result.image.shape == (192, 256, 3)
    assert result.history[-1]["style"] < result.history[0]["style"] / 4
