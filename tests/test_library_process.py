"""The library leaves the caller's process as it is, and obeys nothing of it that would change results."""

import json
import logging
import os
import random
import signal
import subprocess
import sys
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfinvert
from tests.conftest import ROOT, messages, run_contents, run_program

FAST = {"steps": 3, "save_every": 1, "progress": False}


@pytest.fixture(scope="module")
def network(small_file):
    return tfinvert.load(small_file, preprocessing="none")


def process_state():
    """What belongs to the caller."""
    root, own = logging.getLogger(), logging.getLogger("tfinvert")
    return {
        "random": random.getstate(),
        "numpy": [part.tolist() if isinstance(part, np.ndarray) else part for part in np.random.get_state()],  # noqa: NPY002
        "environment": dict(os.environ),
        "warnings": list(warnings.filters),
        "logging": [(log.level, log.propagate, list(log.handlers), log.disabled) for log in (root, own, tf.get_logger())],
        "float type": (keras.config.floatx(), keras.config.dtype_policy().name, keras.config.image_data_format()),
        "eager": (tf.executing_eagerly(), tf.config.functions_run_eagerly()),
        "signals": [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)],
        "precision": tf.config.experimental.tensor_float_32_execution_enabled(),
        "folder": os.getcwd(),
        "streams": (sys.stdout, sys.stderr, sys.excepthook),
    }


def run_everything(network, folder):
    """A run with a run directory, one without, and an optimization."""
    tfinvert.invert("astronaut", network, "conv2_1", output_dir=folder, **FAST)
    features = network.features("chelsea", "conv2_1")
    tfinvert.invert(features, network, parameterization="deep_prior", **FAST)
    tfinvert.optimize(network, [tfinvert.terms.match(features)], **FAST)


def test_nothing_changes_in_the_caller_s_process(network, tmp_path):
    run_everything(network, tmp_path / "first")  # scipy's import adds warnings filters, TensorFlow's environment variables
    tf.random.set_seed(7)
    expected = tf.random.uniform([3]).numpy()
    tf.random.set_seed(7)
    before = process_state()
    run_everything(network, tmp_path / "run")
    after = process_state()
    for name, value in before.items():
        assert after[name] == value, name
    np.testing.assert_array_equal(tf.random.uniform([3]).numpy(), expected)


@pytest.fixture
def half_precision():
    before = keras.config.floatx(), keras.config.dtype_policy(), keras.config.image_data_format()
    keras.config.set_floatx("float16")
    keras.config.set_dtype_policy("mixed_float16")
    keras.config.set_image_data_format("channels_first")
    yield
    keras.config.set_floatx(before[0])
    keras.config.set_dtype_policy(before[1])
    keras.config.set_image_data_format(before[2])


@pytest.mark.parametrize("values", [{}, {"parameterization": "deep_prior", "learning_rate": 0.01}], ids=["pixels", "generator"])
def test_the_float_type_of_keras_is_not_obeyed(small_file, values, request):
    def invert():
        return tfinvert.invert("astronaut", tfinvert.load(small_file, preprocessing="none"), "conv2_1", **values, **FAST)

    expected = invert()
    request.getfixturevalue("half_precision")
    np.testing.assert_array_equal(invert().image, expected.image)


def test_eager_mode_is_neither_changed_nor_a_reason_to_fail(network):
    expected = tfinvert.invert("astronaut", network, "conv2_1", **FAST)
    tf.config.run_functions_eagerly(True)
    try:
        network.kept.clear()
        result = tfinvert.invert("astronaut", network, "conv2_1", **FAST)
        assert tf.config.functions_run_eagerly()
    finally:
        tf.config.run_functions_eagerly(False)
    np.testing.assert_allclose(result.image, expected.image, atol=1e-3)


def run_python(code, **environment):
    """Runs a piece of a user's program in a fresh process."""
    clean = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**clean, **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def program(small_file, before="", options="progress=False"):
    """A user's program of one inversion, which prints its result."""
    return f"""
import sys
{before}
import tfinvert
network = tfinvert.load({str(small_file)!r}, preprocessing="none")
print(tfinvert.invert("astronaut", network, "conv2_1", steps=3, {options}))
"""


def test_a_fresh_process_writes_nothing_to_standard_error(small_file):
    done = run_python(program(small_file))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("InversionResult(")


def test_a_process_without_standard_error_works(small_file):
    done = run_python(program(small_file, "sys.stderr = None", options="progress=True"))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("InversionResult(")


def test_another_backend_of_keras_is_answered_in_one_line(small_file):
    pytest.importorskip("torch")
    code = f"""
import tfinvert
try:
    tfinvert.invert("astronaut", {str(small_file)!r}, "conv2_1", preprocessing="none", steps=3)
except tfinvert.InputError as error:
    print(error)
"""
    done = run_python(code, KERAS_BACKEND="torch")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1
    assert "set the environment variable KERAS_BACKEND=tensorflow before keras is imported" in done.stdout


def test_the_command_line_is_right_whatever_keras_is_set_to(small_file, tmp_path):
    (tmp_path / "keras.json").write_text(
        json.dumps({"floatx": "float16", "epsilon": 1e-3, "backend": "torch", "image_data_format": "channels_first"})
    )
    flags = (f"--onnx={small_file}", "--preprocessing=none", "--layers=conv2_1", "--steps=3", "--save_every=1")
    expected = run_program(*flags, f"--output_dir={tmp_path / 'expected'}")
    assert expected.returncode == 0, expected.stderr
    own = {"KERAS_BACKEND": "torch", "KERAS_HOME": str(tmp_path), "TFINVERT_CACHE": str(tmp_path / "cache")}
    done = run_program(*flags, f"--output_dir={tmp_path / 'run'}", **own)
    assert (done.returncode, messages(done)) == (0, [])
    assert run_contents(tmp_path / "run") == run_contents(tmp_path / "expected")


def test_the_program_runs_on_a_file_of_keras_as_the_library_does(tmp_path):
    image = keras.Input((24, 24, 3))
    keras.Model(image, keras.layers.Conv2D(4, 3, activation="relu", name="conv")(image)).save(tmp_path / "mine.keras")
    done = run_program("--onnx=mine.keras", "--layers=conv", "--steps=2", "--output_dir=run", cwd=tmp_path)
    assert done.returncode == 0, done
    info = json.loads((tmp_path / "run" / "run.json").read_text())
    assert info["weights"].startswith("mine.keras (SHA-256 of its weights ")
    network = tfinvert.load(tmp_path / "mine.keras", pool="avg")
    result = tfinvert.invert("astronaut", network, "conv", steps=2, output_dir=tmp_path / "again", progress=False)
    assert result.figures()["psnr"] == pytest.approx(info["result"]["psnr"], abs=1e-3)
    assert "--onnx=" in (tmp_path / "again" / "run.flags").read_text()
