"""The experiments `reference` and `diagnose`, without PyTorch."""

import json

import numpy as np
import pytest

import tfinvert
from tests.conftest import run_program
from tfinvert.system.errors import InputError

HOMEWORK = {"steps": 20, "learning_rate": 0.01, "schedule": "constant", "feature_loss": "mse", "tv_weight": 0.5}
HOMEWORK |= {"parameterization": "free", "init": "noise"}
PORT = """
def run(start, target, settings):
    for step in range(3):
        yield 1.0 / (step + 1), start


def nothing(start, target, settings):
    return iter(())
"""


@pytest.fixture(scope="module")
def reference(small_file, tmp_path_factory):
    folder = tmp_path_factory.mktemp("reference")
    result = tfinvert.reference(
        "astronaut", str(small_file), layers="conv2_1", output_dir=str(folder), every_convolution=True, **HOMEWORK
    )
    assert result.path == folder
    return folder


def diagnose(reference, port, tmp_path, **values):
    return tfinvert.diagnose(str(reference), str(port), output_dir=str(tmp_path / "diagnosis"), overwrite=True, **values)


def test_a_reference_has_the_arrays_of_a_run_by_name(reference):
    with np.load(reference / "reference.npz") as file:
        arrays = {name: file[name] for name in file.files}
    about = json.loads((reference / "reference.json").read_text())
    assert {name: list(array.shape) for name, array in arrays.items()} == {
        name: one["shape"] for name, one in about["arrays"].items()
    }
    assert (
        arrays["start"].shape == arrays["target"].shape == arrays["input"].shape == arrays["gradient"].shape == (1, 32, 32, 3)
    )
    assert {"features/conv1_1", "features/conv2_1", "target_features/conv2_1", "terms/conv2_1", "terms/tv"} <= arrays.keys()
    assert {"images/10", "images/20"} <= arrays.keys()
    assert arrays["spread/losses"].shape == (21,)
    assert 0 < arrays["spread/images/20"] < 1e-3
    assert (arrays["losses"].shape, arrays["learning_rates"].shape) == ((21,), (20,))
    assert arrays["losses"][0] == pytest.approx(arrays["terms/conv2_1"] + 0.5 * arrays["terms/tv"], rel=1e-5)
    error = np.mean((arrays["features/conv2_1"] - arrays["target_features/conv2_1"]) ** 2)
    assert arrays["terms/conv2_1"] == pytest.approx(error, rel=1e-5)
    assert about["term_weights_at_start"] == {"conv2_1": 1.0, "tv": 0.5}


def test_a_reference_agrees_with_itself(reference, tmp_path):
    result = diagnose(reference, reference / "reference.npz", tmp_path)
    assert result.diagnosis.agrees, result.summary()
    written = json.loads((tmp_path / "diagnosis" / "diagnose.json").read_text())
    assert (written["agrees"], written["causes"]) == (True, [])
    assert {"features/conv1_1", "terms/tv"} <= {one["name"] for one in written["differences"]}
    page = (tmp_path / "diagnosis" / "report.html").read_text()
    assert "The port agrees with the reference." in page
    assert "features/conv1_1" in page
    assert result.exit_code == 0


@pytest.mark.parametrize("bound", ["0", "none", "nan", "inf", "-1"])
def test_a_tolerance_is_auto_or_a_number(reference, bound, tmp_path):
    with pytest.raises(InputError, match=rf"--tolerance is {bound}; expected auto or a number above 0"):
        diagnose(reference, reference / "reference.npz", tmp_path, tolerance=bound)


def test_the_layer_at_which_a_port_parts_is_told(reference, tmp_path):
    with np.load(reference / "reference.npz") as file:
        arrays = {name: file[name] for name in ("input", "features/conv1_1", "features/conv2_1")}
    arrays["features/conv2_1"] = arrays["features/conv2_1"] * 1.5
    np.savez(tmp_path / "port.npz", **arrays)
    result = diagnose(reference, tmp_path / "port.npz", tmp_path)
    assert [one.name for one in result.diagnosis.differences if one.differs] == ["features/conv2_1"]


def test_arrays_with_the_channels_first_are_read(reference, tmp_path):
    with np.load(reference / "reference.npz") as file:
        gradient = file["gradient"].transpose(0, 3, 1, 2)
    np.savez(tmp_path / "port.npz", gradient=gradient)
    assert diagnose(reference, tmp_path / "port.npz", tmp_path).diagnosis.agrees


def test_a_run_directory_is_a_port(reference, small_file, tmp_path):
    values = {**HOMEWORK, "tv_weight": 0.0}
    tfinvert.invert(
        "astronaut", str(small_file), "conv2_1", pool="avg", output_dir=str(tmp_path / "run"), save_every=1, **values
    )
    result = diagnose(reference, tmp_path / "run", tmp_path)
    assert [finding.cause for finding in result.diagnosis.findings] == ["Total variation is missing."]


def test_a_function_is_a_port(reference, tmp_path):
    (tmp_path / "my_port.py").write_text(PORT)
    result = diagnose(reference, f"{tmp_path / 'my_port.py'}:run", tmp_path, tolerance="0.5")
    assert result.diagnosis.differences[0].name == "losses"
    assert result.diagnosis.differences[0].differs
    with pytest.raises(InputError, match="yields nothing"):
        diagnose(reference, f"{tmp_path / 'my_port.py'}:nothing", tmp_path)


def test_the_exit_code_is_3_where_a_port_differs(reference, tmp_path):
    with np.load(reference / "reference.npz") as file:
        np.savez(tmp_path / "port.npz", input=file["input"][..., ::-1])
    flags = (f"--reference={reference}", f"--port={tmp_path / 'port.npz'}", f"--output_dir={tmp_path / 'out'}")
    done = run_program("--experiment=diagnose", *flags)
    assert done.returncode == 3, done.stderr
    assert "input" in done.stdout
    assert "BGR" in done.stdout


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"other": np.zeros(3)}, "has the names other; expected some of target, start"),
        ({"losses": np.array([None])}, "cannot be read as an .npz file of plain arrays"),
        ({"losses": np.array(["a"])}, "losses in .* is <U1; expected numbers"),
        ({"features/nothing": np.zeros(3)}, "the port has features/nothing, which this reference does not have"),
    ],
)
def test_a_file_that_is_no_port_is_refused(reference, arrays, message, tmp_path):
    np.savez(tmp_path / "port.npz", **arrays)
    with pytest.raises(InputError, match=message):
        diagnose(reference, tmp_path / "port.npz", tmp_path)


def test_what_is_missing_is_said(reference, tmp_path):
    (tmp_path / "text.npz").write_text("no archive")
    for port, message in (("text.npz", "cannot be read"), ("missing.npz", "there is no such file or run directory")):
        with pytest.raises(InputError, match=message):
            diagnose(reference, tmp_path / port, tmp_path)
    with pytest.raises(InputError, match=r"there is no reference\.npz"):
        diagnose(tmp_path, tmp_path / "text.npz", tmp_path)
    with pytest.raises(InputError, match="--port is missing"):
        tfinvert.diagnose(str(reference))


def test_runs_that_are_not_on_pixels_are_refused_by_name(small_file, tmp_path):
    tfinvert.reference("astronaut", str(small_file), layers="conv2_1", steps=2, output_dir=str(tmp_path / "ref"))
    with pytest.raises(InputError, match=r"the reference has --parameterization=pyramid; .* expects free or clip"):
        diagnose(tmp_path / "ref", tmp_path / "ref" / "reference.npz", tmp_path)
