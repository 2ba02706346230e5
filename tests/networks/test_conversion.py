"""Conversion as a whole: every layer of every network against onnxruntime, and the caller left as it was."""

import dataclasses
import io
import json
import logging
import os
import random
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import keras
import numpy as np
import onnx.backend.test
import onnxruntime
import pytest
import tensorflow as tf
from tensorflow.python.framework import config as tf_config

from tests.conftest import ROOT, SHARED, tiny_graph, wait_until, write_onnx
from tfinvert.images import files as images
from tfinvert.networks import onnx as graph
from tfinvert.networks import zoo
from tfinvert.networks.conversion import cache, converters, request_graph, verify, work
from tfinvert.networks.conversion.process import Conversion
from tfinvert.networks.conversion.request import request as make_request
from tfinvert.networks.network import Network
from tfinvert.networks.preprocessing import PREPROCESSING
from tfinvert.system.errors import InputError

LIGHT = Path(onnx.backend.test.__file__).parent / "data" / "light"
REAL = ["alexnet-torchvision-trunk", "resnet18-torchvision-trunk", "squeezenet1.1-gluon"]
REAL += ["squeezenet1_1-torchvision", "vgg16-torchvision-stem"]


def request(**changes):
    settings = {"model": "vgg16-bn", "onnx": None, "weights": "random", "layers": (), "size": None, "pool": "max"}
    return make_request(**{**settings, **changes})


def converted(**changes):
    with Conversion(request(**changes)) as conversion:
        return conversion.result()


@pytest.fixture(scope="module")
def tiny_file(tmp_path_factory):
    return str(write_onnx(tiny_graph(), tmp_path_factory.mktemp("onnx") / "tiny.onnx"))


def tiny_network(file, layers=(), **changes):
    return converted(onnx=file, weights="auto", layers=tuple(layers), preprocessing="none", **changes)


def check(result, count):
    assert len(result.layers) == count
    worst = max(result.layers, key=lambda layer: layer.error)
    assert worst.error <= 1e-4, worst


