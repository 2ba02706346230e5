"""The networks of the original homework (megvii-research/tf-tutorials, 02-feature-inversion) and its files of weights.

Its VGG16 is the ONNX model zoo's. Its ResNet18 is not: the stem has a stride of 1, no ReLU, and an average pool of 2x2, and the
network ends with the last block. Its batch norms have an epsilon of 1e-20.
"""

from __future__ import annotations

import dataclasses
import itertools
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from onnx import helper

from tfinvert.images import files as images
from tfinvert.networks import npy_files, topologies
from tfinvert.networks import onnx as graphs
from tfinvert.networks.onnx import Graph, attributes, remake
from tfinvert.networks.preprocessing import network_input, parse
from tfinvert.system.cache import cache_folder, remembered_sha256
from tfinvert.system.errors import InputError
from tfinvert.system.files import write_text

EPSILON = 1e-20
VGG_LAYERS = [f"conv{block}_{number}" for block, count in enumerate((2, 2, 3, 3, 3), 1) for number in range(1, count + 1)]
# What the homework calls the convolutions of ResNet18 -> what `topologies.resnet18` does.
RESNET_LAYERS = {"conv1": "conv0"} | {
    f"conv{'_' if stage > 1 else ''}{stage + 1}_{block + 1}_{part}": f"stage{stage}_conv{number}"
    for stage in (1, 2, 3, 4)
    for block, part, number in (
        (0, "conv_1", 0),
        (0, "conv_2", 1),
        *([(0, "shortcut", 2)] if stage > 1 else []),
        (1, "conv_1", 2 + (stage > 1)),
        (1, "conv_2", 3 + (stage > 1)),
    )
}
VGG_PARTS = ("gamma", "beta", "running_mean", "running_var")  # after kernel and bias
RESNET_PARTS = ("running_mean", "running_var", "gamma", "beta")  # after the kernel
PHOTOGRAPHS = ("chelsea", "coffee", "rocket")
SURE = 2.0  # how many times as sure as the next way of reading a file the network has to be
log = logging.getLogger("tfinvert")


def resnet18() -> Graph:
    """The homework's ResNet18: the zoo's with a stem of stride 1 without ReLU, a 2x2 average pool, and no classifier."""
    graph = topologies.resnet18()
    nodes, stem = [], ""
    for node in graph.nodes:
        if node.op_type == "GlobalAveragePool":
            break
        if node.name.endswith("relu0_fwd") and "stage" not in node.name:
            stem = node.input[0]
            continue
        if node.op_type == "MaxPool":
            node = helper.make_node(
                "AveragePool", [stem], node.output, name=node.name, kernel_shape=[2, 2], strides=[2, 2], pads=[0] * 4
            )
        elif node.name.endswith("v15_conv0_fwd"):
            node = remake(node, strides=[1, 1])
        elif node.op_type == "Conv" and attributes(node)["strides"] == [2, 2]:
            node = remake(node, pads=None, auto_pad="SAME_UPPER")  # TensorFlow's SAME: the odd pixel is at the end
        elif node.op_type == "BatchNormalization":
            node = remake(node, epsilon=EPSILON)
        nodes.append(node)
    return dataclasses.replace(graph, nodes=tuple(nodes), outputs=(nodes[-1].output[0],))


@dataclasses.dataclass(frozen=True)
class Reading:
    """A way to read the arrays of a file, which do not say in which order their axes are.

    Attributes:
      turned: whether kernels have their height before their width, unlike what the homework's own program takes them for.
      channels_first: whether the matrix of fc6 takes channel, height, width, unlike what the homework's own program gives it.
    """

    turned: bool = False
    channels_first: bool = False

    def words(self, *, dense: bool) -> str:
        """What it is, for the log."""
        kernels = "height before width" if self.turned else "width before height"
        order = "channel, height, width" if self.channels_first else "height, width, channel"
        return f"kernels stored with their {kernels}" + (f", fc6 in the order {order}" if dense else "")


def as_onnx(path: Path) -> Path:
    """The .onnx file, in the cache, of the network whose weights the homework keeps in a .npy file; says how it was read.

    Raises:
      InputError: the file holds no weights of the homework's VGG16 or ResNet18.
    """
    if not path.is_file():
        raise InputError(f"there is no file {str(path)!r}; expected an .onnx file, or the homework's .npy file")
    folder = cache_folder() / "homework" / remembered_sha256(path)[:32]
    made, said = folder / f"{path.stem}.onnx", folder / "reading.txt"
    if not said.is_file():
        graph, reading = read(npy_files.read_arrays(path), str(path))
        folder.mkdir(parents=True, exist_ok=True)
        graphs.write(graph, made)
        write_text(said, reading)
    log.info("%s: %s", path.name, said.read_text(encoding="utf-8"))
    return made


