"""Every flagfile of saliency, fooling, class visualization and style runs, shortened and with random weights."""

import json

import pytest

from tests.test_cli import FLAGFILES, parsed
from tfinvert import cli

SHORTER = {
    "saliency": ["--image=coffee", "--samples=2", "--methods=gradient,smoothgrad,guided,grad_cam"],
    "fool": ["--steps=2"],
    "class_vis": ["--steps=2", "--class=gorilla,tick"],
    "style": ["--steps=2", "--image=chelsea", "--side=64", "--style_side=64", "--style_images=coffee"],
}


def is_shortened(path):
    return any(f"--experiment={name}\n" in path.read_text() for name in SHORTER)


@pytest.mark.slow
@pytest.mark.parametrize("path", [path for path in FLAGFILES if is_shortened(path)], ids=lambda path: path.stem)
def test_a_flagfile_runs(path, tmp_path):
    flags = [f"--flagfile={path}", *SHORTER[parsed(f"--flagfile={path}").experiment], "--weights=random"]
    assert cli.run_arguments([*flags, f"--output_dir={tmp_path / 'run'}"]) == 0
    info = json.loads((tmp_path / "run" / "run.json").read_text())
    assert info["network"] == "squeezenet1.1"
    assert info["result"]["seconds"] > 0
    assert (tmp_path / "run" / "sheet.png").exists()
