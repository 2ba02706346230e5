"""A part of what `python -m tests.zoo_matrix` tries: the onnx package's graphs, and small networks of keras.applications."""

import pytest

from tests.zoo_matrix import files, one
from tests.zoo_matrix.__main__ import table, tried
from tfinvert.networks.conversion.verify import TOLERANCE
from tfinvert.networks.load import load

# A layer of each, with its stride and receptive field.
LAYERS = {
    "light_bvlc_alexnet": ("conv5", (16, 16), (163, 163)),
    "light_densenet121": ("denseblock1", (4, 4), (59, 59)),
    "light_inception_v1": ("mixed0", (8, 8), (59, 59)),
    "light_inception_v2": ("mixed0", (8, 8), (59, 59)),
    "light_resnet50": ("res1", (4, 4), (19, 19)),
    "light_shufflenet": ("mixed0", (8, 8), (15, 15)),
    "light_squeezenet": ("fire2", (4, 4), (15, 15)),
    "light_vgg19": ("conv3_1", (4, 4), (24, 24)),
    "light_zfnet512": ("conv5", (16, 16), (139, 139)),
}
KERAS = ("MobileNetV2.keras", "MobileNetV2-nhwc.tf2onnx.onnx", "EfficientNetB0.keras")


@pytest.mark.parametrize("path", files.package_files(), ids=lambda path: path.stem)
def test_the_layers_of_the_graphs_of_the_onnx_package(path):
    network = load(path, weights="random")
    name, stride, field = LAYERS[path.stem]
    layer = network.layers[name]
    assert (layer.stride, layer.receptive_field) == (stride, field)
    network.check(["scores", "last"])


def test_the_table_has_what_was_refused():
    rows = [
        {"file": "b.onnx", "refused": "no network"},
        {
            "file": "a.onnx",
            "converter": "keras",
            "layers": 3,
            "largest error": 2e-6,
            "error of the builder": 2e-6,
            "missing": [],
            "inverted": "3 of 3",
            "geometry": ["x: equal (3x3)", "y: LARGER (4x4)"],
            "seconds": 12.3,
            "GB": 1.23,
        },
    ]
    first, second = table(rows).splitlines()[2:]
    assert first == "| a.onnx | keras | 3 | 2.0e-06 | 2.0e-06 | none | 3 of 3 | 1 of 2 | 12 | 1.2 |"
    assert second.startswith("| b.onnx | refused: no network | - |")


@pytest.mark.slow
@pytest.mark.parametrize("name", [*(path.name for path in files.package_files()), *KERAS])
def test_a_file_is_converted_named_and_inverted(name, tmp_path):
    path = next((each for each in files.package_files() if each.name == name), tmp_path / name)
    if not path.exists():
        files.makers()[name](path)
    row = tried(path, "--converter=keras")
    assert "refused" not in row, row
    assert row["error of the builder"] is None or row["error of the builder"] <= 3 * TOLERANCE
    assert row["missing"] == []
    done, _, chosen = row["inverted"].partition(" of ")
    assert done == chosen
    assert not [words for words in row["geometry"] if "LARGER" in words]


def test_every_family_has_names_that_people_use():
    begun = tuple(one.NAMES)
    assert all(name.startswith(begun) for name in files.makers())
