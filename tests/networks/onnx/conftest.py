"""What the tests of ONNX graphs share: an image, and the values of a graph by onnxruntime."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper


def run(graph, image):
    """Maps each output of a graph to its values for an image [1, 3, H, W]."""
    session = onnxruntime.InferenceSession(graph.proto(batch=1).SerializeToString(), providers=["CPUExecutionProvider"])
    return dict(zip(graph.outputs, session.run(list(graph.outputs), {graph.image: image}), strict=True))


@pytest.fixture
def image():
    return np.random.default_rng(1).standard_normal((1, 3, 16, 16)).astype(np.float32)


def save(path, nodes, initializers=(), opset=13):
    """Writes nodes that make "y" from the image "x", [1, 3, 16, 16], as a file."""
    inputs = [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 3, 16, 16])]
    output = onnx.ValueInfoProto(name="y")
    body = helper.make_graph(nodes, "g", inputs, [output], initializers)
    path.write_bytes(helper.make_model(body, opset_imports=[helper.make_opsetid("", opset)]).SerializeToString())
    return path


def external(location):
    """Returns the weight "k", [4, 3, 3, 3], that is kept in another file."""
    tensor = onnx.TensorProto(name="k", data_type=onnx.TensorProto.FLOAT, dims=[4, 3, 3, 3])
    tensor.data_location = onnx.TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", location
    return tensor
