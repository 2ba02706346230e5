"""A model that is saved is read by Keras on its other backends, in processes of their own, and computes the same there."""

import importlib.util
import os
import subprocess
import sys

import numpy as np
import pytest

from tests.conftest import ROOT
from tests.networks.keras_builder.conftest import build, graph, images, node, numbers
from tfinvert.networks import keras_builder

PROGRAM = """
import sys
import keras
import numpy as np
import tfinvert.networks.keras_builder.layers
model = keras.models.load_model(sys.argv[1], compile=False)
assert keras.backend.backend() == sys.argv[4], keras.backend.backend()
outputs = model(np.load(sys.argv[2]))
np.savez(sys.argv[3], **{name: keras.ops.convert_to_numpy(value) for name, value in outputs.items()})
assert "tensorflow" not in sys.modules or sys.argv[4] == "tensorflow"
"""
I64 = np.int64


def everything():
    """A network with most kinds of layers."""
    return graph(
        node("BatchNormalization", "f a b c d", "norm"), node("Relu", "norm", "conv1"),
        node("MaxPool", "conv1", "pool1", kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4),
        node("AveragePool", "pool1", "mean", kernel_shape=[3, 3], strides=[1, 1], pads=[1] * 4),
        node("Conv", "mean k", "grouped", group=6, pads=[1] * 4), node("Concat", "grouped mean", "both", axis=1),
        node("GlobalAveragePool", "both", "p"), node("HardSigmoid", "p", "g"), node("Mul", "g both", "gated"),
        node("Reshape", "gated s", "r"), node("Transpose", "r", "tokens", perm=[0, 2, 1]),
        node("LayerNormalization", "tokens e", "ln"), node("Concat", "t ln", "classed", axis=1),
        node("MatMul", "classed m", "q"), node("Transpose", "q", "qt", perm=[0, 2, 1]), node("MatMul", "q qt", "scores"),
        node("Softmax", "scores", "probabilities"), node("MatMul", "probabilities q", "attended"),
        node("Erf", "attended", "y"),
        node("Resize", "gated z z n", "larger", mode="linear"), node("LRN", "larger", "lrn", size=3),
        node("Slice", "lrn one end two", "sliced"), node("PRelu", "sliced slope", "up"),
        outputs=("conv1", "pool1", "gated", "y", "up"),
        a=numbers(6), b=numbers(6), c=numbers(6), d=1 + numbers(6) ** 2, k=numbers(6, 1, 3, 3), s=np.array([0, 12, -1], I64),
        e=numbers(12), t=numbers(1, 1, 12), m=numbers(12, 8), z=np.zeros(0, np.float32), n=np.array([1, 12, 8, 5], I64),
        one=np.array([1], I64), end=np.array([7], I64), two=np.array([2], I64), slope=numbers(12, 1, 1),
    )  # fmt: skip


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """The file, its images, and what TensorFlow makes of them."""
    folder = tmp_path_factory.mktemp("saved")
    model = build(everything())
    batch = images()
    model.save(folder / "net.keras")
    np.save(folder / "images.npy", batch)
    return folder, {name: np.asarray(value) for name, value in model(batch).items()}


@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_a_saved_model_computes_the_same_on_another_backend(backend, saved):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"needs {backend}, which is not installed")
    folder, expected = saved
    arguments = [folder / "net.keras", folder / "images.npy", folder / f"{backend}.npz", backend]
    paths = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": paths}
    command = [sys.executable, "-c", PROGRAM, *map(str, arguments)]
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=False)
    assert ended.returncode == 0, ended.stderr[-2000:]
    with np.load(folder / f"{backend}.npz") as found:
        assert set(found) == set(expected)
        for name, value in expected.items():
            np.testing.assert_allclose(found[name], value, rtol=1e-4, atol=1e-4 * np.abs(value).max())


def test_a_saved_model_is_read_back_as_it_was(saved):
    import keras

    folder, expected = saved
    model = keras.models.load_model(folder / "net.keras", compile=False)
    assert model.trainable_variables == []
    for name, value in model(images()).items():
        np.testing.assert_array_equal(value, expected[name])


def test_the_builder_computes_with_nothing_of_tensorflow_alone():
    for path in (ROOT / "tfinvert" / "networks" / "keras_builder").glob("*.py"):
        text = path.read_text().replace("TensorFlow", "").replace("tfinvert.system.tensorflow", "")
        assert "tensorflow" not in text, path
    assert keras_builder.OPERATORS
