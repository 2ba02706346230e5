"""The suite: what it runs, skips and survives; and the report of any runs."""

import json
import re
import signal

import pytest

from tests.conftest import run_contents, run_program, start_program, tiny_graph, wait_for, write_onnx

SMALL = ("suite", "--weights=random", "--size=64", "--save_every=5")


def report_of(folder):
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
    done = run_program(*flags)
    assert done.returncode == 0, done.stderr
    assert [line.partition(":")[0] for line in done.stdout.splitlines()] == [
        *("q4 (1/3)", "q4-middle1 (2/3)", "baseline (3/3)", "report")
    ]
    assert (tmp_path / "q4.diff").read_text().startswith("--- flags/baseline.flags\n+++ flags/q4.flags\n")
    assert not (tmp_path / "baseline.diff").exists()
    report = report_of(tmp_path)
    assert [run["name"] for run in report["runs"]] == ["q4", "q4-middle1", "baseline"]
    assert list(report["answers"]) == ["Question 4: VGG16 or ResNet18?"]
    # The second run of the process is, byte for byte, what it is alone.
    alone = run_program("--flagfile=q4-middle1", *SMALL[1:], "--steps=10", f"--output_dir={tmp_path / 'alone'}")
    assert alone.returncode == 0, alone.stderr
    assert run_contents(tmp_path / "alone") == run_contents(tmp_path / "q4-middle1")
    html = (tmp_path / "report.html").read_text()
    assert "http://" not in html.replace("http://www.w3.org/", "")
    assert "https://" not in html
    before = {p: p.stat().st_mtime_ns for p in tmp_path.glob("*/final.png")}
    again = run_program(*flags)
    assert again.returncode == 0, again.stderr
    assert {p: p.stat().st_mtime_ns for p in tmp_path.glob("*/final.png")} == before
    assert again.stdout == done.stdout
    other = run_program(*flags, "--seed=3")
    assert other.returncode == 2
    assert "holds a run with other settings (--seed=3, was 12345)" in other.stderr


@pytest.mark.slow
def test_a_signal_ends_the_suite_and_the_run_under_way_with_a_checkpoint(tmp_path):
    flags = (*SMALL, "--questions=q4", "--steps=2000", f"--output_dir={tmp_path}")
    process = start_program(*flags)
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
    diverging = "--optimizer=sgd\n--schedule=constant\n--learning_rate=1e30\n--parameterization=free\n"
    bad.write_text(f"# A rate that is too large\n--model=resnet18\n--layers=res1\n{diverging}")
    flags = (*SMALL, f"--questions={bad},q4-middle1", "--steps=3", f"--output_dir={tmp_path / 'suite'}")
    done = run_program(*flags)
    assert done.returncode == 1, done.stderr
    assert "bad (1/2): the loss is" in done.stdout
    assert "failed: bad" in done.stdout
    assert (tmp_path / "suite" / "q4-middle1" / "final.png").exists()
    assert "the loss is" in (tmp_path / "suite" / "report.html").read_text()


@pytest.mark.slow
def test_a_report_of_any_runs(tmp_path):
    path = write_onnx(tiny_graph(size=32), tmp_path / "net.onnx")
    for name in ("one", "two"):
        flags = (f"--onnx={path}", "--preprocessing=none", "--layers=pool1", "--steps=5", f"--seed={len(name)}")
        assert run_program(*flags, f"--output_dir={tmp_path / name}", f"--tv_weight={0.1 * (name == 'two')}").returncode == 0
    done = run_program("report", f"--runs={tmp_path / 'one'},{tmp_path / 'two'}", f"--output_dir={tmp_path / 'both'}")
    assert done.returncode == 0, done.stderr
    report = report_of(tmp_path / "both")
    best = max(report["runs"], key=lambda run: run["result"]["psnr"])
    answer = report["answers"]["All runs"]
    assert answer.startswith(f"The highest PSNR is that of {best['name']}") or "PSNR does not tell" in answer
    assert [run["cut_short"] for run in report["runs"]] == ["5 of 200 steps"] * 2
    wrong = run_program("report", f"--runs={tmp_path}", f"--output_dir={tmp_path / 'both'}")
    assert wrong.returncode == 2
    assert "is no run directory" in wrong.stderr


@pytest.mark.slow
def test_a_run_whose_weights_change_gets_a_process_of_its_own(tmp_path):
    path = write_onnx(tiny_graph(size=32), tmp_path / "net.onnx")
    flags = f"--onnx={path}\n--preprocessing=none\n--layers=conv1_1\n"
    (tmp_path / "plain.flags").write_text(f"# Plain\n{flags}")
    (tmp_path / "prior.flags").write_text(f"# A network makes the image\n{flags}--parameterization=deep_prior\n")
    for names in ("plain,prior", "prior,plain"):
        questions = ",".join(str(tmp_path / f"{name}.flags") for name in names.split(","))
        done = run_program("suite", f"--questions={questions}", "--steps=5", f"--output_dir={tmp_path / names}")
        assert done.returncode == 0, done.stdout
    for name in ("plain", "prior"):
        assert run_contents(tmp_path / "plain,prior" / name) == run_contents(tmp_path / "prior,plain" / name)
