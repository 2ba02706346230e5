"""What the tests of the builder share: small graphs, and how far their Keras layers are from onnxruntime."""

import numpy as np
import onnxruntime
from onnx import helper

from tfinvert.networks import keras_builder
from tfinvert.networks import onnx as graphs
from tfinvert.networks.preprocessing import PREPROCESSING

NONE = PREPROCESSING["none"]
SIZE = (8, 6)


def numbers(*shape, seed=0):
    """Random weights."""
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(np.float32)


def node(kind, inputs, output, **options):
    """A node from and to tensors named in a string."""
    return helper.make_node(kind, inputs.split(), output.split(), name=output.split()[0], **options)


def graph(*nodes, opset=17, size=SIZE, outputs=("y",), **weights):
    """A graph to y, from images x and from f, which is x after a convolution to 6 channels."""
    first = node("Conv", "x first", "f", kernel_shape=[3, 3], pads=[1] * 4)
    arrays = {name: np.asarray(value) for name, value in weights.items()}
    return graphs.Graph((first, *nodes), {"first": numbers(6, 3, 3, 3) / 3, **arrays}, "x", size, outputs, opset)


def settled(whole):
    """The graph as it is built, before it is folded."""
    return graphs.settle(graphs.cut(graphs.tidy(whole), whole.outputs))


def images(size=SIZE, count=2):
    return np.random.default_rng(1).standard_normal((count, *size, 3)).astype(np.float32)


def expected(whole, batch):
    """Output -> its values by onnxruntime, which sees one image after the other; channels last."""
    session = onnxruntime.InferenceSession(whole.proto(batch=1).SerializeToString(), providers=["CPUExecutionProvider"])
    values = [session.run(list(whole.outputs), {whole.image: image.transpose(2, 0, 1)[None]}) for image in batch]
    stacked = [np.concatenate(together) for together in zip(*values, strict=True)]
    last = [value.transpose(0, 2, 3, 1) if value.ndim == 4 else value for value in stacked]
    return dict(zip(whole.outputs, last, strict=True))


def build(whole, dtype="float32", fold=True):
    """The Keras model of a graph; its layers have the names of the tensors."""
    part = settled(whole)
    part = graphs.fold(part) if fold else part
    return keras_builder.build(part, NONE, {name: name for name in whole.outputs}, dtype=dtype)


def compare(whole):
    """Builds a graph and compares it with onnxruntime; returns the model."""
    model, batch = build(whole), images(whole.size)
    actual, wanted = model(batch), expected(whole, batch)
    for name, value in wanted.items():
        assert tuple(actual[name].shape) == value.shape
        np.testing.assert_allclose(np.asarray(actual[name]), value, rtol=1e-4, atol=1e-5 * max(1.0, np.abs(value).max()))
    return model
