"""What TensorFlow is told about arithmetic and memory, and what stands in the way of a GPU; none is needed to see it."""

import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from tests.conftest import ROOT, tiny_graph, write_onnx
from tfinvert.networks.conversion.process import Conversion
from tfinvert.networks.conversion.request import request as make_request
from tfinvert.networks.network import Network
from tfinvert.optimization import precision
from tfinvert.system.errors import InputError


def bfloat16():
    return tf.config.optimizer.get_experimental_options().get(precision.OPTION, False)


@pytest.fixture
def gpu(monkeypatch):
    """One that is only talked about; gives what is set for it."""
    grown = []
    device = tf.config.PhysicalDevice("/physical_device:GPU:0", "GPU")
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind=None: [device])
    monkeypatch.setattr(tf.config.experimental, "set_memory_growth", lambda *arguments: grown.append(arguments))
    return device, grown


def test_bfloat16_ends_in_float32():
    with precision.arithmetic("bfloat16", 18) as change_precision:
        assert bfloat16()
        assert not change_precision(17)
        assert bfloat16()
        assert change_precision(18)
        assert not bfloat16()
        assert not change_precision(19)
    with precision.arithmetic("bfloat16", 18):
        assert bfloat16()
    assert not bfloat16()


PACKED = """
import sys
import numpy as np, tensorflow as tf
from tfinvert.images import files as images
from tfinvert.optimization import precision
from tfinvert.optimization import presets
from tfinvert.experiments.invert import Settings
from tfinvert.networks.load import from_settings
from tfinvert.optimization.inversion import build_problem
from tfinvert.optimization.solver import Solver
from tfinvert.optimization.state import init

if sys.argv[2] == "packed":
    precision.pack_weights_once()
found = {}
for layer in ("res8", "res3"):  # of 512 channels; with a pyramid
    settings = Settings(model="resnet18", layers=(layer,), weights="random", size=(64, 64), steps=5)
    network = from_settings(settings)
    model = network.cut((layer,))
    settings = presets.resolve(settings, {layer: network.layer(layer)}, network.size)
    targets = {name: v.numpy() for name, v in model(images.load("astronaut", (64, 64)), training=False).items()}
    start = np.random.default_rng(0).uniform(0, 1, (1, 64, 64, 3)).astype(np.float32)
    problem = build_problem(settings, model, targets, (64, 64))
    solver = Solver([problem], [init(problem, start)])
    found[layer] = targets[layer]
    found[f"{layer} gradient"] = solver.differentiate()[0].gradients[0].numpy()
    found[f"{layer} losses"] = np.array([snapshot.loss for (snapshot,) in solver.run(5, 5)])
np.savez(sys.argv[1], **found)
"""


@pytest.mark.slow
def test_packed_weights_give_the_same_results(tmp_path):
    """In processes of their own: TensorFlow reads it once."""
    found = []
    for name in ("packed", "plain"):
        file = tmp_path / f"{name}.npz"
        subprocess.run([sys.executable, "-c", PACKED, str(file), name], cwd=ROOT, check=True, capture_output=True)
        found.append(np.load(file))
    assert len(found[0].files) == 6
    for name in found[0].files:
        packed, plain = (one[name] for one in found)
        assert np.linalg.norm(packed - plain) <= 1e-4 * np.linalg.norm(plain), name
        assert np.linalg.norm(plain) > 0


def test_what_is_optimised_is_not_said_to_stay(monkeypatch):
    precision.let_weights_change()
    monkeypatch.setenv(precision.FIXED_WEIGHTS, "1")
    with pytest.raises(InputError, match="unset it"):
        precision.let_weights_change()


def test_float32_is_float32():
    before = tf.config.experimental.tensor_float_32_execution_enabled()
    with precision.arithmetic("float32", 18) as change_precision:
        assert not bfloat16()
        assert not tf.config.experimental.tensor_float_32_execution_enabled()
        assert not change_precision(19)
    assert tf.config.experimental.tensor_float_32_execution_enabled() == before


