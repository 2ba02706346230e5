"""What a converted network computes: against NumPy, finite differences and PyTorch."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.conftest import tiny_graph
from tests.networks.conversions import converted, request, tiny_network
from tfinvert.images import files as images
from tfinvert.networks import onnx as graph
from tfinvert.networks import zoo
from tfinvert.networks.conversion import request_graph
from tfinvert.networks.network import Network
from tfinvert.networks.preprocessing import PREPROCESSING

LAYERS = ("conv1_1", "pool1", "conv2_1", "fc2", "conv1")  # conv1 is a tensor


@pytest.fixture(scope="module")
def network(tiny_file):
    return Network.of(tiny_network(tiny_file, LAYERS), "tiny")


def test_the_model_maps_rgb_images_to_named_features_for_any_batch(network):
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


def test_values_agree_with_numpy(network):
    """The first layer, worked out from the definition of a convolution."""
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
def test_preprocessing_is_inside_the_model(name, network, tiny_file):
    picture = np.random.default_rng(0).uniform(0, 1, (1, 16, 16, 3)).astype(np.float32)
    prepare = PREPROCESSING[name]
    prepared = picture[..., prepare.channels] * np.float32(prepare.scale) + np.float32(prepare.shift)
    expected = network.model(tf.constant(prepared))["fc2"]
    result = converted(onnx=str(tiny_file), weights="auto", layers=("fc2",), preprocessing=name)
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
    # Rounding in single precision, by either framework, moves a few values over the kink of a ReLU, which changes the gradient
    # by more than its own size.
    assert distance(gradient, same) < 1e-3
    # In double precision and without folding.
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
