import numpy as np
import pytest

from tests.networks.nets import Net
from tests.networks.onnx.conftest import run
from tfinvert.images.files import load
from tfinvert.networks import topologies
from tfinvert.networks.conversion.request_graph import calibration_images
from tfinvert.networks.names import layer_names
from tfinvert.networks.onnx import cut, resized, settle, tidy
from tfinvert.networks.preprocessing import network_input, parse
from tfinvert.networks.random_weights import filled


def small(topology, layers):
    graph = resized(tidy(topology()), (64, 64))
    names = layer_names(graph)
    return cut(graph, [names[layer] for layer in layers])


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).standard_normal((2, 3, 64, 64)).astype(np.float32)


def test_weights_depend_on_the_seed_and_on_nothing_else(images):
    one = filled(small(topologies.vgg16_bn, ["conv2_1"]), images, seed=0)
    deeper = filled(small(topologies.vgg16_bn, ["conv2_1", "conv3_1"]), images, seed=0)
    other = filled(small(topologies.vgg16_bn, ["conv2_1"]), images, seed=1)
    for name, array in one.weights.items():
        np.testing.assert_array_equal(array, deeper.weights[name])
    assert not np.array_equal(one.weights["vgg0_conv0_weight"], other.weights["vgg0_conv0_weight"])


@pytest.mark.parametrize(
    ("topology", "layer", "tensor"),
    [
        (topologies.vgg16_bn, "conv4_3", "vgg0_batchnorm9_fwd"),
        (topologies.resnet18, "res6", "resnetv15_stage3_batchnorm1_fwd"),
        (topologies.squeezenet1_1, "fire9", "squeezenet0_conv24_fwd"),
        (topologies.alexnet, "conv5", "r12"),
    ],
)
def test_deep_values_have_mean_zero_and_variance_one(topology, layer, tensor, images):
    graph = small(topology, [layer])
    network = filled(graph, images)
    with_tensor = cut(network, [tensor])
    value = np.concatenate([run(with_tensor, image[None])[tensor] for image in images])
    assert value.mean() == pytest.approx(0, abs=0.02)
    assert value.std() == pytest.approx(1, rel=0.05)


def test_kernels_are_drawn_from_he_s_distribution(images):
    network = filled(small(topologies.vgg16_bn, ["conv3_1"]), images)
    kernel = network.weights["vgg0_conv4_weight"]
    assert kernel.std() == pytest.approx(np.sqrt(2 / (128 * 9)), rel=0.01)
    assert kernel.mean() == pytest.approx(0, abs=1e-3)


def test_a_gate_is_filled_and_its_units_share_their_statistics(images):
    net = Net(size=64)
    trunk = net.relu_conv("x", 8, 3)
    gate = net("Conv", net("GlobalAveragePool", trunk), np.zeros((8, 8, 1, 1)), np.zeros(8))
    graph = tidy(net.graph(net("Mul", net("Sigmoid", gate), trunk)))
    network = filled(graph, images)
    values = np.concatenate([run(cut(network, [gate]), image[None])[gate] for image in images])
    assert values.mean() == pytest.approx(0, abs=1e-3)
    assert values.std() == pytest.approx(1, rel=1e-2)
    assert len(np.unique(np.abs(values).round(3))) > 8  # not plus and minus one, unit by unit


def test_a_matrix_behind_a_reshape_is_filled(images):
    net = Net(size=64)
    flat = net("Flatten", net("GlobalAveragePool", net.relu_conv("x", 8, 3)))
    matrix = net("Reshape", np.zeros((1, 1, 10, 8)), [10, 8])
    scores = net("Gemm", flat, matrix, np.zeros(10), transB=1)
    graph = tidy(net.graph(scores))
    value = run(filled(settle(cut(graph, [scores])), images), images[:1])[scores]
    assert value.std() > 0.1


def swish(net, value):
    made = net("Mul", value, net("Sigmoid", value))
    net.channels[made] = net.channels[value]
    return made


def norm(net, value):
    width = net.channels[value]
    made = net("BatchNormalization", value, np.ones(width), np.zeros(width), np.zeros(width), np.ones(width))
    net.channels[made] = width
    return made


def efficient_block(net, value):
    """An inverted bottleneck with squeeze and excitation."""
    width = net.channels[value]
    inner = swish(net, norm(net, net.conv(value, 2 * width)))
    inner = swish(net, norm(net, net.conv(inner, 2 * width, 3, group=2 * width)))
    gate = net("Sigmoid", net.conv(swish(net, net.conv(net("GlobalAveragePool", inner), 8)), 2 * width))
    gated = net("Mul", gate, inner)
    net.channels[gated] = 2 * width
    return norm(net, net.conv(gated, width))


def test_other_images_are_not_far_stronger_than_those_of_the_calibration():
    """With the statistics of two photographs, other images are hundreds of times as strong at the end of such a network."""
    net, value = Net(size=32), "x"
    for _ in range(3):
        value = swish(net, norm(net, net.conv(value, 48, 3, stride=2)))
    for number in range(8):
        made = efficient_block(net, value)
        value = net("Add", value, made) if number % 2 else made
        net.channels[value] = 48
    graph = tidy(net.graph(value))
    network = filled(graph, network_input(calibration_images(graph), parse("torch")))
    rocket, cat = (
        np.abs(run(network, network_input(load(name, graph.size, "squash"), parse("torch")))[value]).max()
        for name in ("rocket", "chelsea")
    )
    assert rocket < 10 * cat
