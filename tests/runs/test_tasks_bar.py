"""The progress line of many runs."""

import re

from tests.conftest import wait_until
from tfinvert.experiments.invert import Settings
from tfinvert.runs import tasks_bar
from tfinvert.runs.directory import RunDirectory
from tfinvert.runs.executors import Answer, Progress, RunResult
from tfinvert.runs.tasks import Task


class Workers:
    """An executor that computes nothing. It has two workers: one does the second task, and one does nothing."""

    def progress(self):
        return Progress(running=(1,), workers=2)


def test_the_line_has_tasks_steps_workers_and_time(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(tasks_bar, "is_watched", lambda: True)
    monkeypatch.setattr(tasks_bar, "POLL_SECONDS", 0.01)
    todo = [Task({str(n): Settings(steps=100, output_dir=str(tmp_path / str(n)))}) for n in range(3)]
    for number, content in enumerate(({"result": {"steps_per_second": 0.5}}, {})):
        run = RunDirectory(tmp_path / str(number))
        run.create("", {}, resume=False)
        run.write_info(content)
        run.append_metrics({"step": 50, "loss": 1.0})
    seen = ""

    def shown():
        nonlocal seen
        seen += capsys.readouterr().err
        return "left" in seen

    with tasks_bar.TasksBar(todo, Workers()) as bar:
        bar.done(0, Answer((RunResult("done"),), seconds=200.0))
        wait_until(shown)
    # 150 of 300 steps are made. Of the 200 steps that are not finished, each takes 2 s, on two workers.
    assert re.search(r"1/3 tasks:  50%\|.*\| 150/300 steps, .*, \d+\.\d steps/s, 2 workers, about 3 min left", seen), seen


def test_there_is_no_line_where_nobody_watches(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(tasks_bar, "is_watched", lambda: False)
    with tasks_bar.TasksBar([Task({"a": Settings(steps=1, output_dir=str(tmp_path))})], Workers()) as bar:
        bar.done(0, Answer((RunResult("done"),)))
    assert capsys.readouterr().err == ""
