"""Whole runs on real networks: files, figures, resuming, signals."""

import errno
import json
import math
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tfinvert as package
from tests.conftest import ROOT, tfinvert, tiny_graph, write_onnx
from tests.test_cli import FLAGFILES, parsed
from tfinvert import cli
from tfinvert.errors import DiskError, InputError, NonFiniteLossError
from tfinvert.experiments import invert
from tfinvert.networks.conversion import convert
from tfinvert.settings import questions
from tfinvert.settings.config import flag_text, flagfile

FAST = ("--model=resnet18", "--weights=random", "--layers=res1", "--size=64", "--save_every=5")
FAST_SETTINGS = {"network": "resnet18", "weights": "random", "layers": ["res1"], "size": (64, 64), "save_every": 5}


def contents(folder):
    """What two equal runs have in common, byte by byte."""
    names = ["final.png", "target.png", "metrics.jsonl", "run.flags", *(f"images/{p.name}" for p in folder.glob("images/*"))]
    return {name: (folder / name).read_bytes() for name in sorted(names)}


def pixels(path):
    with Image.open(path) as picture:
        return np.asarray(picture)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "finished"
    done = tfinvert(*FAST, "--steps=40", "--tv_weight=0.05", "--tensorboard", f"--output_dir={folder}")
    assert done.returncode == 0, done.stderr
    return folder, done


def test_a_run_directory_is_complete(finished):
    folder, done = finished
    assert done.stderr == ""  # no terminal, no progress bar; and TensorFlow keeps quiet
    info = json.loads((folder / "run.json").read_text())
    assert list(info)[-1] == "result"
    assert set(info["result"]) == {
        *("psnr", "ssim", "normalized_feature_error", "mv2015_error", "mv2016_error"),
        *("seconds", "steps_per_second", "peak_memory_mb"),
    }
    assert info["weights"] == "seeded random weights, calibrated statistics"
    assert info["layers"]["res1"]["error"] <= 1e-4
    assert info["seed"] == 12345
    assert "tensorflow" in info["versions"]
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(0, 41, 5))
    assert set(lines[0]) == {"step", "loss", "learning_rate", "res1", "tv", "psnr"}
    assert lines[-1]["loss"] < lines[0]["loss"] / 5
    for line in lines:
        assert line["loss"] == pytest.approx(line["res1"] + 0.05 * line["tv"], rel=1e-4)
    assert sorted(p.name for p in folder.glob("images/*")) == [f"{step:06d}.png" for step in range(0, 41, 5)]
    for name in ("final.png", "target.png", "images/000000.png"):
        assert pixels(folder / name).shape == (64, 64, 3)
    assert pixels(folder / "sheet.png").shape[1] >= 720
    assert pixels(folder / "curves.png").shape[1] == 1300
    assert list(folder.glob("tensorboard/events*"))
    assert f"PSNR {info['result']['psnr']:.2f} dB" in done.stdout
    assert str(folder / "sheet.png") in done.stdout


def test_the_figures_are_those_of_the_picture_that_was_written(finished):
    folder, _ = finished
    result = json.loads((folder / "run.json").read_text())["result"]
    final, target = (pixels(folder / f"{name}.png") / 255 for name in ("final", "target"))
    assert result["psnr"] == pytest.approx(-10 * math.log10(np.mean((final - target) ** 2)), abs=0.05)
    start = pixels(folder / "images" / "000000.png") / 255
    assert result["psnr"] > -10 * math.log10(np.mean((start - target) ** 2)) + 2


def test_the_full_flagfile_repeats_the_run(finished, tmp_path):
    folder, _ = finished
    done = tfinvert(f"--flagfile={folder / 'run.flags'}", f"--output_dir={tmp_path / 'again'}")
    assert done.returncode == 0, done.stderr
    assert contents(tmp_path / "again") == contents(folder)


