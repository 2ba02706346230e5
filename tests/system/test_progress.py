"""What a person sees on the terminal while long things go on."""

import os
import subprocess
import sys
import termios

import pytest

from tests.conftest import ROOT, tiny_graph, write_onnx


def on_a_terminal(*arguments, cwd):
    """What the program writes to standard error where that is a terminal."""
    parent, child = os.openpty()
    termios.tcsetwinsize(child, (40, 120))
    command = [sys.executable, str(ROOT / "run_experiments.py"), *arguments]
    environment = {**os.environ, "TFINVERT_CACHE": str(cwd / "cache")}
    with subprocess.Popen(command, cwd=cwd, env=environment, stdout=subprocess.DEVNULL, stderr=child) as process:
        os.close(child)
        shown = b""
        while True:
            try:
                part = os.read(parent, 4096)
            except OSError:  # Linux's answer where nobody writes to a terminal any more
                break
            if not part:
                break
            shown += part
    os.close(parent)
    assert process.returncode == 0, shown
    return shown.decode()


@pytest.mark.slow
def test_a_first_run_shows_its_stages_and_steps_and_a_report_its_runs(tmp_path):
    write_onnx(tiny_graph(size=32), tmp_path / "tiny.onnx")
    run = ("--onnx=tiny.onnx", "--weights=random", "--layers=conv1", "--steps=3", "--output_dir=out/x")
    shown = on_a_terminal(*run, cwd=tmp_path)
    stages = ["calibrating random weights", "converting", "comparing with onnxruntime", "saving"]
    assert [stage for stage in stages if f", {stage}" not in shown] == []
    assert "3/3" in shown
    assert "report: 100%" in on_a_terminal("report", "--runs=out/x", cwd=tmp_path)
