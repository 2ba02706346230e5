"""Convolutions by Winograd's algorithm, beside TensorFlow's own and beside the definition."""

import numpy as np
import pytest
import tensorflow as tf

from tests.networks.nets import Net
from tfinvert.networks import winograd
from tfinvert.networks.conversion.request import request
from tfinvert.networks.load import load
from tfinvert.networks.onnx import write

ZOO = {"model": "vgg16-bn", "onnx": None, "weights": "random", "layers": (), "size": None, "pool": "max"}


def test_the_transforms_make_a_convolution_of_a_tile():
    generator = np.random.default_rng(0)
    tile, kernel = generator.standard_normal((6, 6)), generator.standard_normal((3, 3))
    output, kernels, image = winograd.transforms()
    made = output @ ((kernels @ kernel @ kernels.T) * (image @ tile @ image.T)) @ output.T
    windows = np.lib.stride_tricks.sliding_window_view(tile, (3, 3))
    np.testing.assert_allclose(made, (windows * kernel).sum(axis=(2, 3)), atol=1e-12)


@pytest.mark.parametrize(("side", "same"), [((8, 8), True), ((7, 10), True), ((9, 13), False), ((3, 4), False), ((1, 2), True)])
def test_values_and_gradients_are_those_of_a_convolution(side, same):
    generator = np.random.default_rng(1)
    image = tf.constant(generator.standard_normal((2, *side, 5)), tf.float32)
    kernel = generator.standard_normal((3, 3, 5, 7)).astype(np.float32)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(image)
        expected = tf.nn.conv2d(image, kernel, 1, "SAME" if same else "VALID")
        made = winograd.convolution(image, kernel, same=same)
        losses = tf.reduce_sum(expected**2), tf.reduce_sum(made**2)
    np.testing.assert_allclose(made, expected, atol=1e-5 * np.abs(expected).max())
    slopes = [tape.gradient(loss, image).numpy() for loss in losses]
    np.testing.assert_allclose(slopes[1], slopes[0], atol=1e-5 * np.abs(slopes[0]).max())


@pytest.mark.parametrize(
    ("places", "channels", "faster"),
    [
        ((56, 56), (256, 256), True),
        ((28, 28), (128, 128), False),  # small products, which threads share badly
        ((14, 14), (512, 512), True),
        ((56, 56), (128, 256), False),  # half of its channels are transformed for few products
        ((112, 112), (128, 128), False),  # the transforms take as long as the convolution
        ((56, 56), (64, 64), False),
        ((7, 7), (512, 512), False),  # four tiles, for which all weights are read
        ((8, 8), (64, 64), False),  # nothing to be saved
    ],
)
def test_only_what_becomes_faster_is_replaced(places, channels, faster):
    assert winograd.is_faster(places, channels) is faster


def test_it_is_for_float32_and_for_onnx2tf(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert request(**ZOO).winograd
    others = ({"winograd": "off"}, {"precision": "bfloat16"}, {"precision": "tf32"}, {"converter": "keras"}, {"plain": True})
    assert not any(request(**ZOO, **other).winograd for other in others)


def test_a_network_changes_its_form_for_a_run_in_another_precision(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    network = load("resnet18", weights="random")
    reduced = network.at_precision("bfloat16")
    assert (network.request.winograd, reduced.request.winograd) == (True, False)
    assert network.at_precision("float32") is network
    assert network.at_precision("bfloat16") is reduced
    assert reduced.at_precision("float32").request == network.request


@pytest.mark.slow
def test_a_converted_network_has_it_and_is_right(tmp_path):
    net = Net(channels=3, size=28)
    value = net.relu_conv("x", 224, 3, pads=[1, 1, 1, 1])
    value = net.relu_conv(value, 224, 3, pads=[1, 1, 1, 1])
    value = net.relu_conv(value, 224, 3)
    file = tmp_path / "net.onnx"
    write(net.graph(value), file)
    networks = {name: load(file, winograd=name, preprocessing="none") for name in ("auto", "off")}
    layer = list(networks["off"].layers)[-1]
    values = {name: network.features("astronaut", layer)[layer].numpy() for name, network in networks.items()}
    largest = np.abs(values["off"]).max()
    assert 0 < np.abs(values["auto"] - values["off"]).max() < 2e-5 * largest
    assert all(network.layer(layer).error < 2e-5 for network in networks.values())
    assert [network.settings()["winograd"] for network in networks.values()] == ["auto", "off"]
