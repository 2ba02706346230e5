"""Whole runs of the inversion on real networks: files, figures, resuming."""

import errno
import json
import math
import re

import numpy as np
import pytest

import tfinvert
from tests.conftest import messages, pixels, run_contents, run_program, tiny_graph, write_onnx
from tfinvert.reports import charts
from tfinvert.system.errors import DiskError, NonFiniteLossError

FAST = ("--model=resnet18", "--weights=random", "--layers=res1", "--size=64", "--save_every=5")
FAST_SETTINGS = {"network": "resnet18", "weights": "random", "layers": ["res1"], "size": (64, 64), "save_every": 5}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "finished"
    done = run_program(*FAST, "--steps=40", "--tv_weight=0.05", "--tensorboard", f"--output_dir={folder}")
    assert done.returncode == 0, done.stderr
    return folder, done


def test_a_run_directory_is_complete(finished):
    folder, done = finished
    assert messages(done) == []  # no terminal, no progress bar; and TensorFlow says nothing
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
    assert f"{folder}: final.png, sheet.png, curves.png, images\n" in done.stdout


def test_the_figures_are_those_of_the_image_that_was_written(finished):
    folder, _ = finished
    result = json.loads((folder / "run.json").read_text())["result"]
    final, target = (pixels(folder / f"{name}.png") / 255 for name in ("final", "target"))
    assert result["psnr"] == pytest.approx(-10 * math.log10(np.mean((final - target) ** 2)), abs=0.05)
    start = pixels(folder / "images" / "000000.png") / 255
    assert result["psnr"] > -10 * math.log10(np.mean((start - target) ** 2)) + 2


def test_the_full_flagfile_repeats_the_run(finished, tmp_path):
    folder, _ = finished
    done = run_program(f"--flagfile={folder / 'run.flags'}", f"--output_dir={tmp_path / 'again'}")
    assert done.returncode == 0, done.stderr
    assert run_contents(tmp_path / "again") == run_contents(folder)


def test_python_gives_the_same_result_as_the_command(finished):
    folder, _ = finished
    result = tfinvert.invert("astronaut", **FAST_SETTINGS, steps=40, tv_weight=0.05)
    # The command packs the weights of its convolutions, which changes last digits with oneDNN.
    np.testing.assert_allclose(np.rint(result.image * 255), pixels(folder / "final.png"), atol=8)
    assert result.psnr == pytest.approx(json.loads((folder / "run.json").read_text())["result"]["psnr"], abs=0.05)
    assert [line["step"] for line in result.history] == list(range(0, 41, 5))


def test_python_takes_arrays_and_writes_a_run_directory(tmp_path):
    image = np.zeros((64, 64, 3), np.uint8)
    image[16:48, 16:48] = (200, 120, 40)
    result = tfinvert.invert(image, **FAST_SETTINGS, steps=6, output_dir=str(tmp_path / "run"))
    assert result.image.shape == (64, 64, 3)
    np.testing.assert_allclose(result.target, image / 255, atol=1e-6)
    assert (tmp_path / "run" / "final.png").exists()
    same = tfinvert.invert(image / 255.0, **FAST_SETTINGS, steps=6)
    np.testing.assert_array_equal(same.image, result.image)


def test_resuming_a_finished_run_only_repeats_its_figures(finished):
    folder, first = finished
    before = (folder / "run.json").read_bytes()
    again = run_program(f"--flagfile={folder / 'run.flags'}", f"--output_dir={folder}", "--resume")
    assert again.stdout == first.stdout
    assert (folder / "run.json").read_bytes() == before


def test_a_run_is_finished_only_when_its_last_chart_is_there(tmp_path, monkeypatch):
    def fill_disk(directory):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(charts, "write_curves", fill_disk)
    with pytest.raises(DiskError, match="No space left on device; --resume goes on from the last checkpoint"):
        tfinvert.invert("astronaut", **FAST_SETTINGS, steps=4, output_dir=str(tmp_path / "run"))
    monkeypatch.undo()
    tfinvert.invert("astronaut", **FAST_SETTINGS, steps=4, output_dir=str(tmp_path / "run"), resume=True)
    assert (tmp_path / "run" / "curves.png").exists()
    assert "result" in json.loads((tmp_path / "run" / "run.json").read_text())


