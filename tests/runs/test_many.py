"""Many runs, with a program that only pretends to run; tests/experiments/test_suite.py has the real one."""

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from tfinvert.experiments.invert import Settings
from tfinvert.runs import many
from tfinvert.runs.directory import RunDirectory
from tfinvert.settings import flagfiles
from tfinvert.system.errors import InputError
from tfinvert.system.signals import Interrupted


@pytest.fixture(autouse=True)
def program(monkeypatch):
    monkeypatch.setattr(many, "PROGRAM", "tests.runs.program")
    monkeypatch.setattr(many, "POLL_SECONDS", 0.01)


def job(folder, *images, **settings):
    """A job of one image in the folder, or of several below it."""
    if len(images) == 1:
        return {images[0]: Settings(image=images[0], output_dir=str(folder), **settings)}
    places = {image: str(folder / image / "conv3_1") for image in images}
    return {image: Settings(image=image, output_dir=place, **settings) for image, place in places.items()}


def outcomes(*jobs):
    return [(outcome.name, outcome.error) for outcome in many.run_all(jobs)]


def begun(folder):
    return RunDirectory(folder).read_info()["begun"]


def test_runs_go_one_after_the_other_and_say_how_they_ended(tmp_path, capsys):
    jobs = [job(tmp_path / name, name) for name in ("works", "fails", "crashes", "too")]
    assert outcomes(*jobs) == [
        ("works", None),
        ("fails", "the loss is nan"),
        ("crashes", "ended with exit code 3"),
        ("too", None),
    ]
    lines = capsys.readouterr().out.splitlines()
    assert "PSNR 30.00 dB" in lines[0]
    assert lines[1] == "fails (2/4): the loss is nan"
    assert [line.partition(":")[0] for line in lines] == ["works (1/4)", "fails (2/4)", "crashes (3/4)", "too (4/4)"]


def test_finished_runs_are_skipped_and_others_resumed(tmp_path):
    jobs = [job(tmp_path / "a", "works"), job(tmp_path / "b", "fails")]
    many.check(jobs)
    outcomes(*jobs)
    many.check(jobs)
    assert outcomes(*jobs) == [("works", None), ("fails", "the loss is nan")]
    assert begun(tmp_path / "a") == ["anew"]
    assert begun(tmp_path / "b") == ["anew", "--resume"]
    replaced = job(tmp_path / "a", "works", overwrite=True)
    many.check([replaced])
    outcomes(replaced)
    assert begun(tmp_path / "a") == ["anew", "anew"]


def test_images_of_one_job_share_a_process(tmp_path):
    together = job(tmp_path, "a", "fails", "b")
    assert outcomes(together) == [("a", None), ("fails", "the loss is nan"), ("b", None)]
    # Only what is not finished runs again.
    assert outcomes(together) == [("a", None), ("fails", "the loss is nan"), ("b", None)]
    assert begun(tmp_path / "a" / "conv3_1") == ["anew"]


def test_a_folder_with_another_run_is_refused(tmp_path):
    outcomes(job(tmp_path / "run", "works"))
    other = job(tmp_path / "run", "works", seed=1)
    with pytest.raises(InputError, match="holds a run with other settings \\(--seed=1, was 12345\\); give --overwrite"):
        many.check([other])
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "thesis.tex").write_text("precious")
    with pytest.raises(InputError, match="holds files that are no run"):
        many.check([job(tmp_path / "thesis", "works")])


def interrupt_when(path: Path):
    """Sends SIGINT to this process as soon as a file is there."""

    def wait():
        deadline = time.monotonic() + 60
        while not path.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=wait, daemon=True).start()


def test_a_signal_ends_the_run_under_way_and_the_report_is_written(tmp_path):
    jobs = [job(tmp_path / "a", "works"), job(tmp_path / "b", "waits"), job(tmp_path / "c", "works")]
    reported = []

    def write_report(outcomes):
        reported.append(list(outcomes))
        return tmp_path / "report.html"

    interrupt_when(tmp_path / "b" / "metrics.jsonl")
    with pytest.raises(Interrupted):
        many.run_with_report(jobs, write_report)
    assert reported == [["works"]]
    assert RunDirectory(tmp_path / "b").read_info()["stopped"] == "at step 5"
    assert not (tmp_path / "c").exists()
    # It goes on with what is left.
    assert many.run_with_report(jobs, write_report) == (tmp_path / "report.html", {})
    assert RunDirectory(tmp_path / "b").is_finished(flagfiles.text(jobs[1]["waits"]))


def test_a_failure_is_returned_with_the_report(tmp_path):
    jobs = [job(tmp_path / "a", "fails"), job(tmp_path / "b", "works")]
    path, failed = many.run_with_report(jobs, lambda outcomes: tmp_path / "report.html")
    assert (path, failed) == (tmp_path / "report.html", {"fails": "the loss is nan"})
