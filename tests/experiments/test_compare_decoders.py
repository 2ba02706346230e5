"""Optimization, decoder, and both: the table, its figures, and what is refused."""

import json

import numpy as np
import pytest
from PIL import Image

from tests.conftest import tiny_graph, write_onnx
from tfinvert import cli, metrics
from tfinvert.decoders.comparison import WAYS, mean_distance
from tfinvert.decoders.encoder import describe_encoder
from tfinvert.decoders.files import save_decoder
from tfinvert.decoders.model import build_decoder
from tfinvert.experiments.compare_decoders import Settings
from tfinvert.images import files as images
from tfinvert.networks.load import load
from tfinvert.settings.groups import NetworkSettings
from tfinvert.system.errors import InputError


@pytest.fixture(scope="module")
def untrained(tmp_path_factory):
    """A network and decoders of two of its layers, which nobody has trained."""
    folder = tmp_path_factory.mktemp("untrained")
    write_onnx(tiny_graph(), folder / "tiny.onnx")
    sources = []
    for layer in ("conv1", "conv2"):
        settings = NetworkSettings(onnx=str(folder / "tiny.onnx"), model="alexnet")
        network = load(settings.onnx)
        encoder = describe_encoder(settings, network.layer(layer), network.size, network.request)
        decoder = build_decoder(encoder.shape, encoder.size, width=2)
        save_decoder(decoder, encoder, folder / f"{layer}.keras")
        sources.append(str(folder / f"{layer}.keras"))
    return sources


def test_the_table_has_each_layer_image_and_way(untrained, tmp_path, capfd):
    arguments = [f"--decoders={','.join(untrained)}", "--image=astronaut,chelsea", f"--output_dir={tmp_path}"]
    assert cli.main(["tfinvert", "--experiment=compare_decoders", *arguments, "--steps=40", "--tv_weight=0.01"]) == 0
    out = capfd.readouterr().out
    info = json.loads((tmp_path / "run.json").read_text())
    assert (info["image"], info["decoders"]) == ("astronaut, chelsea", untrained)
    rows = [row for row in info["result"]["rows"] if row["way"] in WAYS]
    grey = [row for row in info["result"]["rows"] if row["way"] == "an even grey" and row["image"] == "astronaut"]
    assert [row["psnr"] for row in grey] == [
        pytest.approx(metrics.psnr(np.full((16, 16, 3), 0.5), images.load("astronaut", (16, 16))[0]))
    ] * 2
    expected = [(layer, name, way) for layer in ("conv1", "conv2") for way in WAYS for name in ("astronaut", "chelsea")]
    assert [(row["layer"], row["image"], row["way"]) for row in rows] == expected
    assert [row["steps"] for row in rows[::2]] == [40, 0, 8, 40, 0, 8]
    for row in rows:
        place = WAYS.index(row["way"])
        number = ("astronaut", "chelsea").index(row["image"])
        with Image.open(tmp_path / "images" / f"{row['layer']}-{number}-{place}.png") as file:
            image = np.asarray(file, np.float32)[None] / 255
        target = images.load(row["image"], (16, 16))
        assert row["psnr"] == pytest.approx(metrics.psnr(image, target), abs=0.1)
        distance = mean_distance((16, 16))
        assert row["image_error"] == pytest.approx(np.linalg.norm(image - target) / distance, abs=0.01)
    optimized = [row for row in rows if row["way"] == "optimization"]
    decoded = [row for row in rows if row["way"] == "decoder"]
    for better, worse in zip(optimized, decoded, strict=True):
        assert better["feature_error"] < worse["feature_error"]
    assert all(row["steps_to_psnr"] is None or row["steps_to_psnr"] <= 8 for row in rows[4:6])
    table = (tmp_path / "table.md").read_text()
    assert table in out
    assert len(table.splitlines()) == 2 + 20 + 10  # with an even grey and the mean image
    assert "| conv2 | mean | from the decoder | 8 |" in table
    with Image.open(tmp_path / "sheet.png") as figure:
        assert figure.width >= 720


def test_what_cannot_be_compared(untrained, tmp_path, capfd):
    for arguments, words in (
        (["--decoders="], "--decoders names 0 decoders"),
        ([f"--decoders={untrained[0]}", "--layers=conv1,conv2"], "1 decoders for 2 layers"),
        ([f"--decoders={untrained[0]}", "--warm_rate=0"], "--warm_rate is 0"),
        ([f"--decoders={untrained[0]}", "--pool=avg"], "pool max, not avg"),
        ([f"--decoders={untrained[0]},{untrained[0]}"], "names a layer twice"),
    ):
        code = cli.main(["tfinvert", "--experiment=compare_decoders", *arguments, f"--output_dir={tmp_path / 'no'}"])
        said = capfd.readouterr().err
        assert (code, said.count("\n")) == (2, 1), said
        assert words in said
    with pytest.raises(InputError):
        Settings(decoders=("a",), layers=("conv1",), steps=-1)
