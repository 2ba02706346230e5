"""Many runs, with a worker that only pretends to run; tests/experiments/test_suite.py has the real one."""

import contextlib
import functools
import os
import signal
import threading
import time
from pathlib import Path

import pytest

from tests.runs import program
from tfinvert.experiments.invert import Settings
from tfinvert.runs import tasks, workers
from tfinvert.runs.directory import RunDirectory
from tfinvert.settings import flagfiles
from tfinvert.settings.groups import WorkerSettings
from tfinvert.system import signals
from tfinvert.system.errors import InputError
from tfinvert.system.signals import Interrupted


def task(folder, *images, **settings):
    """A task of one image in the folder, or of several below it."""
    if len(images) == 1:
        return tasks.Task({images[0]: Settings(image=images[0], output_dir=str(folder), **settings)})
    places = {image: str(folder / image / "conv3_1") for image in images}
    return tasks.Task({image: Settings(image=image, output_dir=place, **settings) for image, place in places.items()})


def local(**settings):
    return functools.partial(workers.connect, WorkerSettings(**settings), program.work)


@pytest.fixture(scope="module")
def two():
    """Two workers of Dask on this machine, for as long as the module is tested."""
    pytest.importorskip("distributed")
    with workers.connect(WorkerSettings(workers=2, retries=1), program.work) as executor:
        yield lambda: contextlib.nullcontext(executor)


def outcomes(*todo, connect=None):
    return [(outcome.name, outcome.error) for outcome in tasks.run_all(todo, connect or local())]


def begun(folder):
    return len(RunDirectory(folder).read_info()["begun"])


def test_runs_go_one_after_the_other_and_say_how_they_ended(tmp_path, capsys):
    todo = [task(tmp_path / name, name) for name in ("works", "fails", "too")]
    assert outcomes(*todo) == [("works", None), ("fails", "the loss is nan"), ("too", None)]
    assert capsys.readouterr().out.splitlines() == [
        "works (1/3): PSNR 30.00 dB",
        "fails (2/3): the loss is nan",
        "too (3/3): PSNR 30.00 dB",
    ]


def test_finished_runs_are_left_and_others_begun_again(tmp_path):
    todo = [task(tmp_path / "a", "works"), task(tmp_path / "b", "fails")]
    tasks.check(todo)
    outcomes(*todo)
    tasks.check(todo)
    assert outcomes(*todo) == [("works", None), ("fails", "the loss is nan")]
    assert (begun(tmp_path / "a"), begun(tmp_path / "b")) == (1, 2)
    replaced = task(tmp_path / "a", "works", overwrite=True)
    tasks.check([replaced])
    outcomes(replaced)
    assert begun(tmp_path / "a") == 2


def test_images_of_one_task_go_together(tmp_path):
    together = task(tmp_path, "a", "fails", "b")
    assert outcomes(together) == [("a", None), ("fails", "the loss is nan"), ("b", None)]
    assert outcomes(together) == [("a", None), ("fails", "the loss is nan"), ("b", None)]
    assert begun(tmp_path / "a" / "conv3_1") == 1


def test_a_run_is_tried_again(tmp_path):
    assert outcomes(task(tmp_path / "a", "again")) == [("again", "the loss is nan")]
    assert outcomes(task(tmp_path / "b", "again"), connect=local(retries=1)) == [("again", None)]


def test_a_folder_with_another_run_is_refused(tmp_path):
    outcomes(task(tmp_path / "run", "works"))
    other = task(tmp_path / "run", "works", seed=1)
    with pytest.raises(InputError, match="holds a run with other settings \\(--seed=1, was 12345\\); give --overwrite"):
        tasks.check([other])
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "thesis.tex").write_text("precious")
    with pytest.raises(InputError, match="holds files that are no run"):
        tasks.check([task(tmp_path / "thesis", "works")])


def interrupt_when(path: Path):
    """Sends SIGINT to this process as soon as a file is there."""

    def wait():
        deadline = time.monotonic() + 60
        while not path.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=wait, daemon=True).start()