def test_python_gives_the_same_result_as_the_command(finished):
    folder, _ = finished
    result = package.invert("astronaut", **FAST_SETTINGS, steps=40, tv_weight=0.05)
    written = pixels(folder / "final.png")
    np.testing.assert_array_equal(np.rint(result.image * 255).astype(np.uint8), written)
    assert result.psnr == json.loads((folder / "run.json").read_text())["result"]["psnr"]
    assert [line["step"] for line in result.history] == list(range(0, 41, 5))


def test_python_takes_arrays_and_writes_where_it_is_told(tmp_path):
    picture = np.zeros((64, 64, 3), np.uint8)
    picture[16:48, 16:48] = (200, 120, 40)
    result = package.invert(picture, **FAST_SETTINGS, steps=6, output_dir=str(tmp_path / "run"))
    assert result.image.shape == (64, 64, 3)
    np.testing.assert_allclose(result.target, picture / 255, atol=1e-6)
    assert (tmp_path / "run" / "final.png").exists()
    same = package.invert(picture / 255.0, **FAST_SETTINGS, steps=6)
    np.testing.assert_array_equal(same.image, result.image)


@pytest.mark.parametrize(
    ("image", "settings", "message"),
    [
        (np.zeros((64, 64)), {}, "expected .height, width, 3."),
        (np.full((64, 64, 3), 2.0), {}, "expected floats in .0, 1. or uint8"),
        (np.full((64, 64, 3), np.nan), {}, "expected floats"),
        ("astronaut", {"color": 1}, "color"),
        ("missing.png", {}, "no picture"),
    ],
)
def test_python_names_mistakes(image, settings, message):
    with pytest.raises(InputError, match=message):
        package.invert(image, **{**FAST_SETTINGS, **settings}, steps=2)


def start(*arguments):
    command = [sys.executable, str(ROOT / "run_experiments.py"), *arguments]
    return subprocess.Popen(command, env=dict(os.environ), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(path: Path, process):
    while not path.exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)


def test_resuming_a_finished_run_only_repeats_its_figures(finished):
    folder, first = finished
    before = (folder / "run.json").read_bytes()
    again = tfinvert(f"--flagfile={folder / 'run.flags'}", f"--output_dir={folder}", "--resume")
    assert again.stdout == first.stdout
    assert (folder / "run.json").read_bytes() == before


def test_a_run_is_finished_only_when_its_last_picture_is_there(tmp_path, monkeypatch):
    def full(run):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(invert.charts, "write_curves", full)
    with pytest.raises(DiskError, match="No space left on device; --resume goes on from the last checkpoint"):
        package.invert("astronaut", **FAST_SETTINGS, steps=4, output_dir=str(tmp_path / "run"))
    monkeypatch.undo()
    package.invert("astronaut", **FAST_SETTINGS, steps=4, output_dir=str(tmp_path / "run"), resume=True)
    assert (tmp_path / "run" / "curves.png").exists()
    assert "result" in json.loads((tmp_path / "run" / "run.json").read_text())


def test_a_constant_run_can_be_made_longer(tmp_path):
    flags = (*FAST, "--schedule=constant", "--learning_rate=0.05")
    assert tfinvert(*flags, "--steps=30", f"--output_dir={tmp_path / 'whole'}").returncode == 0
    assert tfinvert(*flags, "--steps=15", f"--output_dir={tmp_path / 'longer'}").returncode == 0
    assert tfinvert(*flags, "--steps=30", f"--output_dir={tmp_path / 'longer'}", "--resume").returncode == 0
    assert contents(tmp_path / "longer") == contents(tmp_path / "whole")