def read(arrays: Mapping[str, list[np.ndarray]], name: str) -> tuple[Graph, str]:
    """The network of the homework's arrays, and how they were read, in words.

    The classifier tells in which order their axes are: read in the wrong one, it is sure of no photograph. Where a file has no
    classifier, or is not sure either way, it is read as the homework's own program reads it.

    Args:
      arrays: as `npy_files.read_arrays` gives them.
      name: of the file, for errors.
    """
    is_vgg = all(layer in arrays for layer in VGG_LAYERS)
    if not is_vgg and not all(layer in arrays for layer in RESNET_LAYERS):
        raise InputError(
            f"{name} holds the layers {', '.join(list(arrays)[:8])}; expected those of the homework's VGG16 (conv1_1, ...) or "
            "ResNet18 (conv1, conv2_1_conv_1, ...)"
        )
    dense = is_vgg and all(layer in arrays for layer in ("fc6", "fc7", "fc8"))
    if not dense:
        return _filled(
            arrays, Reading(), is_vgg=is_vgg
        ), f"{Reading().words(dense=False)}, as the homework's own program has it"
    readings = [Reading(*values) for values in itertools.product((False, True), repeat=2)]
    sure = {reading: confidence(_filled(arrays, reading, is_vgg=True)) for reading in readings}
    best, second = sorted(readings, key=lambda reading: sure[reading], reverse=True)[:2]
    if sure[best] < SURE * sure[second]:
        best, why = Reading(), "as the homework's own program has it: the classifier is as sure in any other order"
    else:
        why = f"because the classifier is surest so ({sure[best]:.2f}, else at most {sure[second]:.2f})"
    return _filled(arrays, best, is_vgg=True), f"{best.words(dense=True)}, {why}"


def confidence(graph: Graph) -> float:
    """The mean probability that a classifier gives to the class that it sees in each of three photographs."""
    import onnxruntime  # takes a while, and only a file with a classifier needs it

    session = onnxruntime.InferenceSession(graph.proto(batch=1).SerializeToString(), providers=["CPUExecutionProvider"])
    highest = []
    for photograph in PHOTOGRAPHS:
        image = network_input(images.load(photograph, graph.size), parse("torch"))
        (scores,) = session.run(None, {graph.image: image})
        powers = np.exp(scores.astype(np.float64) - scores.max())
        highest.append(float(powers.max() / powers.sum()))
    return float(np.mean(highest))


def _filled(arrays: Mapping[str, list[np.ndarray]], reading: Reading, *, is_vgg: bool) -> Graph:
    """The graph with the arrays as its weights; raises InputError where they do not fit."""
    graph = topologies.vgg16_bn() if is_vgg else resnet18()
    weights = dict(_vgg_weights(arrays, reading) if is_vgg else _resnet_weights(arrays, reading))
    if is_vgg:
        last = "dense2_fwd" if "fc8" in arrays else "pool4_fwd"
        nodes = [remake(node, epsilon=EPSILON) if node.op_type == "BatchNormalization" else node for node in graph.nodes]
        end = next(number for number, node in enumerate(nodes) if node.name.endswith(last)) + 1
        graph = dataclasses.replace(graph, nodes=tuple(nodes[:end]), outputs=(nodes[end - 1].output[0],))
    missing = {name for node in graph.nodes for name in node.input if name in graph.weights} - weights.keys()
    if missing:
        raise InputError(f"the file of weights has nothing for {min(missing)}")
    return dataclasses.replace(graph, weights=weights)


def _vgg_weights(arrays: Mapping[str, list[np.ndarray]], reading: Reading) -> Iterator[tuple[str, np.ndarray]]:
    for number, layer in enumerate(VGG_LAYERS):
        kernel, bias, *norm = _parts(arrays, layer, 6)
        yield f"vgg0_conv{number}_weight", _kernel(kernel, len(bias), reading, layer)
        yield f"vgg0_conv{number}_bias", bias
        for part, value in zip(VGG_PARTS, norm, strict=True):
            yield f"vgg0_batchnorm{number}_{part}", value
    channels = len(arrays[VGG_LAYERS[-1]][1])
    for number, layer in enumerate(name for name in ("fc6", "fc7", "fc8") if name in arrays):
        matrix, bias = _parts(arrays, layer, 2)
        matrix = matrix if matrix.shape[0] == len(bias) else matrix.T
        if number == 0 and not reading.channels_first:
            side = round((matrix.shape[1] / channels) ** 0.5)
            matrix = matrix.reshape(-1, side, side, channels).transpose(0, 3, 1, 2).reshape(len(bias), -1)
        yield f"vgg0_dense{number}_weight", np.ascontiguousarray(matrix)
        yield f"vgg0_dense{number}_bias", bias


def _resnet_weights(arrays: Mapping[str, list[np.ndarray]], reading: Reading) -> Iterator[tuple[str, np.ndarray]]:
    for layer, name in RESNET_LAYERS.items():
        kernel, *norm = _parts(arrays, layer, 5)
        yield f"resnetv15_{name}_weight", _kernel(kernel, len(norm[0]), reading, layer)
        for part, value in zip(RESNET_PARTS, norm, strict=True):
            yield f"resnetv15_{name.replace('conv', 'batchnorm')}_{part}", value


def _parts(arrays: Mapping[str, list[np.ndarray]], layer: str, count: int) -> list[np.ndarray]:
    found = arrays[layer]
    if len(found) < count:
        raise InputError(f"the layer {layer} of the file of weights has {len(found)} arrays; expected {count}")
    return found[:count]


def _kernel(array: np.ndarray, outputs: int, reading: Reading, layer: str) -> np.ndarray:
    """A kernel as ONNX has it, [out, in, height, width].

    The homework's program turns [out, in, a, b] into TensorFlow's [b, a, in, out]: what it takes for the height is the last
    axis. A kernel that is stored as [a, b, in, out] already is taken with the width first, too.
    """
    if array.ndim != 4 or outputs not in (array.shape[0], array.shape[3]):
        raise InputError(f"the kernel of {layer} is {list(array.shape)}; expected one with {outputs} outputs first or last")
    first = array.shape[0] == outputs and array.shape[2] == array.shape[3]
    kernel = array if first else array.transpose(3, 2, 0, 1)
    return np.ascontiguousarray(kernel if reading.turned else kernel.transpose(0, 1, 3, 2))
