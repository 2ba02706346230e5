"""Fooling images on the tiny network and, where it is there, on the real one."""

import json

import numpy as np
import pytest

import tfinvert as package
from tests.conftest import tiny_graph, write_onnx
from tfinvert import cli
from tfinvert.errors import InputError
from tfinvert.images import files as images
from tfinvert.settings.config import FoolConfig


@pytest.fixture(scope="module")
def tiny_file(tmp_path_factory):
    return write_onnx(tiny_graph(), tmp_path_factory.mktemp("tiny") / "tiny.onnx")


def others(tiny_file):
    """Two classes that the tiny network does not see in the sample."""
    seen = package.fool("coffee", (), tiny_file, attack="pgd", steps=1)["original"]["index"]
    return [str(index) for index in range(6) if index != seen][:2]


def test_a_run_writes_pictures_that_still_fool(tiny_file, tmp_path):
    wanted = others(tiny_file)
    flags = [
        "--experiment=fool",
        f"--onnx={tiny_file}",
        "--image=coffee",
        f"--classes={','.join(wanted)}",
        "--learning_rate=0.1",
    ]
    assert cli.execute(["tfinvert", *flags, "--learning_rate=0.1", f"--output_dir={tmp_path / 'run'}"]) == 0
    info = json.loads((tmp_path / "run" / "run.json").read_text())
    assert info["result"]["fooled"] == "2 of 2"
    original = images.load(tmp_path / "run" / "target.png", (16, 16))
    for row, found in enumerate(info["result"]["targets"]):
        assert found["fools_when_read_back"]
        assert found["probability_after"] > found["probability_before"]
        written = images.load(tmp_path / "run" / "images" / f"{row:02d}-fooled.png", (16, 16))
        assert found["largest_change"] == np.rint(255 * np.abs(written - original)).max() > 0
    assert len(list((tmp_path / "run" / "images").glob("*.png"))) == 6
    with pytest.raises(InputError, match="is a run of --experiment=fool"):
        cli.execute(["tfinvert", "--experiment=report", f"--runs={tmp_path / 'run'}"])
    assert (tmp_path / "run" / "sheet.png").exists()


@pytest.mark.parametrize("attack", ["fgsm", "pgd"])
def test_bounds_are_kept_and_steps_counted(attack, tiny_file):
    found = package.fool("coffee", others(tiny_file), tiny_file, attack=attack, bound=3, steps=20)
    for row, target in enumerate(found["targets"]):
        assert target["largest_change"] <= 3
        assert target["probability_after"] > target["probability_before"]
        assert target["steps"] == 1 or attack == "pgd"
        assert np.abs(found["image"][row] - found["original_image"]).max() <= 3 / 255 + 1e-6


def test_without_a_target_anything_else_will_do(tiny_file):
    found = package.fool("coffee", (), tiny_file, attack="pgd", bound=200, steps=50, learning_rate=4.0)
    assert found["targets"][0]["fooled"]
    assert found["targets"][0]["seen"] != found["original"]["name"]


def test_a_target_that_is_seen_already_and_bad_settings(tiny_file):
    seen = package.fool("coffee", (), tiny_file, attack="fgsm")["original"]["index"]
    with pytest.raises(InputError, match="already; expected another --class"):
        package.fool("coffee", str(seen), tiny_file)
    with pytest.raises(InputError, match=r"--bound is 0\.5; expected 1 to 255"):
        FoolConfig(bound=0.5)
    with pytest.raises(InputError, match="unknown --attack 'lbfgs'"):
        FoolConfig(attack="lbfgs")


@pytest.mark.parametrize("attack", ["gradient", "pgd"])
def test_the_real_network_is_fooled_by_little(attack, shared):
    network = shared / "models" / "squeezenet1_1-torchvision.onnx"
    found = package.fool("chelsea", ["stingray", "n02480855"], network, attack=attack, bound=4)
    assert found["fooled"] == "2 of 2"
    assert [target["seen"] for target in found["targets"]] == ["stingray", "gorilla"]
    assert all(target["largest_change"] <= (4 if attack == "pgd" else 60) for target in found["targets"])
