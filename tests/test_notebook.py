"""The notebook runs from the first cell to the last: with the real network where it is there, else with random weights."""

import json

import numpy as np
import pytest

from tests.conftest import ROOT, SHARED
from tfinvert.objectives import saliency

NOTEBOOK = ROOT / "notebooks" / "gradients.ipynb"


def code_cells():
    return [cell for cell in json.loads(NOTEBOOK.read_text())["cells"] if cell["cell_type"] == "code"]


def test_the_committed_cells_have_run_and_show_no_logs():
    cells = code_cells()
    assert cells[0]["metadata"]["tags"] == ["parameters"]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    assert sum("image/jpeg" in output.get("data", {}) for cell in cells for output in cell["outputs"]) >= 8
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert {output.get("name", output["output_type"]) for output in outputs} == {"stdout", "execute_result"}


@pytest.mark.slow
def test_every_cell_runs(monkeypatch):
    real = SHARED / "models" / "squeezenet1_1-torchvision.onnx"
    if not real.exists():  # of random weights no number of parts is enough, and 1024 of them take minutes
        monkeypatch.setitem(saliency.integrated_gradients.__kwdefaults__, "most", 32)
    names: dict = {}
    for number, cell in enumerate(code_cells()):
        exec(compile("".join(cell["source"]), f"cell {number + 1}", "exec"), names)
        if number == 0:
            names.update({"source": str(real)} if real.exists() else {"settings": {"weights": "random"}}, quick=True)
    assert set(names["maps"]) == {"gradient", "smoothgrad", "integrated", "guided", "grad_cam", "guided_grad_cam"}
    assert names["change"] <= 2
    assert names["course"].images.shape == names["modern"].images.shape == (3, 224, 224, 3)
    assert names["painted"].image.shape[0] == names["texture"].image.shape[0] == 64
    np.testing.assert_allclose(names["gram"][0], np.transpose(names["gram"][0]), rtol=1e-6)
    if real.exists():
        assert names["fooled"].fooled == "3 of 3"
        assert names["result"].classes[0]["name"] == "Egyptian cat"
