"""Seeded random weights for any graph, with statistics calibrated on photographs.

Random convolutional networks keep enough of an image to invert them (He, Wang & Hopcroft 2016, arXiv 1606.04801),
provided that activations neither vanish nor blow up with depth. Kernels are drawn from He's normal distribution,
N(0, 2 / fan_in) (He et al. 2015, arXiv 1502.01852). Then, layer by layer, the batch norms take the mean and variance
that the photographs give them, and layers without batch norm are scaled and shifted to mean 0 and variance 1 per
channel (the data-dependent initialization of Krähenbühl et al. 2016, arXiv 1511.06856).
"""

import dataclasses
import zlib
from collections.abc import Mapping

import numpy as np
import onnx
from onnx import helper

from tfinvert.networks.onnx import Graph, attributes
from tfinvert.system.errors import InputError

LEARNED = frozenset(("Conv", "Gemm", "MatMul"))
LINEAR, SMOOTH = ("Relu", "LeakyRelu", "PRelu", "Clip"), ("Sigmoid", "HardSigmoid", "HardSwish")


def filled(graph: Graph, inputs: np.ndarray, seed: int = 0) -> Graph:
    """Returns the graph with the weights of every convolution, dense layer and batch norm drawn and calibrated.

    A layer's weights depend on the seed, on the name of its weight in the file and on the layers before it, not on
    where the graph is cut.

    Args:
      graph: a tidied graph, cut to what is needed.
      inputs: photographs as the network takes them, preprocessed, [n, 3, H, W] at the graph's size.
      seed: seed of the weights.

    Raises:
      InputError: onnxruntime cannot run a node.
    """
    weights = dict(graph.weights)
    values = {graph.image: np.ascontiguousarray(inputs, np.float32)}
    readers = {name: len(nodes) for name, nodes in graph.consumers().items()}
    before_norms = {n.input[0] for n in graph.nodes if n.op_type == "BatchNormalization"}
    for node in graph.nodes:
        learned = node.op_type in LEARNED and node.input[1] in weights
        if learned:
            weights |= _draw(node, weights, seed)
        elif node.op_type == "BatchNormalization":
            weights |= _fit_batch_norm(node, values[node.input[0]])
        value = _run(node, values, weights, graph.opset)
        if learned and node.output[0] not in before_norms and weights.keys() & node.input[2:]:
            value, new_weights = _normalize(node, value, weights[node.input[1]])
            weights |= new_weights
        values[node.output[0]] = value
        for name in node.input:
            if name in readers:
                readers[name] -= 1
                if not readers[name]:  # nothing reads it any more
                    values.pop(name, None)
    return dataclasses.replace(graph, weights=weights)


def begins_smooth(graph: Graph) -> bool:
    """Whether the first activation of a graph is SiLU, HardSwish or a sigmoid."""
    return next((node.op_type in SMOOTH for node in graph.nodes if node.op_type in (*LINEAR, *SMOOTH)), False)


def _draw(node: onnx.NodeProto, weights: Mapping[str, np.ndarray], seed: int) -> dict[str, np.ndarray]:
    """Draws a convolution's or dense layer's kernel from N(0, 2 / fan_in); its bias is 0."""
    name = node.input[1]
    rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
    shape = weights[name].shape
    fan_in = np.prod(shape[1:]) if _outputs_first(node) else shape[0]
    kernel = rng.standard_normal(shape, np.float32)
    kernel *= np.float32(np.sqrt(2.0 / fan_in))
    biases = {bias: np.zeros(weights[bias].shape, np.float32) for bias in weights.keys() & node.input[2:]}
    return {name: kernel, **biases}


def _fit_batch_norm(node: onnx.NodeProto, value: np.ndarray) -> dict[str, np.ndarray]:
    """Makes the weights of a batch norm that brings `value`, [n, channels, ...], to mean 0 and variance 1 per channel."""
    mean, deviation = _statistics(value)
    return dict(zip(node.input[1:5], (np.ones_like(mean), np.zeros_like(mean), mean, deviation**2), strict=True))


def _normalize(node: onnx.NodeProto, value: np.ndarray, kernel: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Brings a layer's output, [n, channels, ...], to mean 0 and variance 1 per channel, with the weights that do so."""
    mean, deviation = _statistics(value)
    per_channel = (-1,) + (1,) * (value.ndim - 2)
    value = (value - mean.reshape(per_channel)) / deviation.reshape(per_channel)
    per_output = (-1,) + (1,) * (kernel.ndim - 1) if _outputs_first(node) else (1, -1)
    return value, {node.input[1]: kernel / deviation.reshape(per_output), node.input[2]: -mean / deviation}


def _outputs_first(node: onnx.NodeProto) -> bool:
    """Whether the first side of a layer's kernel is that of its outputs, [out, in, ...] instead of [in, out]."""
    return bool(node.op_type == "Conv" or attributes(node).get("transB", 0))


def _statistics(value: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Computes mean and standard deviation per channel of [n, channels, ...], [channels] each.

    A dense layer, or a convolution in a gate of squeeze and excitation, has one value per image and unit, too few for a
    deviation of each unit: all units share both.
    """
    axes = (0, *range(2, value.ndim))
    mean = value.mean(axes, dtype=np.float64)
    variance = value.var(axes, dtype=np.float64)
    if value[0, 0].size == 1:
        mean, variance = np.full_like(mean, value.mean()), np.full_like(mean, value.var())
    return mean.astype(np.float32), np.sqrt(np.maximum(variance, 1e-8)).astype(np.float32)


def _run(node: onnx.NodeProto, values: dict, weights: dict, opset: int) -> np.ndarray:
    """Computes the first output of a node with onnxruntime."""
    import onnxruntime  # only where a network is converted

    feeds = {name: values[name] if name in values else np.asarray(weights[name], order="C") for name in node.input if name}
    inputs = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
        for name, array in feeds.items()
    ]
    output = onnx.ValueInfoProto(name=node.output[0])
    output.type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    body = helper.make_graph([node], "node", inputs, [output])
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        return session.run([node.output[0]], feeds)[0]
    except Exception as error:  # its exceptions share no base class
        reason = " ".join(str(error).split())[:300]
        raise InputError(f"onnxruntime cannot run {node.output[0]!r} ({node.op_type}): {reason}") from None