@pytest.mark.slow
def test_a_constant_run_can_be_made_longer(tmp_path):
    flags = (*FAST, "--schedule=constant", "--learning_rate=0.05")
    assert run_program(*flags, "--steps=30", f"--output_dir={tmp_path / 'whole'}").returncode == 0
    assert run_program(*flags, "--steps=15", f"--output_dir={tmp_path / 'longer'}").returncode == 0
    assert run_program(*flags, "--steps=30", f"--output_dir={tmp_path / 'longer'}", "--resume").returncode == 0
    assert run_contents(tmp_path / "longer") == run_contents(tmp_path / "whole")


def test_a_loss_that_is_not_finite_ends_with_the_best_image(tmp_path):
    flags = ("--optimizer=sgd", "--learning_rate=1e30", "--parameterization=free", "--steps=30")
    done = run_program(*FAST, *flags, f"--output_dir={tmp_path / 'run'}")
    assert done.returncode == 1
    assert "at step" in done.stderr
    assert len(messages(done)) == 1
    info = json.loads((tmp_path / "run" / "run.json").read_text())
    assert "at step" in info["stopped"]
    assert math.isfinite(info["result"]["psnr"])
    assert (tmp_path / "run" / "final.png").exists()
    settings = {"optimizer": "sgd", "learning_rate": 1e30, "parameterization": "free", "steps": 30}
    with pytest.raises(NonFiniteLossError):
        tfinvert.invert("astronaut", **FAST_SETTINGS, **settings)


@pytest.mark.slow
def test_bfloat16_runs_and_is_near(finished):
    folder, _ = finished
    exact = json.loads((folder / "run.json").read_text())["result"]["psnr"]
    result = tfinvert.invert("astronaut", **FAST_SETTINGS, steps=40, tv_weight=0.05, precision="bfloat16")
    assert result.psnr == pytest.approx(exact, abs=0.3)


def test_of_several_restarts_the_one_with_the_smallest_error_is_kept(tmp_path):
    path = write_onnx(tiny_graph(size=32), tmp_path / "net.onnx")
    settings = {"preprocessing": "none", "layers": ["conv2_1"], "steps": 20, "init": "noise"}
    best = tfinvert.invert("astronaut", path, **settings, seeds=3, seed=5)
    alone = [tfinvert.invert("astronaut", path, **settings, seed=seed) for seed in (5, 6, 7)]
    errors = [result.normalized_feature_error for result in alone]
    assert [restart["normalized_feature_error"] for restart in best.restarts] == pytest.approx(errors, rel=1e-2)
    assert best.normalized_feature_error == pytest.approx(min(errors), rel=1e-2)
    flags = (f"--onnx={path}", "--preprocessing=none", "--layers=conv2_1", "--steps=5", "--seeds=3")
    done = run_program(*flags, f"--output_dir={tmp_path / 'run'}")
    assert done.returncode == 0, done.stderr
    assert re.search(r"best of 3 restarts; mean [\d.]+ dB, 95 % interval \+-[\d.]+", done.stdout)


@pytest.mark.parametrize("preset", ["auto", *(pytest.param(name, marks=pytest.mark.slow) for name in ("mv2015", "mv2016"))])
def test_presets_run_and_say_what_they_chose(tmp_path, preset):
    path = write_onnx(tiny_graph(size=32), tmp_path / "net.onnx")
    flags = [f"--onnx={path}", "--preprocessing=none", "--layers=pool1", f"--preset={preset}"]
    if preset == "mv2015":
        flags.append("--learning_rate=0.02")  # the paper's is for images of 227 pixels
    done = run_program(*flags, f"--output_dir={tmp_path / 'run'}")
    assert done.returncode == 0, done.stderr
    info = json.loads((tmp_path / "run" / "run.json").read_text())
    chosen = {"auto": "learning_rate", "mv2015": "jitter", "mv2016": "layer_weights"}
    assert chosen[preset] in info["settings"]
    assert info["result"]["mv2016_error"] == pytest.approx(info["result"]["normalized_feature_error"] ** 0.5)
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert lines[-1]["loss"] < lines[0]["loss"]
