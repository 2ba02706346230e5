"""Saliency on the tiny network and, where it is there, on the real one."""

import json
import re

import keras
import numpy as np
import pytest
from PIL import Image

import tfinvert
from tests.conftest import messages, run_program
from tfinvert import cli
from tfinvert.experiments.saliency import METHODS, Settings
from tfinvert.reports import sheet
from tfinvert.system.errors import InputError


def test_a_run_writes_maps_overlays_and_a_figure(tiny_file, tmp_path, monkeypatch):
    flags = ["--experiment=saliency", f"--onnx={tiny_file}", "--image=chelsea,coffee", "--class=4,2", "--samples=3"]
    done = run_program(*flags, f"--output_dir={tmp_path / 'run'}")
    assert done.returncode == 0
    assert messages(done) == []
    assert "tfinvert: preprocessing torch (" in done.stderr
    assert ": class 4 " in done.stdout
    maps = np.load(tmp_path / "run" / "maps.npz")
    assert sorted(maps) == sorted((*METHODS, "guided_grad_cam"))
    for name in maps:
        assert maps[name].shape == (2, 16, 16)
        assert maps[name].min() >= 0
    info = json.loads((tmp_path / "run" / "run.json").read_text())
    assert max(info["result"]["completeness_error"]) <= 0.01
    assert len(list((tmp_path / "run" / "images").glob("*.png"))) == 2 * (1 + 2 * 6)
    with Image.open(tmp_path / "run" / "sheet.png") as made:
        assert made.size[1] > 4 * 16
    flags = [f"--flagfile={tmp_path / 'run' / 'run.flags'}", f"--output_dir={tmp_path / 'again'}"]
    written, write = [], sheet.write_side_by_side
    monkeypatch.setattr(
        sheet, "write_side_by_side", lambda path, lines, *rest: (written.extend(lines), write(path, lines, *rest))
    )
    assert cli.run_arguments(flags) == 0
    assert written[1].endswith("; preprocessing torch")
    assert (tmp_path / "again" / "sheet.png").read_bytes() == (tmp_path / "run" / "sheet.png").read_bytes()


def test_from_python_with_an_array(tiny_file):
    image = np.random.default_rng(0).uniform(0, 1, (16, 16, 3)).astype(np.float32)
    result = tfinvert.saliency(image, network=tiny_file, methods="gradient", classes=3)
    assert list(result.maps) == ["gradient"]
    assert [each["index"] for each in result.classes] == [3]
    assert result.settings["methods"] == ("gradient",)
    other = tfinvert.saliency(image, network=tiny_file, methods=["gradient"], classes=["1"])
    assert np.abs(result.maps["gradient"] - other.maps["gradient"]).max() > 0
    larger = tfinvert.saliency(Image.new("RGB", (40, 30), "teal"), network=tiny_file, methods=["gradient"])
    assert larger.images.shape == (1, 16, 16, 3)
    assert result != other  # results are told apart by identity: arrays have no truth value


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"methods": ("lime",)}, "unknown --methods 'lime'"),
        ({"methods": ()}, "--methods is ''"),
        ({"layers": ("a", "b")}, "names 2 layers"),
        ({"noise": 0.0}, "--noise is 0.0"),
    ],
)
def test_settings_that_do_not_fit(settings, message):
    with pytest.raises(InputError, match=message):
        Settings(**settings)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--class=crane"], "--class=crane: the 6 classes of the network have no names; expected an index from 0 to 5"),
        (["--class=1,2"], "--classes names 2 classes for 1 images"),
        (["--class=7"], "--class=7 is beyond the network's classes; expected an index from 0 to 5"),
        (["--layers=fc2"], "--layers=fc2 has no place in the image"),
        (["--layers=conv7"], "unknown layer 'conv7'"),
        (["--image=coffee,missing.png"], "no image 'missing.png'"),
    ],
)
def test_mistakes_are_answered_before_anything_is_written(flags, message, tiny_file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=re.escape(message)):
        cli.run_arguments(["saliency", f"--onnx={tiny_file}", *flags])
    assert list(tmp_path.iterdir()) == []


def test_a_network_without_classes_says_so(shared, tmp_path):
    file = shared / "models" / "resnet18-torchvision-trunk.onnx"
    with pytest.raises(InputError, match="the network has no class scores"):
        cli.run_arguments(["saliency", f"--onnx={file}", f"--output_dir={tmp_path / 'run'}"])


def test_the_real_network_looks_at_the_cat(shared):
    network = shared / "models" / "squeezenet1_1-torchvision.onnx"
    result = tfinvert.saliency("chelsea", network=network, methods=["integrated", "grad_cam"], integration_parts=128)
    assert [each["name"] for each in result.classes] == ["Egyptian cat"]
    assert max(result.completeness_error) <= 0.01
    assert "the training of torchvision" in result.weights


def classifier(activation):
    keras.utils.set_random_seed(0)
    image = keras.Input((16, 16, 3))
    value = keras.layers.Conv2D(4, 3, activation=activation)(image)
    return keras.Model(image, keras.layers.Dense(5)(keras.layers.GlobalAveragePooling2D()(value)))


def test_guided_maps_are_left_out_or_refused_where_activations_are_smooth(caplog):
    network = tfinvert.load(classifier("silu"), preprocessing="none")
    with caplog.at_level("WARNING", "tfinvert"):
        result = tfinvert.saliency("chelsea", network, samples=1)
    assert sorted(result.maps) == sorted(set(METHODS) - {"guided"})
    assert "those of the network are SiLU (1); the maps are made without it" in caplog.text
    with pytest.raises(
        InputError, match="guided backpropagation needs activations such as ReLU; those of the network are SiLU"
    ):
        tfinvert.saliency("chelsea", tfinvert.load(classifier("silu")), methods="guided")


def test_attributions_that_do_not_add_up_are_said(monkeypatch, caplog):
    network = tfinvert.load(classifier("relu"), preprocessing="none")
    with caplog.at_level("WARNING", "tfinvert"):
        tfinvert.saliency("chelsea", network, methods="integrated")
    assert caplog.text == ""
    monkeypatch.setattr(
        "tfinvert.objectives.saliency.integrated_gradients", lambda score, image, *_: (image, np.array([3.9]), 128)
    )
    with caplog.at_level("WARNING", "tfinvert"):
        tfinvert.saliency("chelsea", network, methods="integrated")
    assert "their sum is 3.9 of the change of the score away from it after 128 parts" in caplog.text
