"""The program computes what it did: some cases of golden.json, and the run directories of version 0.1.

To the byte on the machine that recorded them, and nearly so on others.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.golden import record
from tests.golden.cases import CASES

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
OLD = HERE / "v0.1"
QUICK = [case for case in CASES.values() if case.quick]
NEAR = 1e-3  # of the metrics, on other machines


@pytest.fixture(scope="module")
def scratch(tmp_path_factory, cache):
    """A folder in which the quick cases have been run and the old runs resumed and reported, in one process."""
    folder = tmp_path_factory.mktemp("golden")
    places = record.prepare(ROOT, folder)
    for name in ("finished", "interrupted"):
        shutil.copytree(OLD / name, folder / "old" / name)
    old = {name: str(folder / "old" / name) for name in ("finished", "interrupted")}
    commands = [record.arguments(case, places, folder) for case in QUICK]
    commands += [["--experiment=report", f"--runs={','.join(old.values())}", f"--output_dir={folder / 'before'}"]]
    commands += [[f"--flagfile={path}/run.flags", f"--output_dir={path}", "--resume"] for path in old.values()]
    commands += [["--experiment=report", f"--runs={','.join(old.values())}", f"--output_dir={folder / 'after'}"]]
    done = subprocess.run(
        [sys.executable, "-c", record.TOGETHER, json.dumps(commands)],
        cwd=ROOT,
        env={**os.environ, **record.ENVIRONMENT, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize("name", [case.name for case in QUICK])
def test_a_case_gives_what_was_recorded(scratch, name):
    recorded = json.loads((HERE / "golden.json").read_text(encoding="utf-8"))
    before, now = recorded["cases"][name], record.read(scratch / name)
    assert now["flags"] == before["flags"]
    assert now["images"].keys() == before["images"].keys()
    if recorded["machine"] == record.machine():
        assert now == before
    else:
        assert record.largest(before, now) <= NEAR


def test_an_interrupted_run_of_version_0_1_is_resumed_to_the_same_end(scratch):
    expected = json.loads((OLD / "expected.json").read_text(encoding="utf-8"))
    run = scratch / "old" / "interrupted"
    lines = record.metrics(run)
    first = record.metrics(OLD / "interrupted")
    assert lines[: len(first)] == first
    assert [line["step"] for line in lines] == list(range(0, 121, 2))
    if expected["machine"] == record.machine():
        assert lines[-1] == expected["last"]
        assert record.sha256(run / "final.png") == expected["final.png"]
    else:
        assert record.largest({"metrics": expected["last"]}, {"metrics": lines[-1]}) <= NEAR


def test_a_finished_run_of_version_0_1_is_left_as_it_is(scratch):
    for path in (OLD / "finished").rglob("*.*"):
        assert path.read_bytes() == (scratch / "old" / "finished" / path.relative_to(OLD / "finished")).read_bytes(), path


@pytest.mark.parametrize(("when", "figures"), [("before", "19.8"), ("after", "27.9")])
def test_the_report_takes_the_runs_of_version_0_1(scratch, when, figures):
    page = (scratch / when / "report.html").read_text(encoding="utf-8")
    assert "finished" in page
    assert "interrupted" in page
    assert figures in page  # dB of the interrupted run
    assert "21.4" in page
