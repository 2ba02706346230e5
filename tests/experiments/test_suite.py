"""Many runs: the suite and the sweep, what they skip, continue and survive."""

import json
import re
import signal
import time

import numpy as np
import pytest
from PIL import Image

from tests.conftest import tfinvert, tiny_graph, write_onnx
from tests.experiments.test_invert import contents, start, wait_for

SMALL = ("--experiment=suite", "--weights=random", "--size=64", "--save_every=5")


def figures(folder):
    """report.json without what depends on the clock."""
    report = json.loads((folder / "report.json").read_text())
    for run in report["runs"]:
        run["folder"] = run["folder"].rpartition("/")[2]
        for name in ("seconds", "steps_per_second", "peak_memory_mb"):
            run["result"].pop(name, None)
    report["answers"] = {k: re.sub(r"[\d.]+ (steps/s|times)", r"\1", v) for k, v in report["answers"].items()}
    return report


def test_a_suite_runs_reports_and_skips_what_is_finished(tmp_path):
    flags = (*SMALL, "--questions=q4,q4-middle1,baseline", "--steps=10", f"--output_dir={tmp_path}")
    done = tfinvert(*flags)
    assert done.returncode == 0, done.stderr
    assert [line.partition(":")[0] for line in done.stdout.splitlines()] == [
        *("q4 (1/3)", "q4-middle1 (2/3)", "baseline (3/3)", "report")
    ]
    assert (tmp_path / "q4.diff").read_text().startswith("--- flags/baseline.flags\n+++ flags/q4.flags\n")
    assert not (tmp_path / "baseline.diff").exists()
    report = figures(tmp_path)
    assert [run["name"] for run in report["runs"]] == ["q4", "q4-middle1", "baseline"]
    assert list(report["answers"]) == ["Question 4: VGG16 or ResNet18?"]
    html = (tmp_path / "report.html").read_text()
    assert "http://" not in html.replace("http://www.w3.org/", "")
    assert "https://" not in html
    before = {p: p.stat().st_mtime_ns for p in tmp_path.glob("*/final.png")}
    again = tfinvert(*flags)
    assert again.returncode == 0, again.stderr
    assert {p: p.stat().st_mtime_ns for p in tmp_path.glob("*/final.png")} == before
    assert again.stdout == done.stdout
    other = tfinvert(*flags, "--seed=3")
    assert other.returncode == 2
    assert "holds a run with other settings (--seed=3, was 12345)" in other.stderr


def test_a_signal_ends_the_suite_and_the_run_under_way_with_a_checkpoint(tmp_path):
    flags = (*SMALL, "--questions=q4", "--steps=2000", f"--output_dir={tmp_path}")
    process = start(*flags)
    wait_for(tmp_path / "q4" / "images" / "000020.png", process)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert "stopped" in json.loads((tmp_path / "q4" / "run.json").read_text())
    assert list((tmp_path / "q4" / "checkpoints").glob("*.index"))
    assert "Not finished: at step" in (tmp_path / "report.html").read_text()


def test_a_question_that_fails_is_reported_and_the_others_run(tmp_path):
    bad = tmp_path / "bad.flags"
    bad.write_text("# A layer that is not there\n--model=resnet18\n--layers=res9\n")
    flags = (*SMALL, f"--questions={bad},q4-middle1", "--steps=3", f"--output_dir={tmp_path / 'suite'}")
    done = tfinvert(*flags)
    assert done.returncode == 1
    assert "bad (1/2): unknown layer 'res9'" in done.stdout
    assert "failed: bad" in done.stdout
    assert (tmp_path / "suite" / "q4-middle1" / "final.png").exists()
    assert "unknown layer &#39;res9&#39;" in (tmp_path / "suite" / "report.html").read_text()


def test_a_sweep_inverts_every_layer_from_the_same_start(tmp_path):
    path = write_onnx(tiny_graph(size=32), tmp_path / "net.onnx")
    flags = ("--experiment=sweep", f"--onnx={path}", "--preprocessing=none", "--steps=5", f"--output_dir={tmp_path / 'sweep'}")
    done = tfinvert(*flags)
    assert done.returncode == 0, done.stderr
    report = figures(tmp_path / "sweep")
    assert [run["name"] for run in report["runs"]] == ["conv1_1", "pool1", "conv2_1", "fc2"]
    assert list(report["answers"]) == ["The layers by depth"]
    starts = {(tmp_path / "sweep" / run["name"] / "images" / "000000.png").read_bytes() for run in report["runs"]}
    assert len(starts) == 1
    with Image.open(tmp_path / "sweep" / "sweep.png") as figure:
        assert figure.size[0] >= 5 * 32


@pytest.fixture
def three(tmp_path):
    """Flags of a sweep over three pictures of noise."""
    path = write_onnx(tiny_graph(size=32), tmp_path / "net.onnx")
    (tmp_path / "pictures").mkdir()
    rng = np.random.default_rng(0)
    for name in ("a.png", "b.jpg", "c.webp"):
        Image.fromarray(rng.integers(0, 255, (40, 30, 3), np.uint8)).save(tmp_path / "pictures" / name)
    (tmp_path / "pictures" / "notes.txt").write_text("no picture")
    network = (f"--onnx={path}", "--preprocessing=none", "--layers=conv1_1")
    return ("--experiment=sweep", *network, f"--images={tmp_path / 'pictures'}")


