"""The original homework's ResNet18, and its .npy files of weights."""

import pickle

import numpy as np
import onnxruntime
import pytest

from tfinvert.networks import homework, names, npy_files, zoo
from tfinvert.networks import onnx as graphs
from tfinvert.networks.load import load
from tfinvert.system import errors

RNG = np.random.default_rng(0)


def normal(*shape):
    return (RNG.standard_normal(shape) / np.sqrt(max(np.prod(shape[1:]), 1))).astype(np.float32)


def vgg(width=3, side=1):
    """Arrays as the homework's VGG16 has them, for images of 32 pixels a side: kernels [out, in, a, b], fc [out, in]."""
    arrays, channels = {}, 3
    for layer in homework.VGG_LAYERS:
        norm = [1 + normal(width) ** 2, normal(width), normal(width), 1 + normal(width) ** 2]
        arrays[layer] = [normal(width, channels, 3, 3), normal(width), *norm]
        channels = width
    for layer, inputs, outputs in (("fc6", side * side * width, 8), ("fc7", 8, 8), ("fc8", 8, 5)):
        arrays[layer] = [normal(outputs, inputs), normal(outputs)]
    return arrays


def resnet(width=2):
    """Arrays as the homework's ResNet18 has them."""
    arrays = {}
    for layer in homework.RESNET_LAYERS:
        size = 7 if layer == "conv1" else 1 if "shortcut" in layer else 3
        norm = [normal(width), 1 + normal(width) ** 2, 1 + normal(width) ** 2, normal(width)]
        arrays[layer] = [normal(width, 3 if layer == "conv1" else width, size, size), *norm]
    return arrays


def outputs(graph, size=32):
    """The output of a graph for a fixed image."""
    graph = graphs.resized(graphs.tidy(graph), (size, size))
    image = np.random.default_rng(1).standard_normal((1, 3, size, size)).astype(np.float32)
    session = onnxruntime.InferenceSession(graph.proto(batch=1).SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {graph.image: image})[0], image


def homework_s_own(arrays, image):
    """What the homework's ResNet18 computes, written again with TensorFlow: kernels rolled as its program rolls them."""
    import tensorflow as tf

    def layer(value, name, stride=1):
        kernel, mean, variance, gamma, beta = arrays[name]
        turned = kernel.transpose(3, 2, 1, 0)  # np.rollaxis of axes 1, 2 and 3 in turn: [out, in, a, b] -> [b, a, in, out]
        value = tf.nn.conv2d(value, turned, stride, "SAME")
        return tf.nn.batch_normalization(value, mean, variance, beta, gamma, 1e-20)

    value = tf.nn.avg_pool(layer(image.transpose(0, 2, 3, 1), "conv1"), 2, 2, "SAME")
    for stage, prefix in ((2, "conv2"), (3, "conv_3"), (4, "conv_4"), (5, "conv_5")):
        for block in (1, 2):
            name, stride = f"{prefix}_{block}", 2 if stage > 2 and block == 1 else 1
            shortcut = layer(value, f"{name}_shortcut", stride) if stride == 2 else value
            inside = tf.nn.relu(layer(value, f"{name}_conv_1", stride))
            value = tf.nn.relu(layer(inside, f"{name}_conv_2") + shortcut)
    return value.numpy().transpose(0, 3, 1, 2)


def test_the_homework_s_resnet18_is_the_zoo_s_with_another_stem():
    ours, zoos = (names.describe(graphs.tidy(graph())) for graph in (homework.resnet18, zoo.model("resnet18").topology))
    assert list(ours) == list(zoos)[: len(ours)]
    assert (ours["conv1"].stride, zoos["conv1"].stride) == ((1, 1), (2, 2))
    assert ours["conv1"].tensor.endswith("batchnorm0_fwd")  # no ReLU
    assert ours["res2"].shape == (112, 112, 64)  # twice the side of the zoo's
    assert list(ours)[-1] == "res8"
    pools = [node for node in homework.resnet18().nodes if "Pool" in node.op_type]
    assert [(node.op_type, list(graphs.attributes(node)["kernel_shape"])) for node in pools] == [("AveragePool", [2, 2])]


def test_it_computes_what_the_homework_s_own_program_does():
    arrays = resnet()
    graph, said = homework.read(arrays, "resnet18.npy")
    assert said == "kernels stored with their width before height, as the homework's own program has it"
    ours, image = outputs(graph)
    np.testing.assert_allclose(ours, homework_s_own(arrays, image), rtol=1e-3, atol=1e-4)


