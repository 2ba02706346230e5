"""Class visualization on the tiny network and, where it is there, on the real one."""

import json
import re

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import tfinvert
from tests.test_cli import parsed
from tfinvert import cli, images
from tfinvert.experiments.class_vis import Settings
from tfinvert.experiments.class_vis.recipes import course_step
from tfinvert.system.errors import InputError


def test_a_step_is_the_course_s():
    rng = np.random.default_rng(0)
    image = rng.uniform(0.3, 0.7, (2, 4, 5, 3)).astype(np.float32)
    gradient = rng.standard_normal(image.shape).astype(np.float32)
    moved = course_step(tf.constant(image), tf.constant(gradient), 0.1, 0.01)
    mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    for row in range(2):
        x = (image[row] - mean) / deviation
        g = gradient[row] * deviation - 2 * 0.01 * x  # of score - 0.01 ||x||^2
        expected = (x + 0.1 * g / np.linalg.norm(g)) * deviation + mean
        np.testing.assert_allclose(moved[row], expected, rtol=1e-4)
    far = course_step(tf.constant(image), tf.constant(gradient), 1000.0, 0.0).numpy()
    assert (far.min(), far.max()) == (0, 1)  # clamped to black and white


def test_a_step_takes_a_weight_for_each_image():
    rng = np.random.default_rng(0)
    image = rng.uniform(0.3, 0.7, (2, 4, 4, 3)).astype(np.float32)
    gradient = rng.standard_normal((2, 4, 4, 3)).astype(np.float32)
    weights = (0.0, 0.5)
    moved = course_step(image, gradient, 0.1, tf.constant(weights)[:, None, None, None])
    for place, weight in enumerate(weights):
        alone = course_step(image[place : place + 1], gradient[place : place + 1], 0.1, weight)
        np.testing.assert_allclose(moved[place], alone[0], rtol=1e-6)
    assert np.abs(moved[1] - course_step(image, gradient, 0.1, 0.0)[1]).max() > 1e-3


def test_a_blur_keeps_the_mean_and_lowers_a_spike():
    spike = np.zeros((1, 9, 9, 3), np.float32)
    spike[0, 4, 4] = 1
    blurred = images.blurred(spike, 0.5)
    assert blurred.sum() == pytest.approx(3, rel=1e-5)
    # A Gaussian of deviation 0.5 at 0 and 1, to four deviations: 1, e^-2, e^-8.
    weights = np.exp(-2.0 * np.arange(-2, 3) ** 2)
    weights /= weights.sum()
    np.testing.assert_allclose(blurred[0, 4, 2:7, 0], weights[2] * weights, rtol=1e-5)


@pytest.mark.parametrize(("recipe", "rate"), [("course", 2.0), ("fourier", 0.05)])
def test_a_run_makes_each_score_large(recipe, rate, tiny_file, tmp_path):
    flags = [f"--onnx={tiny_file}", "--classes=1,4", f"--recipe={recipe}", f"--learning_rate={rate}"]
    assert cli.run_arguments(["class_vis", *flags, "--steps=40", "--jitter=3", f"--output_dir={tmp_path / 'run'}"]) == 0
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines][:4] == [0, 10, 20, 30]
    result = json.loads((tmp_path / "run" / "run.json").read_text())["result"]
    assert sum(target["score"] for target in result["targets"]) > -lines[0]["loss"] + 0.5
    for row, target in enumerate(result["targets"]):
        with Image.open(tmp_path / "run" / "images" / f"class-{row:02d}.png") as image:
            assert image.size == (16, 16)
        assert target["probability"] > 0.3  # of six classes
    assert (tmp_path / "run" / "sheet.png").exists()


def test_a_stopped_run_ends_with_the_same_bytes(tiny_file, tmp_path):
    flags = ["class_vis", f"--onnx={tiny_file}", "--classes=1,4", "--recipe=fourier", "--jitter=3", "--steps=20"]
    run = tmp_path / "run"
    assert cli.run_arguments([*flags, f"--output_dir={run}"]) == 0
    finished = {path.name: path.read_bytes() for path in run.glob("images/*")} | {"lines": (run / "metrics.jsonl").read_bytes()}
    info = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({name: value for name, value in info.items() if name != "result"}))
    for path in run.glob("images/*"):
        path.unlink()
    (run / "metrics.jsonl").write_text("".join((run / "metrics.jsonl").read_text().splitlines(keepends=True)[:2]))
    for name in (run / "checkpoints").iterdir():
        name.unlink()
    assert cli.run_arguments([*flags, "--resume", f"--output_dir={run}"]) == 0
    again = {path.name: path.read_bytes() for path in run.glob("images/*")} | {"lines": (run / "metrics.jsonl").read_bytes()}
    assert again == finished