def test_a_signal_ends_the_run_under_way_and_the_report_is_written(tmp_path):
    todo = [task(tmp_path / "a", "works"), task(tmp_path / "b", "waits"), task(tmp_path / "c", "works")]
    reported = []

    def write_report(outcomes):
        reported.append(list(outcomes))
        return tmp_path / "report.html"

    interrupt_when(tmp_path / "b" / "metrics.jsonl")
    with pytest.raises(Interrupted):
        tasks.run_with_report(todo, local(), write_report)
    assert reported == [["works"]]
    assert RunDirectory(tmp_path / "b").read_info()["stopped"] == "at step 5"
    assert not (tmp_path / "c").exists()
    # It goes on with what is left.
    assert tasks.run_with_report(todo, local(), write_report) == tasks.TasksResult(tmp_path / "report.html", {})
    assert RunDirectory(tmp_path / "b").is_finished(flagfiles.text(todo[1].first))


def test_a_failure_is_returned_with_the_report(tmp_path):
    todo = [task(tmp_path / "a", "fails"), task(tmp_path / "b", "works")]
    result = tasks.run_with_report(todo, local(), lambda outcomes: tmp_path / "report.html")
    assert (result.path, result.failed, result.exit_code) == (tmp_path / "report.html", {"fails": "the loss is nan"}, 1)


def test_workers_of_dask_do_the_same(tmp_path, two):
    todo = [task(tmp_path / name, name) for name in ("works", "fails", "again", "dies")]
    assert sorted(outcomes(*todo, connect=two)) == [
        ("again", None),
        ("dies", None),
        ("fails", "the loss is nan"),
        ("works", None),
    ]
    pids = {pid for name in ("works", "dies") for pid in RunDirectory(tmp_path / name).read_info()["begun"]}
    assert os.getpid() not in pids
    assert len(pids) > 1  # the one that died, and the one that went on
    assert sorted(outcomes(todo[0], todo[1], connect=two)) == [("fails", "the loss is nan"), ("works", None)]
    assert (begun(tmp_path / "works"), begun(tmp_path / "dies")) == (1, 2)


def test_a_signal_ends_what_workers_of_dask_do(tmp_path, two):
    todo = [task(tmp_path / "a", "waits"), task(tmp_path / "b", "works")]
    interrupt_when(tmp_path / "a" / "metrics.jsonl")
    with pytest.raises(KeyboardInterrupt), signals.raising():  # also where the tests run in the background, without SIGINT
        outcomes(*todo, connect=two)
    assert RunDirectory(tmp_path / "a").read_info()["stopped"] == "at step 5"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"scheduler": "somewhere"}, "--scheduler is 'somewhere'; expected local, tcp://HOST:PORT"),
        ({"scheduler": "none.json"}, "expected local, tcp://HOST:PORT"),
        ({"scheduler": "tcp://a:1", "workers": 2}, "are for --scheduler=local"),
        ({"gather": True}, "--gather is for workers on other machines"),
    ],
)
def test_settings_that_do_not_go_together(settings, message):
    with pytest.raises(InputError, match=message.replace("(", "\\(")):
        WorkerSettings(**settings)


def test_dask_is_needed_for_several_workers_alone(monkeypatch, tmp_path):
    monkeypatch.setattr(workers.importlib.util, "find_spec", lambda name: None)
    assert outcomes(task(tmp_path / "a", "works")) == [("works", None)]
    with pytest.raises(InputError, match="--workers=2 needs Dask: pip install dask distributed"):
        outcomes(task(tmp_path / "b", "works"), connect=local(workers=2))


def test_a_scheduler_that_is_not_there(monkeypatch):
    dask_cluster = pytest.importorskip("tfinvert.runs.dask_cluster")
    monkeypatch.setattr(dask_cluster, "CONNECT_SECONDS", 0.5)
    with pytest.raises(InputError, match=r"the scheduler at tcp://127\.0\.0\.1:9 cannot be reached"):
        outcomes(connect=local(scheduler="tcp://127.0.0.1:9"))
