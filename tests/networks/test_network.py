"""The network taken apart: guided backpropagation and what is above a layer, against the tiny network in NumPy."""

import numpy as np
import pytest
import tensorflow as tf

from tests.conftest import tiny_graph, write_onnx
from tfinvert.networks import network
from tfinvert.networks.classifier import Classifier, of_classes
from tfinvert.networks.conversion import convert
from tfinvert.objectives import saliency as attribution


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    path = write_onnx(tiny_graph(), tmp_path_factory.mktemp("tiny") / "tiny.onnx")
    request = convert.request(
        model="squeezenet1.1",
        onnx=str(path),
        weights="auto",
        layers=("scores", "conv2_1", "last"),
        size=None,
        pool="max",
        preprocessing="none",
    )
    with convert.Conversion(request) as conversion:
        return conversion.result()


IMAGE = np.random.default_rng(1).uniform(0, 1, (2, 16, 16, 3)).astype(np.float32)


def test_scores_and_last_features_are_found_by_purpose(converted):
    tensors = {layer.name: layer.tensor for layer in converted.layers}
    assert tensors == {"scores": "fc", "conv2_1": "relu2", "last": "relu1"}  # the only pool reads relu1


def test_the_head_gives_the_scores_of_the_features(converted):
    found = network.load(converted, "tiny").model(IMAGE)
    above = network.head(converted, "conv2_1", "scores")
    np.testing.assert_allclose(above(found["conv2_1"]), found["scores"], rtol=1e-5)
    # The last layer is fc = W flatten(relu2): its gradient to the features is a row of W, in ONNX's order of channels first.
    slope = attribution.gradient(of_classes(above, [2, 5]), found["conv2_1"])
    weight = tiny_graph().weights["k3"]
    expected = np.stack([weight[row].reshape(5, 8, 8).transpose(1, 2, 0) for row in (2, 5)])
    np.testing.assert_allclose(slope, expected, rtol=1e-5)


def test_guided_backpropagation_stops_negative_gradients_at_the_relu(converted):
    plain, layers = network.load(converted, "tiny").model, network.guided(converted)
    for name, value in plain(IMAGE).items():
        np.testing.assert_allclose(layers(tf.constant(IMAGE))[name], value, rtol=1e-5)
    # By hand from relu2 down: where relu2 is on and its gradient above zero, the gradient goes on through the convolution.
    weights = tiny_graph().weights
    active = (plain(IMAGE)["conv2_1"].numpy() > 0).astype(np.float32)
    row = weights["k3"][4].reshape(5, 8, 8).transpose(1, 2, 0)
    kernel = tf.constant(weights["k2"].transpose(2, 3, 1, 0))
    below = tf.nn.conv2d_transpose(np.maximum(row, 0) * active, kernel, (2, 8, 8, 4), 1, "SAME")

    with tf.GradientTape() as tape:
        image = tf.constant(IMAGE)
        tape.watch(image)
        score = of_classes(lambda value: layers(value)["scores"], [4, 4])(image)
    found = tape.gradient(score, image)

    # From relu1 down likewise: through the pool to its largest value, only where positive, then conv1 with its batch norm.
    with tf.GradientTape() as tape:
        tape.watch(image)
        relu1 = plain(image)["last"]
        pooled = tf.nn.max_pool2d(relu1, 2, 2, "VALID")
        wanted = tf.reduce_sum(pooled * tf.stop_gradient(tf.maximum(below, 0)))
    np.testing.assert_allclose(found, tape.gradient(wanted, image), rtol=1e-4, atol=1e-6)
    assert np.abs(found - attribution.gradient(of_classes(lambda v: plain(v)["scores"], [4, 4]), image)).max() > 1e-3


def test_a_classifier_names_its_classes(converted):
    classifier = Classifier(network.load(converted, "tiny"))
    assert classifier.count == 6
    assert classifier.indices(["5", "0"]) == [5, 0]
    np.testing.assert_allclose(classifier.probabilities(IMAGE).sum(axis=1), [1, 1], rtol=1e-5)