def test_images_of_a_batch_do_not_disturb_each_other(tiny_file):
    settings = {"steps": 5, "jitter": 3, "learning_rate": 0.5, "recipe": "fourier"}
    alone = tfinvert.class_vis(4, tiny_file, **settings).image
    together = tfinvert.class_vis(["4", "1"], tiny_file, **settings).images[0]
    np.testing.assert_allclose(together, alone, atol=1.5 / 255)


def test_channels_and_neurons(tiny_file):
    settings = {"layers": "conv2_1", "channels": [0, 3], "learning_rate": 1.0, "steps": 30, "jitter": 1}
    channels = tfinvert.class_vis(network=tiny_file, **settings)
    neurons = tfinvert.class_vis(network=tiny_file, neuron=True, **settings)
    assert [target["target"] for target in channels.targets] == ["conv2_1, channel 0", "conv2_1, channel 3"]
    assert [target["target"] for target in neurons.targets] == ["conv2_1, neuron 0", "conv2_1, neuron 3"]
    assert [line["step"] for line in channels.history] == [0, 10, 20]
    # A neuron by itself can be made larger than the mean of all of its channel.
    for neuron, channel in zip(neurons.targets, channels.targets, strict=True):
        assert neuron["score"] > channel["score"] > 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"layers": ("a", "b"), "channels": (1,)}, "names 2 layers"),
        ({"layers": ("a",)}, "go together"),
        ({"channels": (1,)}, "go together"),
        ({"neuron": True}, "--neuron expects a layer"),
        ({"classes": ()}, "--classes is empty"),
        ({"recipe": "lucid"}, "unknown --recipe 'lucid'"),
        ({"layers": ("a",), "channels": (-1,)}, "--channels is -1"),
    ],
)
def test_settings_that_do_not_fit(settings, message):
    with pytest.raises(InputError, match=message):
        Settings(**settings)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--class=crane"], "--class=crane: the 6 classes of the network have no names; expected an index from 0 to 5"),
        (["--class=9"], "--class=9 is beyond the network's classes"),
        (["--layers=conv2_1", "--channels=5"], "--channels=5 is beyond --layers=conv2_1; expected 0 to 4"),
        (["--layers=fc2", "--channels=1", "--neuron"], "--layers=fc2 has no place in the image"),
    ],
)
def test_mistakes_are_answered_before_anything_is_written(flags, message, tiny_file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=re.escape(message)):
        cli.run_arguments(["class_vis", f"--onnx={tiny_file}", *flags])
    assert list(tmp_path.iterdir()) == []


def test_the_course_s_constants():
    settings = Settings()
    assert (settings.rate(), settings.l2_weight, settings.steps, settings.jitter) == (25.0, 1e-3, 100, 17)  # 0 to 16 pixels
    assert (settings.blur_every, settings.blur_deviation) == (10, 0.5)
    assert parsed("class_vis", "--recipe=fourier").rate() == 0.05


@pytest.mark.slow
def test_the_real_network_knows_a_gorilla(shared):
    result = tfinvert.class_vis("gorilla", shared / "models" / "squeezenet1_1-torchvision.onnx", steps=40)
    assert result.targets[0]["probability"] > 0.99


@pytest.mark.parametrize(("recipe", "rate"), [("course", 2.0), ("fourier", 0.05)])
def test_channels_that_are_0_at_the_start_rise(recipe, rate, caplog):
    keras.utils.set_random_seed(0)
    image = keras.Input((32, 32, 3))
    convolution = keras.layers.Conv2D(4, 3, activation="relu", name="conv")
    model = keras.Model(image, convolution(image))
    kernel = np.full((3, 3, 3, 4), -1, np.float32)  # the last channel responds to no image
    kernel[:, :, range(3), range(3)] = 1  # and each of the others to one color
    convolution.set_weights([kernel, np.array([4.2, 4.2, 4.2, -3.0], np.float32)])
    network = tfinvert.load(model, preprocessing="none")
    grey = network.features(np.full((32, 32, 3), 0.5), "conv")["conv"]
    assert float(tf.reduce_max(grey)) == 0
    settings = {"recipe": recipe, "learning_rate": rate, "steps": 40, "jitter": 1, "progress": False}
    with caplog.at_level("WARNING", "tfinvert"):
        result = tfinvert.class_vis(network=network, layers="conv", channels=[0, 1, 2, 3], **settings)
    scores = [target["score"] for target in result.targets]
    assert min(scores[:3]) > 0
    assert scores[3] == 0
    (message,) = [message for message in caplog.messages if "does not respond" in message]
    assert message.startswith("conv, channel 3 does not respond: its score is 0 after 40 steps; try another --recipe, more ")
