"""Optimization, decoder, and both: the table, its figures, and what is refused."""

import json

import numpy as np
import pytest
from PIL import Image

from tests.conftest import tiny_graph, write_onnx
from tfinvert import cli, metrics
from tfinvert.decoders import model as decoders
from tfinvert.decoders.model import Encoder
from tfinvert.errors import InputError
from tfinvert.experiments import compare_decoders
from tfinvert.images import files as images
from tfinvert.networks.conversion import convert
from tfinvert.settings.config import CompareDecodersConfig


@pytest.fixture(scope="module")
def untrained(tmp_path_factory):
    """A network and decoders of two of its layers, which nobody has trained."""
    folder = tmp_path_factory.mktemp("untrained")
    write_onnx(tiny_graph(), folder / "tiny.onnx")
    sources = []
    for layer in ("conv1", "conv2"):
        config = CompareDecodersConfig(
            onnx=str(folder / "tiny.onnx"), pool="max", layers=(layer,), decoders=("x",), model="alexnet"
        )
        with convert.Conversion(convert.request_for(config, (layer,))) as conversion:
            converted = conversion.result()
        encoder = Encoder.of(config, converted.layers[0], converted.size, converted.request)
        decoder = decoders.build(encoder.shape, encoder.size, width=2)
        decoders.save(decoder, encoder, folder / f"{layer}.keras")
        sources.append(str(folder / f"{layer}.keras"))
    return sources


def test_the_table_has_each_layer_picture_and_way(untrained, tmp_path, capfd):
    arguments = [f"--decoders={','.join(untrained)}", "--pictures=astronaut,chelsea", f"--output_dir={tmp_path}"]
    assert cli.main(["tfinvert", "--experiment=compare_decoders", *arguments, "--steps=40", "--tv_weight=0.01"]) == 0
    out = capfd.readouterr().out
    info = json.loads((tmp_path / "run.json").read_text())
    rows = info["result"]["rows"]
    found = [(row["layer"], row["picture"], row["way"]) for row in rows]
    wanted = [
        (layer, p, way) for layer in ("conv1", "conv2") for way in compare_decoders.WAYS for p in ("astronaut", "chelsea")
    ]
    assert found == wanted
    assert [row["steps"] for row in rows[::2]] == [40, 0, 8, 40, 0, 8]
    for row in rows:
        place = compare_decoders.WAYS.index(row["way"])
        number = ("astronaut", "chelsea").index(row["picture"])
        with Image.open(tmp_path / "images" / f"{row['layer']}-{number}-{place}.png") as picture:
            image = np.asarray(picture, np.float32)[None] / 255
        target = images.load(row["picture"], (16, 16))
        assert row["psnr"] == pytest.approx(metrics.psnr(image, target), abs=0.1)
        distance = compare_decoders._mean_distance((16, 16))
        assert row["image_error"] == pytest.approx(np.linalg.norm(image - target) / distance, abs=0.01)
    optimized = [row for row in rows if row["way"] == "optimization"]
    untrained_rows = [row for row in rows if row["way"] == "decoder"]
    for one, other in zip(optimized, untrained_rows, strict=True):
        assert one["feature_error"] < other["feature_error"]
    assert all(row["steps_to_psnr"] is None or row["steps_to_psnr"] <= 8 for row in rows[4:6])
    table = (tmp_path / "table.md").read_text()
    assert table in out
    assert len(table.splitlines()) == 2 + 12 + 6
    assert "| conv2 | mean | from the decoder | 8 |" in table
    with Image.open(tmp_path / "sheet.png") as figure:
        assert figure.width >= 720


def test_where_it_is_as_good():
    assert compare_decoders._first(np.array([False, True, False])) == 1
    assert compare_decoders._first(np.array([True])) == 0
    assert compare_decoders._first(np.array([False, False])) is None


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
        CompareDecodersConfig(decoders=("a",), layers=("conv1",), steps=-1)