def test_it_has_random_weights_and_names_where_its_own_are(tmp_path):
    network = load("resnet18-homework", weights="random", size=32)
    assert network.layer("res3").error < 1e-4  # the odd pixel of a stride of 2 is where TensorFlow has it
    with pytest.raises(errors.InputError, match=r"give the homework's resnet18.npy with --onnx=resnet18.npy, or run with"):
        load("resnet18-homework", weights="pretrained").prepare("res2")


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("channels_first", [False, True])
def test_the_order_of_the_axes_is_found_by_the_classifier(turned, channels_first, monkeypatch):
    arrays = vgg(side=2)
    kernel = arrays["conv1_1"][0]

    def sure(graph):
        """Of all orders, one is right: that in which the first kernel and the matrix of fc6 are as they were trained."""
        upright = np.array_equal(graph.weights["vgg0_conv0_weight"], kernel) == turned
        return (
            0.9 if upright and np.array_equal(graph.weights["vgg0_dense0_weight"], arrays["fc6"][0]) == channels_first else 0.1
        )

    monkeypatch.setattr(homework, "confidence", sure)
    graph, said = homework.read(arrays, "vgg16_onnx.npy")
    assert sure(graph) == 0.9
    assert ("height before width" if turned else "width before height") in said
    assert ("fc6 in the order channel, height, width" if channels_first else "fc6 in the order height, width, channel") in said
    assert "because the classifier is surest so (0.90, else at most 0.10)" in said
    monkeypatch.setattr(homework, "confidence", lambda graph: 0.5)
    assert "as the homework's own program has it: the classifier is as sure in any other order" in homework.read(arrays, "x")[1]


def test_kernels_may_have_their_outputs_last():
    arrays = resnet()
    last = {name: [parts[0].transpose(2, 3, 1, 0), *parts[1:]] for name, parts in arrays.items()}  # [W, H, I, O]
    first, second = (homework.read(each, "x")[0] for each in (arrays, last))
    for name, weight in first.weights.items():
        np.testing.assert_array_equal(second.weights[name], weight)


def test_the_confidence_is_the_probability_of_the_class_that_is_seen():
    arrays = vgg(side=1)
    arrays["fc8"] = [np.zeros((5, 8), np.float32), np.array([0, 0, 5, 0, 0], np.float32)]  # the third class, whatever it sees
    graph = homework._filled(arrays, homework.Reading(), is_vgg=True)
    expected = np.exp(5) / (np.exp(5) + 4)
    assert homework.confidence(graphs.resized(graphs.tidy(graph), (32, 32))) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("protocol", [2, 4])
def test_a_file_of_weights_is_converted_once(protocol, tmp_path, caplog):
    arrays = {**resnet(), "comment": "trained by somebody"}
    with open(tmp_path / "resnet18.npy", "wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|O", "fortran_order": False, "shape": ()})
        pickle.dump(np.array(arrays, dtype=object), file, protocol=protocol)
    caplog.set_level("INFO")
    network = load(tmp_path / "resnet18.npy", size=32)
    assert "resnet18.npy: kernels stored with their width before height" in caplog.text
    assert "res8" in network.layers
    made = homework.as_onnx(tmp_path / "resnet18.npy")
    written = made.stat().st_mtime_ns
    assert homework.as_onnx(tmp_path / "resnet18.npy").stat().st_mtime_ns == written


class Hostile:
    def __reduce__(self):
        return print, ("this ran",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (Hostile(), "asks for __builtin__.print, which is no array"),
        ({"conv1": [Hostile()]}, "asks for __builtin__.print, which is no array"),
        ([1, 2], "holds a list; expected the homework's dictionary of weights"),
        ({"conv1_1": [np.zeros(3)]}, "holds the layers conv1_1; expected those of the homework's VGG16"),
    ],
)
def test_what_is_no_file_of_weights_is_refused(content, message, tmp_path, capsys):
    with open(tmp_path / "x.npy", "wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|O", "fortran_order": False, "shape": ()})
        pickle.dump(content, file, protocol=2)
    with pytest.raises(errors.InputError, match=message):
        homework.as_onnx(tmp_path / "x.npy")
    assert "this ran" not in capsys.readouterr().out


@pytest.mark.parametrize("data", [b"", b"\x93NUMPY\x01\x00", b"no array at all", None])
def test_damaged_files_are_refused(data, tmp_path):
    if data is None:
        np.save(tmp_path / "x.npy", np.zeros(3), allow_pickle=False)
    else:
        (tmp_path / "x.npy").write_bytes(data)
    with pytest.raises(errors.InputError, match=r"cannot read the weights .*x\.npy"):
        npy_files.read_arrays(tmp_path / "x.npy")