@pytest.mark.parametrize("pool", ["max", pytest.param("avg", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("model", "count"),
    [pytest.param("vgg16-bn", 21, marks=pytest.mark.slow), ("resnet18", 20), ("squeezenet1.1", 51), ("alexnet", 13)],
)
def test_every_layer_of_the_zoo_s_networks(model, count, pool):
    check(converted(model=model, pool=pool), count)


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared/data, which is not there")
@pytest.mark.parametrize("file", REAL)
def test_every_layer_of_real_pretrained_networks(file):
    result = converted(onnx=str(SHARED / "models" / f"{file}.onnx"), weights="pretrained")
    check(result, {REAL[0]: 8, REAL[1]: 14, REAL[4]: 6}.get(file, 51))


@pytest.mark.parametrize(("model", "layer"), [("resnet18", "res1"), ("alexnet", "conv1"), ("squeezenet1.1", "conv1")])
@pytest.mark.parametrize("size", [(64, 97), (99, 70)])
def test_strided_stems_at_other_sizes(model, layer, size):
    check(converted(model=model, layers=(layer,), size=size), 1)


@pytest.mark.parametrize(
    ("file", "count"),
    [
        ("bvlc_alexnet", 13),
        pytest.param("vgg19", 24, marks=pytest.mark.slow),
        pytest.param("zfnet512", 13, marks=pytest.mark.slow),
    ],
)
def test_every_layer_of_graphs_that_others_wrote(file, count):
    check(converted(onnx=str(LIGHT / f"light_{file}.onnx"), weights="random"), count)


def test_the_model_maps_rgb_pictures_to_named_features_for_any_batch(tiny_file):
    network = Network.of(tiny_network(tiny_file, ["conv1_1", "pool1", "conv2_1", "fc2", "conv1"]), "tiny")
    assert isinstance(network.model, keras.Model)
    assert network.model.trainable_variables == []
    pictures = np.random.default_rng(0).uniform(0, 1, (3, 16, 16, 3)).astype(np.float32)
    together = network.model(tf.constant(pictures))
    assert {name: tuple(v.shape) for name, v in together.items()} == {
        "conv1_1": (3, 16, 16, 4),
        "pool1": (3, 8, 8, 4),
        "conv2_1": (3, 8, 8, 5),
        "fc2": (3, 6),
        "conv1": (3, 16, 16, 4),  # a tensor's own name: before batch norm and ReLU
    }
    for index in range(3):
        alone = network.model(tf.constant(pictures[index : index + 1]))
        for name, value in alone.items():
            np.testing.assert_allclose(value[0], together[name][index], rtol=1e-4, atol=1e-5)
    assert float(tf.reduce_min(together["conv1_1"])) == 0.0
    assert float(tf.reduce_min(together["conv1"])) < 0.0


def test_values_agree_with_numpy(tiny_file):
    """The first layer, worked out from the definition of a convolution."""
    network = Network.of(tiny_network(tiny_file, ["conv1_1"]), "tiny")
    picture = np.random.default_rng(0).uniform(0, 1, (16, 16, 3)).astype(np.float32)
    weights = tiny_graph().weights
    padded = np.pad(picture.transpose(2, 0, 1), ((0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
    value = np.einsum("chwij,ocij->hwo", windows, weights["k1"])
    value = (value - weights["mean"]) / np.sqrt(weights["variance"] + 1e-3) * weights["gamma"] + weights["beta"]
    found = network.model(tf.constant(picture[None]))["conv1_1"][0]
    np.testing.assert_allclose(found, np.maximum(value, 0), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "name", ["caffe", *(pytest.param(name, marks=pytest.mark.slow) for name in PREPROCESSING if name != "caffe")]
)
def test_preprocessing_is_inside_the_model(name, tiny_file):
    picture = np.random.default_rng(0).uniform(0, 1, (1, 16, 16, 3)).astype(np.float32)
    prepare = PREPROCESSING[name]
    prepared = picture[..., prepare.channels] * np.float32(prepare.scale) + np.float32(prepare.shift)
    expected = Network.of(tiny_network(tiny_file, ["fc2"]), "tiny").model(tf.constant(prepared))["fc2"]
    result = converted(onnx=tiny_file, weights="auto", layers=("fc2",), preprocessing=name)
    np.testing.assert_allclose(Network.of(result, "tiny").model(tf.constant(picture))["fc2"], expected, rtol=1e-3, atol=1e-3)


def test_the_gradient_agrees_with_finite_differences(tiny_file):
    network = Network.of(tiny_network(tiny_file, ["conv2_1", "fc2"], pool="avg"), "tiny")
    rng = np.random.default_rng(0)
    image = rng.uniform(0.2, 0.8, (1, 16, 16, 3)).astype(np.float32)

    def loss(value):
        # Summed in double precision, so that differences are not lost in rounding.
        features = network.model(tf.cast(value, tf.float32))
        return tf.add_n([tf.reduce_sum(tf.square(tf.cast(v, tf.float64))) for v in features.values()])

    variable = tf.constant(image)
    with tf.GradientTape() as tape:
        tape.watch(variable)
        value = loss(variable)
    gradient = tape.gradient(value, variable).numpy().astype(np.float64)
    # Along the gradient, where the loss changes most, over the whole picture and over random parts of it.
    for part in (1.0, rng.integers(0, 2, image.shape), rng.integers(0, 2, (1, 16, 16, 1)), rng.integers(0, 2, 3)):
        direction = gradient * part / np.linalg.norm(gradient)
        step = 1e-2
        difference = float(loss(image + step * direction) - loss(image - step * direction)) / (2 * step)
        assert np.sum(gradient * direction) == pytest.approx(difference, rel=5e-3)


@pytest.mark.parametrize(
    ("model", "layer", "pool"),
    [pytest.param("vgg16-bn", "conv3_1", "avg", marks=pytest.mark.slow), ("resnet18", "res2", "max")],
)
def test_features_and_gradient_agree_with_torch(model, layer, pool):
    torch = pytest.importorskip("torch", reason="needs the extra 'torch'")
    from tfinvert.networks import random_weights

    network = Network.of(converted(model=model, layers=(layer,), pool=pool), model)
    picture = images.load("astronaut", network.size)
    start = np.random.default_rng(0).uniform(0, 1, picture.shape).astype(np.float32)
    target = network.cut(layer)(tf.constant(picture))[layer]
    variable = tf.constant(start)
    with tf.GradientTape() as tape:
        tape.watch(variable)
        loss = tf.reduce_mean(tf.square(network.cut(layer)(variable)[layer] - target))
    gradient = tape.gradient(loss, variable).numpy()

    prepare = PREPROCESSING["torch"]

    def prepared(name):
        picture = images.load(name, network.size, "squash") * np.float32(prepare.scale) + np.float32(prepare.shift)
        return np.ascontiguousarray(picture.transpose(0, 3, 1, 2))

    whole = graph.tidy(zoo.MODELS[model].topology())
    part = graph.with_pooling(graph.cut(whole, [network.layers[layer].tensor]), pool)
    part = random_weights.filled(part, np.concatenate([prepared("chelsea"), prepared("coffee")]))

    def in_torch(part, prepare, dtype):
        """Features of the photograph, and the gradient of the same loss at the same start."""
        pixels = torch.tensor(start, dtype=dtype, requires_grad=True)
        scale, shift = torch.tensor(prepare.scale, dtype=dtype), torch.tensor(prepare.shift, dtype=dtype)
        with torch.no_grad():
            wanted = run_in_torch(torch, part, (torch.tensor(picture, dtype=dtype) * scale + shift).permute(0, 3, 1, 2))
        features = run_in_torch(torch, part, (pixels * scale + shift).permute(0, 3, 1, 2))
        torch.mean((features - wanted) ** 2).backward()
        return wanted.permute(0, 2, 3, 1).numpy(), pixels.grad.numpy()

    def distance(a, b):
        return np.linalg.norm(a - b) / np.linalg.norm(b)

    features, same = in_torch(*request_graph.folded(request(model=model), part), torch.float32)
    np.testing.assert_allclose(features, target, atol=1e-4 * float(tf.reduce_max(target)))
    assert distance(gradient, same) < 1e-4
    # In double precision and without folding. Rounding in single precision, by either framework, moves a few values
    # over the kink of a ReLU, which changes the gradient by more than its own size.
    features, exact = in_torch(part, prepare, torch.float64)
    np.testing.assert_allclose(features, target, atol=1e-4 * float(tf.reduce_max(target)))
    assert distance(gradient, exact) < 5e-3


def run_in_torch(torch, part, image):
    """The graph, node by node: an independent implementation of the same network."""
    functional = torch.nn.functional
    values = {part.image: image, **{k: torch.tensor(np.array(v), dtype=image.dtype) for k, v in part.weights.items()}}
    for node in part.nodes:
        given = graph.attributes(node)
        first, *rest = (values[i] for i in node.input)
        pads = given.get("pads", [0] * 4)
        if given.get("auto_pad") == b"SAME_UPPER":
            assert all(side in (1, 3) for side in given["kernel_shape"])
            assert given.get("strides", [1, 1]) == [1, 1]
            pads = [side // 2 for side in given["kernel_shape"]] * 2
        if node.op_type == "Pad":
            assert pads[:2] == pads[4:6] == [0, 0]
            pads = [*pads[2:4], *pads[6:]]
        border = float("-inf") if node.op_type == "MaxPool" else 0.0
        padded = functional.pad(first, [pads[1], pads[3], pads[0], pads[2]], value=border) if any(pads) else first
        if node.op_type == "Conv":
            value = functional.conv2d(padded, rest[0], rest[1] if len(rest) > 1 else None, given.get("strides", 1))
        elif node.op_type == "Pad":
            value = padded
        elif node.op_type == "SpaceToDepth":
            side = given["blocksize"]
            value = torch.cat([first[:, :, i::side, j::side] for i in range(side) for j in range(side)], dim=1)
        elif node.op_type == "BatchNormalization":
            scale, offset, mean, variance = rest
            value = functional.batch_norm(first, mean, variance, scale, offset, eps=given["epsilon"])
        elif node.op_type == "Relu":
            value = torch.relu(first)
        elif node.op_type == "Add":
            value = first + rest[0]
        elif node.op_type == "MaxPool":
            value = functional.max_pool2d(padded, given["kernel_shape"], given["strides"])
        else:
            assert node.op_type == "AveragePool"
            assert not any(pads)
            value = functional.avg_pool2d(first, given["kernel_shape"], given["strides"])
        values[node.output[0]] = value
    return values[part.outputs[0]]


def test_the_caller_is_left_as_it_was(tiny_file, tmp_path, monkeypatch):
    """onnx2tf changes all of this in the process that it runs in."""
    file = tmp_path / "net.onnx"
    file.write_bytes(Path(tiny_file).read_bytes())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002 - the global generator is what must not change
    tf.random.set_seed(1)

    def state():
        return {
            "environment": dict(os.environ),
            "python's generator": random.getstate(),
            "numpy's generator": np.random.get_state()[1].tolist(),  # noqa: NPY002
            "determinism": tf_config.is_op_determinism_enabled(),
            "devices": [d.name for d in tf.config.list_physical_devices()],
            "warnings": list(warnings.filters),
            "logging": (logging.root.level, list(logging.root.handlers), logging.getLogger("absl").level),
            "file": (file.read_bytes(), file.stat().st_mtime_ns),
            "folder": sorted(p.name for p in tmp_path.iterdir()),
            "keras": keras.__version__,
            "threads": threading.active_count(),
        }

    before = state()
    drawn = float(tf.random.uniform([]))
    tf.random.set_seed(1)
    Network.of(tiny_network(str(file), ["pool1"], size=(32, 32)), "net")
    after = state()
    assert {k: v for k, v in after.items() if v != before[k]} == {}
    assert float(tf.random.uniform([])) == drawn


def flip(path):
    """One bit of a file is another."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_a_second_run_takes_the_cache_and_a_damaged_entry_is_made_again(tiny_file):
    first = tiny_network(tiny_file, ["conv1_1"])
    wanted = first.layers
    with Conversion(first.request) as again:
        assert again.cached
        assert again.result().layers == wanted
    for damage in (
        lambda: (first.folder / "saved_model.pb").write_bytes(b"cut"),
        lambda: (first.folder / "layers.json").write_text("{"),
        lambda: (first.folder / "layers.json").unlink(),
        lambda: flip(first.folder / "layers.json"),
        lambda: flip(first.folder / "saved_model.pb"),
        lambda: flip(next(first.folder.glob("variables/*.data-*"))),
    ):
        damage()
        with Conversion(first.request) as again:
            assert not again.cached
            assert again.result().layers == wanted
    assert [p for p in first.folder.parent.iterdir() if p.name.startswith(".making-")] == []


CALLER = """
import json, sys, time
from tfinvert.networks.conversion.process import Conversion
from tfinvert.networks.conversion.request import request
conversion = Conversion(request(**json.loads(sys.argv[1])))
print("accepted", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("finished", [False, True])
def test_a_conversion_ends_when_the_one_that_waits_for_it_is_gone(tiny_file, finished, tmp_path, monkeypatch):
    monkeypatch.setenv("TFINVERT_CACHE", str(tmp_path))
    settings = {"model": "vgg16-bn", "onnx": tiny_file, "weights": "auto", "layers": ["pool1"], "size": None, "pool": "max"}
    command = [sys.executable, "-c", CALLER, json.dumps(settings)]
    caller = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, text=True)
    assert caller.stdout is not None
    with caller:
        assert caller.stdout.readline() == "accepted\n"
        (scratch,) = (tmp_path / "converted").glob(".making-*")
        if finished:  # and nobody has taken it yet
            wait_until((scratch / "entry" / cache.DESCRIPTION).exists)
        caller.kill()
    wait_until(lambda: not scratch.exists())
    assert list((tmp_path / "converted").iterdir()) == []


def test_a_conversion_whose_caller_died_before_asking_makes_nothing(tmp_path):
    command = [sys.executable, "-m", "tfinvert.networks.conversion.work"]
    found = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, cwd=ROOT, timeout=60)
    assert (found.returncode, found.stdout, found.stderr) == (0, b"", b"")


def test_what_makes_a_network_another_makes_another_key(tiny_file):
    base = request(model="resnet18", layers=("res2",))
    assert cache.entry_folder(base) == cache.entry_folder(request(model="resnet18", layers=("res2",)))
    others = [
        dataclasses.replace(base, model="vgg16-bn"),
        dataclasses.replace(base, layers=("res3",)),
        dataclasses.replace(base, size=(64, 64)),
        dataclasses.replace(base, pool="avg"),
        dataclasses.replace(base, weights="pretrained"),
        dataclasses.replace(base, sha256="0" * 64),
        dataclasses.replace(base, preprocessing="tf"),
        dataclasses.replace(base, converter="keras"),
        dataclasses.replace(base, plain=True),
    ]
    assert len({cache.entry_folder(request) for request in (base, *others)}) == 10


def test_the_same_file_elsewhere_is_the_same_network(tiny_file, tmp_path):
    copy = tmp_path / "copy.onnx"
    copy.write_bytes(Path(tiny_file).read_bytes())
    first, second = request(onnx=str(copy), weights="auto"), request(onnx=tiny_file, weights="auto")
    assert cache.entry_folder(first) == cache.entry_folder(second)


def test_a_changed_file_is_another_network(tmp_path):
    path = tmp_path / "net.onnx"
    write_onnx(tiny_graph(seed=1), path)
    first = cache.entry_folder(request(onnx=str(path), weights="auto"))
    write_onnx(tiny_graph(seed=2), path)
    assert cache.entry_folder(request(onnx=str(path), weights="auto")) != first


def test_an_unknown_layer_is_answered_with_the_nearest_first(tiny_file):
    with pytest.raises(InputError, match=r"unknown layer 'conv2_2'; expected one of: conv2_1, "):
        tiny_network(tiny_file, ["conv2_2"])


def test_auto_says_why_it_uses_random_weights(tmp_path, monkeypatch, caplog):
    monkeypatch.setitem(zoo.MODELS, "alexnet", dataclasses.replace(zoo.MODELS["alexnet"], sources=("http://127.0.0.1:1/x",)))
    with caplog.at_level("INFO", "tfinvert"):
        found = request(model="alexnet", weights="auto", models_folder=tmp_path)
    assert found.weights == "random"
    assert "using seeded random weights for alexnet" in caplog.text
    with pytest.raises(InputError, match="put it at"):
        request(model="alexnet", weights="pretrained", models_folder=tmp_path)


def test_a_layer_that_differs_from_onnxruntime_stops_the_conversion(tmp_path, monkeypatch):
    """A conversion in this process, with onnxruntime's own values in the place of a converted network's."""
    reference = verify.reference
    monkeypatch.setattr(verify, "reference", lambda *a: {k: v * 1.001 for k, v in reference(*a).items()})
    monkeypatch.setitem(converters.CONVERTERS, "onnx2tf", FakeModel)
    file = str(write_onnx(tiny_graph(), tmp_path / "net.onnx"))
    wrong = request(onnx=file, weights="auto", layers=("pool1",), preprocessing="none", converter="onnx2tf")
    words = r"layer 'pool1' differs from onnxruntime by 1\.0e-03 .* expected at most 1e-04 .* cannot be trusted"
    with pytest.raises(InputError, match=words):
        work.convert(wrong, tmp_path / "entry", lambda event: None)
    assert not (tmp_path / "entry").exists()


class FakeModel:
    """Gives onnxruntime's own values, which the test's reference then differs from."""

    wrong = 1.0

    def __init__(self, request, part, layers):
        self.session, self.part, self.layers = verify_session(part), part, layers

    def features(self, images):
        values = [self.session.run(list(self.part.outputs), {self.part.image: i[None].transpose(0, 3, 1, 2)}) for i in images]
        stacked = dict(zip(self.part.outputs, map(np.concatenate, zip(*values, strict=True)), strict=True))
        return {name: self.wrong * verify.channels_last(stacked[tensor]) for name, tensor in self.layers.items()}


def verify_session(part):
    return onnxruntime.InferenceSession(part.proto(batch=1).SerializeToString(), providers=["CPUExecutionProvider"])


class WrongModel(FakeModel):
    """As what onnx2tf makes of a graph whose axes it guesses wrongly."""

    wrong = 1.01


class RefusedModel:
    def __init__(self, request, part, layers):
        raise InputError("onnx2tf could not convert the network")


@pytest.mark.parametrize(("kind", "why"), [(WrongModel, "differs from onnxruntime by 1.0e-02"), (RefusedModel, "could not")])
def test_what_onnx2tf_does_not_make_right_is_built_of_keras_layers(kind, why, tmp_path, monkeypatch):
    monkeypatch.setitem(converters.CONVERTERS, "onnx2tf", kind)
    file = str(write_onnx(tiny_graph(), tmp_path / "net.onnx"))
    wanted = request(onnx=file, weights="auto", layers=("pool1",), preprocessing="none")
    work.convert(wanted, tmp_path / "entry", lambda event: None)
    made = cache.read_entry(tmp_path / "entry", wanted)
    assert made.converter == "keras"
    assert why in made.because
    assert made.layers[0].error < 1e-6
    only = dataclasses.replace(wanted, converter="onnx2tf")
    with pytest.raises(InputError, match=why):
        work.convert(only, tmp_path / "other", lambda event: None)


def test_two_conversions_of_the_same_network_at_once(tmp_path):
    file = str(write_onnx(tiny_graph(seed=7), tmp_path / "net.onnx"))
    wanted = request(onnx=file, weights="auto", layers=("pool1",), preprocessing="none")
    with Conversion(wanted) as one, Conversion(wanted) as two:
        first, second = one.result(), two.result()
    assert first == second
    assert cache.read_entry(first.folder, wanted) == first


@pytest.mark.parametrize("progress", [True, False])
def test_progress_is_shown_on_a_terminal(tiny_file, tmp_path, monkeypatch, progress):
    screen = io.StringIO()
    monkeypatch.setattr(screen, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setenv("TFINVERT_CACHE", str(tmp_path))
    tiny_request = request(onnx=tiny_file, weights="auto", layers=("pool1",))
    for shown in (progress, False):  # the second time the network comes from the cache
        screen.truncate(0)
        with Conversion(tiny_request, progress=progress) as conversion:
            conversion.result()
        assert ("comparing with onnxruntime" in screen.getvalue()) == shown


def test_a_conversion_that_dies_is_told_with_its_last_line(tiny_file, tmp_path, monkeypatch):
    monkeypatch.setenv("TFINVERT_CACHE", str(tmp_path))
    (tmp_path / "numpy.py").write_text("raise SystemError('no room')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(InputError, match=r"converting .*tiny\.onnx failed \(exit code 1\): SystemError: no room"):
        Conversion(request(onnx=tiny_file, weights="auto", layers=("pool1",)))
