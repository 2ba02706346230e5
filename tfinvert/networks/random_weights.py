"""Seeded random weights for any graph, with statistics calibrated on photographs.

Random convolutional networks keep enough of a picture to invert them (He, Wang & Hopcroft 2016, arXiv 1606.04801),
provided that activations neither vanish nor blow up with depth. Kernels are drawn from He's normal distribution,
N(0, 2 / fan_in) (He et al. 2015, arXiv 1502.01852); then, layer by layer, the batch norms take the mean and variance
that the photographs give them, and layers without batch norm are scaled and shifted to mean 0 and variance 1 per
channel (the data-dependent initialization of Krähenbühl et al. 2016, arXiv 1511.06856).
"""

import dataclasses
import zlib

import numpy as np
import onnx
import onnxruntime
from onnx import helper

from tfinvert.errors import InputError
from tfinvert.networks.onnx.graph import Graph, attributes

LEARNED = frozenset(("Conv", "Gemm", "MatMul"))


def filled(graph: Graph, inputs: np.ndarray, seed: int = 0) -> Graph:
    """The graph with every convolution, dense layer and batch norm drawn and calibrated.

    Args:
      graph: cut to what is needed; a layer's weights depend on the seed, its name and the layers before it, not on
        where the graph was cut.
      inputs: [n, 3, H, W], preprocessed photographs at the graph's size.
      seed: of the weights.

    Raises:
      InputError: onnxruntime cannot run a node.
    """
    weights = dict(graph.weights)
    values = {graph.image: np.ascontiguousarray(inputs, np.float32)}
    readers = {name: len(nodes) for name, nodes in graph.consumers().items()}
    followed = {n.input[0] for n in graph.nodes if n.op_type == "BatchNormalization"}
    for node in graph.nodes:
        learned = node.op_type in LEARNED and node.input[1] in weights
        if learned:
            name = node.input[1]
            rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
            shape = weights[name].shape
            transposed = node.op_type == "Conv" or attributes(node).get("transB", 0)
            fan_in = np.prod(shape[1:]) if transposed else shape[0]
            kernel = rng.standard_normal(shape, np.float32)
            kernel *= np.float32(np.sqrt(2.0 / fan_in))
            weights[name] = kernel
            for bias in weights.keys() & node.input[2:]:
                weights[bias] = np.zeros(weights[bias].shape, np.float32)
        if node.op_type == "BatchNormalization":
            mean, deviation = _statistics(values[node.input[0]])
            scale, offset, running_mean, running_variance = node.input[1:5]
            weights[scale] = np.ones_like(mean)
            weights[offset] = np.zeros_like(mean)
            weights[running_mean] = mean
            weights[running_variance] = deviation**2
        value = _run(node, values, weights, graph.opset)
        if learned and node.output[0] not in followed and weights.keys() & node.input[2:]:
            mean, deviation = _statistics(value)
            across = (-1,) + (1,) * (value.ndim - 2)
            value = (value - mean.reshape(across)) / deviation.reshape(across)
            over = (-1,) + (1,) * (kernel.ndim - 1) if transposed else (1, -1)
            weights[name] = kernel / deviation.reshape(over)
            weights[node.input[2]] = -mean / deviation
        values[node.output[0]] = value
        for used in node.input:
            if used in readers:
                readers[used] -= 1
                if not readers[used]:
                    values.pop(used, None)
    return dataclasses.replace(graph, weights=weights)


def _statistics(value: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation per channel of [n, channels, ...].

    A dense layer has one value per picture and unit, too few for a deviation of its own: all units share one.
    """
    axes = (0, *range(2, value.ndim))
    mean = value.mean(axes, dtype=np.float64)
    variance = value.var(axes, dtype=np.float64)
    if value.ndim == 2:
        mean, variance = np.full_like(mean, value.mean()), np.full_like(mean, value.var())
    return mean.astype(np.float32), np.sqrt(np.maximum(variance, 1e-8)).astype(np.float32)


def _run(node: onnx.NodeProto, values: dict, weights: dict, opset: int) -> np.ndarray:
    """The first output of one node, by onnxruntime."""
    feeds = {name: values[name] if name in values else np.ascontiguousarray(weights[name]) for name in node.input if name}
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
