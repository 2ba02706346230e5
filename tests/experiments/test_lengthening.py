"""A finished run is made longer where nothing in it depends on the number of its steps; else it is said why not."""

import json

import pytest

from tests.conftest import run_contents, tiny_graph, write_onnx
from tfinvert import cli

CONSTANT = ("--schedule=constant", "--learning_rate=0.05", "--tv_weight=0.1")


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    path = write_onnx(tiny_graph(size=32), tmp_path_factory.mktemp("network") / "net.onnx")
    return (f"--onnx={path}", "--preprocessing=none", "--layers=pool1", "--save_every=5")


def run(*flags):
    return cli.main(["tfinvert", *map(str, flags)])


def test_a_finished_run_of_a_constant_rate_is_made_longer(network, tmp_path):
    assert run(*network, *CONSTANT, "--steps=10", f"--output_dir={tmp_path / 'longer'}") == 0
    assert run(*network, *CONSTANT, "--steps=20", "--resume", f"--output_dir={tmp_path / 'longer'}") == 0
    assert run(*network, *CONSTANT, "--steps=20", f"--output_dir={tmp_path / 'whole'}") == 0
    assert run_contents(tmp_path / "longer") == run_contents(tmp_path / "whole")
    assert "result" in json.loads((tmp_path / "longer" / "run.json").read_text())


def test_why_a_finished_run_cannot_be_made_longer(network, tmp_path, capfd):
    folder = f"--output_dir={tmp_path / 'run'}"
    assert run(*network, "--steps=10", folder) == 0
    before = run_contents(tmp_path / "run")
    for flags, words in (
        (
            ("--steps=600", "--resume"),
            "holds a run of 10 steps, which cannot be resumed with 600: its learning rate fell until",
        ),
        (("--steps=5", "--resume"), "holds a run of 10 steps, which cannot be resumed with 5: it was planned for more than 5"),
        (("--steps=10", "--seed=7"), "already holds a run; give --resume, --overwrite or another --output_dir"),
    ):
        capfd.readouterr()
        assert run(*network, *flags, folder) == 2
        said = capfd.readouterr().err
        assert words in said
        assert said.count("\n") == 1
    assert run_contents(tmp_path / "run") == before


def test_an_experiment_that_cannot_resume_does_not_offer_it(tmp_path, capfd):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "run.flags").write_text("--experiment=saliency\n")
    assert run("saliency", "--weights=random", f"--output_dir={folder}") == 2
    assert capfd.readouterr().err.endswith("already holds a run; give --overwrite or another --output_dir\n")