def test_tf32_needs_a_gpu(gpu, monkeypatch):
    with precision.arithmetic("tf32", 0):
        assert tf.config.experimental.tensor_float_32_execution_enabled()
    with pytest.raises(InputError, match="TensorFlow sees a GPU"), precision.arithmetic("bfloat16", 0):
        pass
    monkeypatch.undo()
    with pytest.raises(InputError, match="needs a GPU"), precision.arithmetic("tf32", 0):
        pass


def test_memory_grows_on_every_gpu(gpu):
    device, grown = gpu
    precision.grow_gpu_memory()
    assert grown == [(device, True)]


def test_a_gpu_computes_the_same_bytes_unless_the_environment_says_otherwise(gpu, monkeypatch):
    called = []
    monkeypatch.setattr(tf.config.experimental, "enable_op_determinism", lambda: called.append(True))
    monkeypatch.setenv(precision.DETERMINISTIC, "0")
    precision.make_gpus_deterministic()
    assert not called
    monkeypatch.delenv(precision.DETERMINISTIC)
    precision.make_gpus_deterministic()
    assert called


def test_a_processor_is_left_alone(monkeypatch):
    monkeypatch.setattr(tf.config.experimental, "enable_op_determinism", lambda: pytest.fail("it was called"))
    precision.make_gpus_deterministic()


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    file = write_onnx(tiny_graph(), tmp_path_factory.mktemp("onnx") / "tiny.onnx")
    settings = {"weights": "auto", "layers": ("conv2_1", "fc2"), "size": None, "pool": "avg", "preprocessing": "none"}
    with Conversion(make_request(model="vgg16-bn", onnx=str(file), **settings)) as conversion:
        return conversion.result()


def test_no_operation_is_pinned_to_a_device(network):
    saved = saved_model_pb2.SavedModel()
    saved.ParseFromString((network.folder / "saved_model.pb").read_bytes())
    (meta,) = saved.meta_graphs
    library = meta.graph_def.library.function
    pinned = {function.signature.name.split("_")[-2]: n.op for function in library for n in function.node_def if n.device}
    assert set(pinned) <= {"save", "restore"}  # the functions that read and write the variables' files
    assert {"Conv2D"} <= {node.op for function in library for node in function.node_def}
    assert {node.op for node in meta.graph_def.node if node.device} <= {"Const"}  # the name of that file


def test_a_step_over_average_pools_compiles_with_xla(network):
    model = Network.of(network, "tiny").model
    image = np.random.default_rng(0).uniform(0, 1, (1, 16, 16, 3)).astype(np.float32)

    def gradient(image):
        with tf.GradientTape() as tape:
            tape.watch(image)
            loss = tf.add_n([tf.reduce_sum(tf.square(value)) for value in model(image, training=False).values()])
        return tape.gradient(loss, image)

    found = tf.function(gradient, jit_compile=True)(tf.constant(image))
    np.testing.assert_allclose(found, gradient(tf.constant(image)), rtol=1e-3, atol=1e-4)


ALIKE = """
import tfinvert  # first, because it switches oneDNN on
import keras, numpy as np, tensorflow as tf
from tfinvert.optimization import precision
from tfinvert.system.tensorflow import call_as_function
precision.pack_weights_once()
image = keras.Input((16, 16, 64))
first, second = (keras.layers.Conv2D(64, 3, padding="same") for _ in range(2))
model = call_as_function(keras.Model(image, second(first(image))))
value = tf.constant(np.random.default_rng(0).random((1, 16, 16, 64), np.float32))
found = model(value)  # before the function
np.testing.assert_allclose(found, tf.function(lambda value: model(value), autograph=False)(value), atol=1e-5)
"""


@pytest.mark.slow
def test_layers_that_are_alike_keep_their_own_weights_where_weights_stay():
    done = subprocess.run([sys.executable, "-c", ALIKE], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