def test_a_loss_that_is_not_finite_ends_with_the_best_image(tmp_path):
    flags = ("--optimizer=sgd", "--learning_rate=1e30", "--parameterization=free", "--steps=30")
    done = tfinvert(*FAST, *flags, f"--output_dir={tmp_path / 'run'}")
    assert done.returncode == 1
    assert "at step" in done.stderr
    assert done.stderr.count("\n") == 1
    info = json.loads((tmp_path / "run" / "run.json").read_text())
    assert "at step" in info["stopped"]
    assert math.isfinite(info["result"]["psnr"])
    assert (tmp_path / "run" / "final.png").exists()
    settings = {"optimizer": "sgd", "learning_rate": 1e30, "parameterization": "free", "steps": 30}
    with pytest.raises(NonFiniteLossError):
        package.invert("astronaut", **FAST_SETTINGS, **settings)


def test_bfloat16_runs_and_is_near(finished):
    folder, _ = finished
    exact = json.loads((folder / "run.json").read_text())["result"]["psnr"]
    result = package.invert("astronaut", **FAST_SETTINGS, steps=40, tv_weight=0.05, precision="bfloat16")
    assert result.psnr == pytest.approx(exact, abs=0.3)


def run_short(flagfile_path, folder):
    config = parsed(f"--flagfile={flagfile_path}", "--weights=random", "--steps=3", f"--output_dir={folder}")
    run_dir = invert.RunDirectory(config.run_folder())
    run_dir.check(flagfile(config), resume=False, overwrite=False)
    with convert.Conversion(convert.request_for(config, config.layers)) as conversion:
        result = invert.run(config, conversion, run_dir)
    assert math.isfinite(result.psnr)
    assert [line["step"] for line in run_dir.read_metrics()] == [0, 3]
    assert run_dir.sheet.exists()


INVERSIONS = [path for path in FLAGFILES if "--experiment=" not in path.read_text()]


@pytest.mark.parametrize("path", INVERSIONS, ids=lambda path: path.stem)
def test_every_flagfile_runs_and_the_patched_baseline_runs_the_same(path, tmp_path):
    run_short(path, tmp_path / "own")
    if path.stem not in questions.flagfiles(["all"]) or path.stem == questions.BASELINE:
        return
    (question,) = cli.asked_questions(["tfinvert", f"--questions={path.stem}"])
    patched = tmp_path / "patched.flags"
    patched.write_text((ROOT / "flags" / "baseline.flags").read_text())
    subprocess.run(["patch", str(patched)], input=questions.diff(cli._baseline(), question), text=True, check=True)
    assert parsed(f"--flagfile={patched}") == question.own
    run_short(patched, tmp_path / "patched")
    assert contents(tmp_path / "patched") == contents(tmp_path / "own")


def test_of_several_starts_the_one_with_the_smallest_error_is_kept(tmp_path):
    path = write_onnx(tiny_graph(size=32), tmp_path / "net.onnx")
    settings = {"preprocessing": "none", "layers": ["conv2_1"], "steps": 20, "init": "noise"}
    best = package.invert("astronaut", path, **settings, seeds=3, seed=5)
    alone = [package.invert("astronaut", path, **settings, seed=seed) for seed in (5, 6, 7)]
    errors = [one.normalized_feature_error for one in alone]
    assert [one["normalized_feature_error"] for one in best.starts] == pytest.approx(errors, rel=1e-2)
    assert best.normalized_feature_error == pytest.approx(min(errors), rel=1e-2)
    flags = (f"--onnx={path}", "--preprocessing=none", "--layers=conv2_1", "--steps=5", "--seeds=3")
    done = tfinvert(*flags, f"--output_dir={tmp_path / 'run'}")
    assert done.returncode == 0, done.stderr
    assert re.search(r"best of 3 starts; mean [\d.]+ dB, 95 % interval \+-[\d.]+", done.stdout)


TINY = ("--preprocessing=none", "--layers=conv2_1", "--init=noise", "--save_every=10")


