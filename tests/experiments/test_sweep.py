"""The sweep: every layer of a network, of one image or of many."""

import json
import re
import time

import numpy as np
import pytest
from PIL import Image

from tests.conftest import run_contents, run_program, start_program, tiny_graph, wait_for, write_onnx


def test_a_sweep_inverts_every_layer_from_the_same_start(tmp_path):
    path = write_onnx(tiny_graph(size=32), tmp_path / "net.onnx")
    flags = ("sweep", f"--onnx={path}", "--preprocessing=none", "--steps=5", f"--output_dir={tmp_path / 'sweep'}")
    done = run_program(*flags)
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "sweep" / "report.json").read_text())
    assert [run["name"] for run in report["runs"]] == ["conv1_1", "pool1", "conv2_1", "fc2"]
    assert list(report["answers"]) == ["The layers by depth"]
    starts = {(tmp_path / "sweep" / run["name"] / "images" / "000000.png").read_bytes() for run in report["runs"]}
    assert len(starts) == 1
    with Image.open(tmp_path / "sweep" / "sweep.png") as figure:
        assert figure.size[0] >= 5 * 32


@pytest.fixture
def three(tmp_path):
    """Flags of a sweep over three images of noise."""
    path = write_onnx(tiny_graph(size=32), tmp_path / "net.onnx")
    (tmp_path / "images").mkdir()
    rng = np.random.default_rng(0)
    for name in ("a.png", "b.jpg", "c.webp"):
        Image.fromarray(rng.integers(0, 255, (40, 30, 3), np.uint8)).save(tmp_path / "images" / name)
    (tmp_path / "images" / "notes.txt").write_text("no image")
    network = (f"--onnx={path}", "--preprocessing=none", "--layers=conv1_1")
    return ("sweep", *network, f"--image={tmp_path / 'images'}")


@pytest.mark.slow
def test_a_sweep_over_images_gives_means_and_intervals(three, tmp_path):
    done = run_program(*three, "--steps=5", f"--output_dir={tmp_path / 'sweep'}")
    assert done.returncode == 0, done.stderr
    figures = json.loads((tmp_path / "sweep" / "figures.json").read_text())
    runs = [json.loads((tmp_path / "sweep" / n / "conv1_1" / "run.json").read_text())["result"]["psnr"] for n in "abc"]
    assert figures["conv1_1"]["psnr"]["mean"] == pytest.approx(np.mean(runs))
    assert figures["conv1_1"]["psnr"]["interval"] == pytest.approx(4.302653 * np.std(runs, ddof=1) / np.sqrt(3), rel=1e-5)
    assert figures["conv1_1"]["psnr of the mean image"]["images"] == 3
    assert re.search(
        r"conv1_1: PSNR .* \+-.* dB \(an even grey has .*mean and 95 % interval of the mean over 3 images", done.stdout
    )
    page = (tmp_path / "sweep" / "report.html").read_text()
    assert "95 % interval of the mean" in page
    assert "highest PSNR" not in page  # of different photographs
    assert (tmp_path / "sweep" / "b" / "sweep.png").exists()
    for folder, message in (("nowhere", "there is no image"), ("sweep/a/conv1_1/checkpoints", "--image has no image in")):
        wrong = run_program(*three, "--steps=5", f"--image={tmp_path / folder}", f"--output_dir={tmp_path / 'x'}")
        assert (wrong.returncode, message in wrong.stderr) == (2, True), wrong.stderr
    # The same, two images at a time.
    together = run_program(*three, "--steps=5", "--batch=2", f"--output_dir={tmp_path / 'together'}")
    assert together.returncode == 0, together.stderr
    in_batches = json.loads((tmp_path / "together" / "figures.json").read_text())
    for figure in ("psnr", "ssim", "normalized_feature_error"):
        assert in_batches["conv1_1"][figure] == pytest.approx(figures["conv1_1"][figure], rel=1e-3)
    with_a = json.loads((tmp_path / "together" / "a" / "conv1_1" / "run.json").read_text())["together_with"]
    assert with_a == [str(tmp_path / "images" / "b.jpg")]
    assert "together_with" not in json.loads((tmp_path / "together" / "c" / "conv1_1" / "run.json").read_text())
    for folder in ("sweep", "together"):
        report = json.loads((tmp_path / folder / "report.json").read_text())
        assert [run["name"] for run in report["runs"]] == ["a conv1_1", "b conv1_1", "c conv1_1"]
    # What is finished stays, however many are run at a time.
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "together").rglob("final.png")}
    again = run_program(*three, "--steps=5", "--batch=3", f"--output_dir={tmp_path / 'together'}")
    assert again.returncode == 0, again.stderr
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "together").rglob("final.png")} == before


@pytest.mark.slow
def test_a_sweep_that_was_killed_goes_on_with_its_images_together(three, tmp_path):
    flags = (*three, "--layers=conv2_1", "--init=noise", "--steps=300", "--save_every=20", "--batch=2")
    whole = run_program(*flags, f"--output_dir={tmp_path / 'whole'}")
    assert whole.returncode == 0, whole.stderr
    process = start_program(*flags, f"--output_dir={tmp_path / 'killed'}")
    wait_for(tmp_path / "killed" / "b" / "conv2_1" / "images" / "000040.png", process)
    process.kill()
    process.communicate()
    time.sleep(2)  # the run ends when its parent has
    assert not (tmp_path / "killed" / "c").exists()
    again = run_program(*flags, f"--output_dir={tmp_path / 'killed'}")
    assert again.returncode == 0, again.stderr
    for name in ("a", "b", "c"):
        assert run_contents(tmp_path / "whole" / name / "conv2_1") == run_contents(tmp_path / "killed" / name / "conv2_1")


@pytest.mark.slow
def test_a_sweep_says_which_image_of_a_batch_failed(three, tmp_path):
    """The features of a black image are small, and its loss divided by them is too steep for a rate that suits the others."""
    Image.new("RGB", (32, 32)).save(tmp_path / "images" / "b.jpg")
    sgd = ("--optimizer=sgd", "--schedule=constant", "--learning_rate=100", "--tv_weight=0", "--parameterization=free")
    flags = ("--layers=conv2_1", "--init=noise", *sgd, "--steps=30", "--batch=3", f"--output_dir={tmp_path / 'sweep'}")
    done = run_program(*three, *flags)
    assert done.returncode == 1, done.stderr
    failed = [line.partition(" (")[0] for line in done.stdout.splitlines() if "the loss is" in line]
    assert failed == ["b conv2_1"]
    assert done.stdout.splitlines()[-1].endswith("failed: b conv2_1")
    assert json.loads((tmp_path / "sweep" / "figures.json").read_text())["conv2_1"]["psnr"]["images"] == 2
