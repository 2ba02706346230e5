import importlib.util

import pytest
from skimage import data

import tfinvert
from tests.conftest import SHARED, tiny_graph, write_onnx
from tfinvert import metrics
from tfinvert.system.errors import InputError

MODELS = SHARED / "models"
FILES = {"alex": "alexnet-torchvision-trunk.onnx", "squeeze": "squeezenet1_1-torchvision.onnx"}
ASTRONAUT, CHELSEA = data.astronaut()[:160, :200] / 255, data.chelsea()[:160, :200] / 255
# Of the package lpips 0.1.4 itself, with the same trunks in PyTorch: two photographs, and one with half its contrast.
EXPECTED = {"alex": (0.743330657, 0.116980128), "squeeze": (0.618426323, 0.114088543)}


@pytest.mark.parametrize("kind", FILES)
def test_lpips_is_the_packages(kind):
    if missing := [package for package in ("lpips", "torch") if importlib.util.find_spec(package) is None]:
        pytest.skip(f"not installed: {', '.join(missing)}")
    if not (MODELS / FILES[kind]).is_file():
        pytest.skip("../shared/data/models has no trained networks here")
    network = tfinvert.load(MODELS / FILES[kind], preprocessing="torch")
    assert metrics.lpips(ASTRONAUT, ASTRONAUT, network) == pytest.approx(0, abs=1e-9)
    assert metrics.lpips(ASTRONAUT, CHELSEA, network) == pytest.approx(EXPECTED[kind][0], abs=1e-5)
    assert metrics.lpips(ASTRONAUT, 0.5 * ASTRONAUT + 0.25, network) == pytest.approx(EXPECTED[kind][1], abs=1e-5)
    with pytest.raises(ValueError, match="expected the same"):
        metrics.lpips(ASTRONAUT, CHELSEA[:-1], network)


def test_other_weights_give_no_figure():
    if not (MODELS / "squeezenet1.1-gluon.onnx").is_file():
        pytest.skip("../shared/data/models has no trained networks here")
    for network in (
        tfinvert.load(MODELS / "squeezenet1.1-gluon.onnx", preprocessing="torch"),  # of another training
        tfinvert.load(MODELS / FILES["squeeze"], preprocessing="none"),
    ):
        with pytest.raises(InputError, match="is not what LPIPS was fitted to"):
            metrics.lpips(ASTRONAUT, CHELSEA, network)


def test_other_networks_give_no_figure(tmp_path):
    network = tfinvert.load(write_onnx(tiny_graph(size=32), tmp_path / "net.onnx"), preprocessing="none")
    with pytest.raises(InputError, match=r"net is not what LPIPS was fitted to; expected torchvision's AlexNet"):
        metrics.lpips(ASTRONAUT, CHELSEA, network)