def test_several_pictures_are_inverted_together_each_as_if_alone(tmp_path):
    path = write_onnx(tiny_graph(size=32), tmp_path / "net.onnx")
    comma = tmp_path / "a, b.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 30, 3), np.uint8)).save(comma)
    flags = (f"--onnx={path}", *TINY, "--steps=30", f"--output_dir={tmp_path / 'together'}", "--resume")
    pictures = ("astronaut", "chelsea", str(comma))
    done = tfinvert(*flags, f"--pictures={flag_text('pictures', pictures)}")
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()
    folders = [tmp_path / "together" / name / "conv2_1" for name in ("astronaut", "chelsea", "a, b")]
    assert [line.partition(": PSNR")[0] for line in said[::4]] == ["astronaut", "chelsea", "a, b"]
    for picture, folder in zip(pictures, folders, strict=True):
        info = json.loads((folder / "run.json").read_text())
        assert sorted([*info["together_with"], picture]) == sorted(pictures)
        alone = tfinvert(*flags[:-2], f"--image={picture}", f"--output_dir={tmp_path / 'alone'}", "--overwrite")
        assert alone.returncode == 0, alone.stderr
        assert (folder / "run.flags").read_text() == (tmp_path / "alone" / "run.flags").read_text()
        wanted = json.loads((tmp_path / "alone" / "run.json").read_text())["result"]
        assert info["result"]["psnr"] == pytest.approx(wanted["psnr"], abs=0.01)
        np.testing.assert_allclose(pixels(folder / "final.png"), pixels(tmp_path / "alone" / "final.png"), atol=1)
    # What is finished stays; a fourth joins.
    before = [(folder / "run.json").read_bytes() for folder in folders]
    more = tfinvert(*flags, f"--pictures={flag_text('pictures', (*pictures, 'coffee'))}")
    assert more.returncode == 0, more.stderr
    assert [(folder / "run.json").read_bytes() for folder in folders] == before
    assert "together_with" not in json.loads((tmp_path / "together" / "coffee" / "conv2_1" / "run.json").read_text())


def test_of_several_pictures_those_whose_loss_is_not_finite_are_named(tmp_path):
    path = write_onnx(tiny_graph(size=32), tmp_path / "net.onnx")
    black = tmp_path / "black.png"
    Image.new("RGB", (32, 32)).save(black)
    flags = (f"--onnx={path}", *TINY, "--optimizer=sgd", "--schedule=constant", "--parameterization=free", "--tv_weight=0")
    pictures = f"--pictures=astronaut,{black},chelsea"
    done = tfinvert(*flags, "--learning_rate=1e30", "--steps=9", pictures, f"--output_dir={tmp_path / 'out'}")
    assert done.returncode == 1, done.stdout
    for name, line in zip(("astronaut", "black", "chelsea"), done.stderr.splitlines(), strict=True):
        assert line.startswith(f"tfinvert: {name}: the loss is ")
        info = json.loads((tmp_path / "out" / name / "conv2_1" / "run.json").read_text())
        assert info["stopped"].startswith("the loss is")
        assert (tmp_path / "out" / name / "conv2_1" / "final.png").exists()


@pytest.mark.parametrize("preset", ["auto", "mv2015", "mv2016"])
def test_presets_run_and_say_what_they_chose(tmp_path, preset):
    path = write_onnx(tiny_graph(size=32), tmp_path / "net.onnx")
    flags = [f"--onnx={path}", "--preprocessing=none", "--layers=pool1", f"--preset={preset}"]
    if preset == "mv2015":
        flags.append("--learning_rate=0.02")  # the paper's is for pictures of 227 pixels
    done = tfinvert(*flags, f"--output_dir={tmp_path / 'run'}")
    assert done.returncode == 0, done.stderr
    info = json.loads((tmp_path / "run" / "run.json").read_text())
    chosen = {"auto": "learning_rate", "mv2015": "jitter", "mv2016": "layer_weights"}
    assert chosen[preset] in info["settings"]
    assert info["result"]["mv2016_error"] == pytest.approx(info["result"]["normalized_feature_error"] ** 0.5)
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert lines[-1]["loss"] < lines[0]["loss"]
