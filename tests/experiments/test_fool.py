"""Fooling images on the tiny network and, where it is there, on the real one."""

import json

import numpy as np
import pytest

import tfinvert
from tfinvert import cli, images
from tfinvert.experiments.fool import Settings
from tfinvert.system.errors import InputError


@pytest.fixture(scope="module")
def others(tiny_file):
    """Two classes that the tiny network does not see in the sample photograph."""
    seen = tfinvert.fool("coffee", (), tiny_file, attack="pgd", steps=1).original["index"]
    return [index for index in range(6) if index != seen][:2]


def test_a_run_writes_images_that_still_fool(tiny_file, others, tmp_path):
    flags = [f"--onnx={tiny_file}", "--image=coffee", f"--classes={others[0]},{others[1]}", "--learning_rate=0.1"]
    assert cli.run_arguments(["fool", *flags, f"--output_dir={tmp_path / 'run'}"]) == 0
    info = json.loads((tmp_path / "run" / "run.json").read_text())
    assert info["result"]["fooled"] == "2 of 2"
    original = images.load(tmp_path / "run" / "target.png", (16, 16))
    network = tfinvert.load(tiny_file)
    for row, (target, index) in enumerate(zip(info["result"]["targets"], others, strict=True)):
        assert target["probability_after"] > target["probability_before"]
        written = images.load(tmp_path / "run" / "images" / f"{row:02d}-fooled.png", (16, 16))
        ((seen, probability),) = network.classify(written[0], top=1)
        assert (seen, probability) == (f"class {index}", pytest.approx(target["probability_after"]))
        assert target["largest_change"] == np.rint(255 * np.abs(written - original)).max() > 0
    assert len(list((tmp_path / "run" / "images").glob("*.png"))) == 6
    cli.run_arguments(["report", f"--runs={tmp_path / 'run'}", f"--output_dir={tmp_path / 'report'}"])
    assert (tmp_path / "run" / "sheet.png").exists()
    alone = (tmp_path / "run" / "report.html").read_text()
    assert alone.count("<img ") == 8  # two rows of the photograph, the fooling image, the difference, and that enlarged
    assert f"class {others[0]}" in alone
    assert "fooled" in (tmp_path / "report" / "report.html").read_text()


@pytest.mark.parametrize("attack", ["fgsm", "pgd"])
def test_bounds_are_kept_and_steps_counted(attack, tiny_file, others):
    result = tfinvert.fool("coffee", others, tiny_file, attack=attack, bound=3, steps=20)
    for row, target in enumerate(result.targets):
        assert target["largest_change"] <= 3
        assert target["probability_after"] > target["probability_before"]
        assert target["steps"] == 1 or attack == "pgd"
        assert np.abs(result.images[row] - result.original_image).max() <= 3 / 255 + 1e-6


def test_without_a_target_anything_else_will_do(tiny_file):
    result = tfinvert.fool("coffee", (), tiny_file, attack="pgd", bound=200, steps=50, learning_rate=4.0)
    assert result.fooled == "1 of 1"
    assert result.targets[0]["seen"] != result.original["name"]


def test_a_target_that_is_seen_already_and_bad_settings(tiny_file, tmp_path):
    seen = tfinvert.fool("coffee", (), tiny_file, attack="fgsm").original["index"]
    with pytest.raises(InputError, match="already; expected another --class"):
        tfinvert.fool("coffee", seen, tiny_file, output_dir=tmp_path / "run")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(InputError, match=r"--bound is 0\.5; expected a finite number at least 1 and at most 255"):
        Settings(bound=0.5)
    with pytest.raises(InputError, match="unknown --attack 'lbfgs'"):
        Settings(attack="lbfgs")


@pytest.mark.parametrize("attack", ["gradient", "pgd"])
def test_the_real_network_is_fooled_by_little(attack, shared):
    network = shared / "models" / "squeezenet1_1-torchvision.onnx"
    result = tfinvert.fool("chelsea", ["stingray", "n02480855"], network, attack=attack, bound=4)
    assert result.fooled == "2 of 2"
    assert [target["seen"] for target in result.targets] == ["stingray", "gorilla"]
    assert all(target["largest_change"] <= (4 if attack == "pgd" else 60) for target in result.targets)
