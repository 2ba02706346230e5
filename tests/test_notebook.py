"""The notebooks run from the first cell to the last: with the real network where it is there, else with random weights."""

import json

import matplotlib.pyplot as plt
import numpy as np
import pytest

from tests.conftest import ROOT, SHARED
from tfinvert.objectives import saliency

NOTEBOOKS = {path.stem: path for path in sorted((ROOT / "notebooks").glob("*.ipynb"))}
REAL = SHARED / "models" / "squeezenet1_1-torchvision.onnx"


def cells(name, kind):
    return [cell for cell in json.loads(NOTEBOOKS[name].read_text())["cells"] if cell["cell_type"] == kind]


def is_parameters(cell):
    return "parameters" in cell["metadata"].get("tags", [])


def run(name, monkeypatch, **parameters):
    """The names that a notebook's cells leave, run in order; `parameters` replace values of its cell of parameters."""
    monkeypatch.setattr(plt, "show", lambda: plt.close("all"))
    names: dict = {}
    for number, cell in enumerate(cells(name, "code")):
        exec(compile("".join(cell["source"]), f"{name}, cell {number + 1}", "exec"), names)
        if is_parameters(cell):
            names.update({"source": str(REAL)} if REAL.exists() else {"settings": {"weights": "random"}}, **parameters)
    return names


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_the_committed_cells_have_run_and_show_no_logs(name):
    code = cells(name, "code")
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell["outputs"]]
    assert {output.get("name", output["output_type"]) for output in outputs} <= {"stdout", "execute_result", "display_data"}
    assert sum("image/jpeg" in output.get("data", {}) for output in outputs) >= 6


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_installs_itself_and_asks_questions(name):
    code = cells(name, "code")
    assert "pip" in "".join(code[0]["source"])
    assert is_parameters(code[1])
    questions = [
        line
        for cell in cells(name, "markdown")
        for line in "".join(cell["source"]).splitlines()
        if line.startswith("*Question ")
    ]
    assert [line.split()[1].rstrip(".") for line in questions] == [str(n + 1) for n in range(len(questions))]
    assert len(questions) >= 5


@pytest.mark.slow
def test_every_cell_about_inversion_runs(monkeypatch):
    names = run("inversion", monkeypatch, steps=3)
    assert set(names["by_depth"]) == set(names["layers"])
    assert names["pair"].images.shape == (2, 224, 224, 3)
    assert len({each.image.tobytes() for each in names["smoothed"].values()}) == 3  # the weight of the term matters
    assert names["between"].image.shape == names["random"].image.shape == (224, 224, 3)
    assert "random" in names["random"].weights


@pytest.mark.slow
def test_every_cell_about_gradients_runs(monkeypatch):
    if not REAL.exists():  # of random weights no number of parts is enough, and 1024 of them take minutes
        monkeypatch.setitem(saliency.integrated_gradients.__kwdefaults__, "most", 32)
    names = run("gradients", monkeypatch, quick=True)
    assert set(names["maps"]) == {"gradient", "smoothgrad", "integrated", "guided", "grad_cam", "guided_grad_cam"}
    assert names["change"] <= 2
    assert names["course"].images.shape == names["modern"].images.shape == (3, 224, 224, 3)
    assert names["painted"].image.shape[0] == names["texture"].image.shape[0] == 64
    np.testing.assert_allclose(names["gram"][0], np.transpose(names["gram"][0]), rtol=1e-6)
    if REAL.exists():
        assert names["fooled"].fooled == "3 of 3"
        assert names["result"].classes[0]["name"] == "Egyptian cat"
