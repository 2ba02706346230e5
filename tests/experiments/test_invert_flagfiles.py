"""The flagfiles of inversions run, and a diff is what its question changes."""

import math
import subprocess

import pytest

from tests.conftest import ROOT, run_contents
from tests.test_cli import FLAGFILES
from tfinvert import cli, runner
from tfinvert.experiments.suite import Settings, questions
from tfinvert.settings import packaged

INVERSIONS = [path for path in FLAGFILES if "--experiment=" not in path.read_text()]


def run_short(flagfile, folder):
    experiment, settings = cli.parse([f"--flagfile={flagfile}", "--weights=random", "--steps=3", f"--output_dir={folder}"])
    (run,) = runner.execute(experiment, settings, runner.Given(progress=False))
    assert math.isfinite(run.result.psnr)
    assert [line["step"] for line in run.directory.read_metrics()] == [0, 3]
    assert run.directory.sheet.exists()


@pytest.mark.slow
@pytest.mark.parametrize("path", INVERSIONS, ids=lambda path: path.stem)
def test_a_flagfile_runs_and_the_patched_baseline_runs_the_same(path, tmp_path):
    run_short(path, tmp_path / "own")
    if path.stem not in questions.flagfiles_of(["all"]) or path.stem == packaged.BASELINE:
        return
    (question,) = Settings(**Settings.complete({"questions": path.stem})).find_questions()
    patched = tmp_path / "patched.flags"
    patched.write_text((ROOT / "flags" / "baseline.flags").read_text())
    subprocess.run(["patch", str(patched)], input=questions.diff(questions.read_baseline(), question), text=True, check=True)
    assert cli.parse([f"--flagfile={patched}"])[1] == question.own
    run_short(patched, tmp_path / "patched")
    assert run_contents(tmp_path / "patched") == run_contents(tmp_path / "own")
