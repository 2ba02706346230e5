"""Networks for channels last, one channel, half precision or a fixed batch become networks for [N, 3, height, width]."""

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.networks.nets import Net
from tests.networks.onnx.conftest import run
from tfinvert.networks.names import layer_names
from tfinvert.networks.onnx import cut, from_proto, geometry, settle, tidy
from tfinvert.system.errors import InputError

IMAGE = np.random.default_rng(2).uniform(0, 1, (1, 3, 32, 32)).astype(np.float32)
BRIGHTNESS = np.array([0.299, 0.587, 0.114], np.float32)


def file(net, *outputs, sides=None, kind=TensorProto.FLOAT):
    """The model with another shape and type of input."""
    model = net.graph(*outputs).proto(batch=1)
    declared = helper.make_tensor_value_info("x", kind, sides or [1, net.channels["x"], net.size, net.size])
    model.graph.input[0].CopyFrom(declared)
    return model


def original(model, image):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": image})[0]


def read(model):
    graph = tidy(from_proto(model, "net.onnx"))
    return settle(cut(graph, graph.outputs))


@pytest.mark.parametrize("sides", [["N", 32, 32, 3], [1, 32, 32, 3], ["N", "h", "w", 3]])
def test_channels_last(sides):
    net = Net()
    first = net("Transpose", "x", perm=[0, 3, 1, 2])
    net.channels[first] = 3
    model = file(net, net.relu_conv(first, 4, 3, stride=2), sides=sides)
    graph = read(model)
    assert [node.op_type for node in graph.nodes] == ["Conv", "Relu"]  # the transposes are gone
    assert graph.size == ((224, 224) if "h" in sides else (32, 32))
    if "h" not in sides:
        value = run(graph, IMAGE)[graph.outputs[0]]
        np.testing.assert_allclose(value, original(model, IMAGE.transpose(0, 2, 3, 1)), rtol=1e-5, atol=1e-5)


def test_channels_last_with_a_normalization_before_the_transpose():
    net = Net()
    scaled = net("Add", net("Mul", "x", np.array([2.0, 3, 4])), -0.5)
    first = net("Transpose", scaled, perm=[0, 3, 1, 2])
    net.channels[first] = 3
    model = file(net, net.relu_conv(first, 4, 3), sides=["N", 32, 32, 3])
    graph = read(model)
    value = run(graph, IMAGE)[graph.outputs[0]]
    np.testing.assert_allclose(value, original(model, IMAGE.transpose(0, 2, 3, 1)), rtol=1e-5, atol=1e-5)
    assert geometry(graph)[graph.outputs[0]].receptive_field == (3, 3)


@pytest.mark.parametrize("last", [False, True])
def test_one_channel_is_the_brightness(last):
    net = Net(channels=1)
    first = net("Transpose", "x", perm=[0, 3, 1, 2]) if last else "x"
    net.channels[first] = 1
    model = file(net, net.relu_conv(first, 4, 3), sides=["N", 32, 32, 1] if last else ["N", 1, 32, 32])
    graph = read(model)
    gray = np.tensordot(BRIGHTNESS, IMAGE, axes=(0, 1))[:, None]
    expected = original(model, gray.transpose(0, 2, 3, 1) if last else gray)
    np.testing.assert_allclose(run(graph, IMAGE)[graph.outputs[0]], expected, rtol=1e-5, atol=1e-5)
    assert layer_names(graph) == {"conv1": graph.outputs[0]}


@pytest.mark.parametrize("kind", [TensorProto.FLOAT16, TensorProto.DOUBLE])
def test_other_floats_become_float32(kind):
    net = Net()
    cast = net("Cast", "x", to=kind)
    net.channels[cast] = 3
    last = net("Cast", net.relu_conv(cast, 4, 3), to=TensorProto.FLOAT)
    model = file(net, last)
    for weight in model.graph.initializer:
        array = numpy_helper.to_array(weight).astype(helper.tensor_dtype_to_np_dtype(kind))
        weight.CopyFrom(numpy_helper.from_array(array, weight.name))
    expected = original(model, IMAGE) if kind == TensorProto.FLOAT16 else None  # onnxruntime has no convolution of doubles
    graph = read(model)
    assert [node.op_type for node in graph.nodes] == ["Conv", "Relu"]
    assert {array.dtype.name for array in graph.weights.values()} == {"float32"}
    value = run(graph, IMAGE)[graph.outputs[0]]
    assert expected is None or np.allclose(value, expected, rtol=1e-2, atol=1e-2)


def test_a_cast_of_whole_numbers_stays_one():
    net = Net()
    sides = net("Cast", net("Shape", "x"), to=TensorProto.FLOAT)
    scaled = net("Mul", "x", net("Gather", sides, [2]))
    net.channels[scaled] = 3
    model = file(net, net.conv(scaled, 4))
    graph = read(model)
    np.testing.assert_allclose(run(graph, IMAGE)[graph.outputs[0]], original(model, IMAGE), rtol=1e-5, atol=1e-5)


def test_a_fixed_batch_of_eight():
    net = Net()
    trunk = net.relu_conv("x", 4, 3, stride=2)
    shuffled = net("Transpose", net("Reshape", trunk, [8, 2, 2, 16, 16]), perm=[0, 2, 1, 3, 4])
    back = net("Reshape", shuffled, [8, 4, 16, 16])
    flat = net("Reshape", back, [8, -1])
    end = net("Gemm", flat, net.normal(1024, 5), net.normal(5))
    model = file(net, end, sides=[8, 3, 32, 32])
    expected = original(model, np.repeat(IMAGE, 8, axis=0))[:1]
    graph = read(model)
    np.testing.assert_allclose(run(graph, IMAGE)[graph.outputs[0]], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("sides", [[1, 4, 32, 32], [1, 32, 32, 2], [1, 3, 32], [1, 2, 0, 0]])
def test_another_input_is_refused(sides):
    net = Net()
    with pytest.raises(InputError, match=r"expected \[batch, 3, height, width\] or \[batch, height, width, 3\], with three"):
        from_proto(file(net, net("Relu", "x"), sides=sides), "net.onnx")


def test_a_window_that_is_just_larger_than_the_image_is_refused():
    net = Net(size=6)
    value = net("Conv", "x", net.normal(4, 3, 7, 7), strides=[2, 2], pads=[0] * 4)
    with pytest.raises(InputError, match="images of 6x6 pixels are too small for the windows of 't0'; try a larger --size"):
        geometry(tidy(net.graph(value)))