def test_a_sweep_over_pictures_gives_means_and_intervals(three, tmp_path):
    done = tfinvert(*three, "--steps=5", f"--output_dir={tmp_path / 'sweep'}")
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "sweep" / "figures.json").read_text())
    runs = [json.loads((tmp_path / "sweep" / n / "conv1_1" / "run.json").read_text())["result"]["psnr"] for n in "abc"]
    assert found["conv1_1"]["psnr"]["mean"] == pytest.approx(np.mean(runs))
    assert found["conv1_1"]["psnr"]["interval"] == pytest.approx(4.302653 * np.std(runs, ddof=1) / np.sqrt(3), rel=1e-5)
    assert "conv1_1: PSNR " in done.stdout
    assert (tmp_path / "sweep" / "b" / "sweep.png").exists()
    for folder, said in (("nowhere", "expected a folder of pictures"), ("sweep/a/conv1_1/checkpoints", "there is no picture")):
        wrong = tfinvert(*three, "--steps=5", f"--images={tmp_path / folder}", f"--output_dir={tmp_path / 'x'}")
        assert (wrong.returncode, said in wrong.stderr) == (2, True), wrong.stderr
    # The same, two pictures at a time.
    together = tfinvert(*three, "--steps=5", "--batch=2", f"--output_dir={tmp_path / 'together'}")
    assert together.returncode == 0, together.stderr
    figures = json.loads((tmp_path / "together" / "figures.json").read_text())
    for figure in ("psnr", "ssim", "normalized_feature_error"):
        assert figures["conv1_1"][figure] == pytest.approx(found["conv1_1"][figure], rel=1e-3)
    with_a = json.loads((tmp_path / "together" / "a" / "conv1_1" / "run.json").read_text())["together_with"]
    assert with_a == [str(tmp_path / "pictures" / "b.jpg")]
    assert "together_with" not in json.loads((tmp_path / "together" / "c" / "conv1_1" / "run.json").read_text())
    for folder in ("sweep", "together"):
        report = json.loads((tmp_path / folder / "report.json").read_text())
        assert [run["name"] for run in report["runs"]] == ["a conv1_1", "b conv1_1", "c conv1_1"]
    # What is finished stays, however many are run at a time.
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "together").rglob("final.png")}
    again = tfinvert(*three, "--steps=5", "--batch=3", f"--output_dir={tmp_path / 'together'}")
    assert again.returncode == 0, again.stderr
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "together").rglob("final.png")} == before


def test_a_sweep_that_was_killed_goes_on_with_its_pictures_together(three, tmp_path):
    flags = (*three, "--layers=conv2_1", "--init=noise", "--steps=300", "--save_every=20", "--batch=2")
    whole = tfinvert(*flags, f"--output_dir={tmp_path / 'whole'}")
    assert whole.returncode == 0, whole.stderr
    process = start(*flags, f"--output_dir={tmp_path / 'killed'}")
    wait_for(tmp_path / "killed" / "b" / "conv2_1" / "images" / "000040.png", process)
    process.kill()
    process.communicate()
    time.sleep(2)  # the run ends when its parent has
    assert not (tmp_path / "killed" / "c").exists()
    again = tfinvert(*flags, f"--output_dir={tmp_path / 'killed'}")
    assert again.returncode == 0, again.stderr
    for name in ("a", "b", "c"):
        one, other = (contents(tmp_path / folder / name / "conv2_1") for folder in ("whole", "killed"))
        assert one == other


def test_a_sweep_says_which_picture_of_a_batch_failed(three, tmp_path):
    """The features of a black picture are small, and its loss divided by them is too steep for a rate that suits the others."""
    Image.new("RGB", (32, 32)).save(tmp_path / "pictures" / "b.jpg")
    sgd = ("--optimizer=sgd", "--schedule=constant", "--learning_rate=100", "--tv_weight=0", "--parameterization=free")
    flags = ("--layers=conv2_1", "--init=noise", *sgd, "--steps=30", "--batch=3", f"--output_dir={tmp_path / 'sweep'}")
    done = tfinvert(*three, *flags)
    assert done.returncode == 1, done.stderr
    failed = [line.partition(" (")[0] for line in done.stdout.splitlines() if "the loss is" in line]
    assert failed == ["b conv2_1"]
    assert done.stdout.splitlines()[-1].endswith("failed: b conv2_1")
    assert json.loads((tmp_path / "sweep" / "figures.json").read_text())["conv2_1"]["psnr"]["pictures"] == 2


def test_a_report_of_any_runs(tmp_path):
    path = write_onnx(tiny_graph(size=32), tmp_path / "net.onnx")
    for name in ("one", "two"):
        flags = (f"--onnx={path}", "--preprocessing=none", "--layers=pool1", "--steps=5", f"--seed={len(name)}")
        assert tfinvert(*flags, f"--output_dir={tmp_path / name}", f"--tv_weight={0.1 * (name == 'two')}").returncode == 0
    done = tfinvert("--experiment=report", f"--runs={tmp_path / 'one'},{tmp_path / 'two'}", f"--output_dir={tmp_path / 'both'}")
    assert done.returncode == 0, done.stderr
    report = figures(tmp_path / "both")
    best = max(report["runs"], key=lambda run: run["result"]["psnr"])
    assert report["answers"]["All runs"].startswith(f"{best['name']} has the highest PSNR")
    wrong = tfinvert("--experiment=report", f"--runs={tmp_path}", f"--output_dir={tmp_path / 'both'}")
    assert wrong.returncode == 2
    assert "is no run directory" in wrong.stderr
