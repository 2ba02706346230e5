"""From an .onnx file to a `Graph`, and back. Whatever can be wrong with a file is in `checks`."""

import dataclasses
import functools
from pathlib import Path

import numpy as np
import onnx

from tfinvert.networks.onnx import checks, functions, inputs
from tfinvert.networks.onnx import weights as weights_of
from tfinvert.networks.onnx.graph import Graph, attributes
from tfinvert.networks.onnx.modules import modules_of
from tfinvert.system.errors import InputError

USUAL_SIDE = 224  # pixels of an image, where a file leaves its size open


def read(path: Path) -> Graph:
    """Reads an .onnx file, without changing it.

    Raises:
      InputError: the file is missing, is a Git LFS pointer, is truncated or no ONNX model, keeps weights outside its
        own folder, or is not a network from one image. What is wrong with a single operator or weight is found
        when `settle` needs it.
    """
    return from_proto(functions.inlined(checks.load(path), str(path)), str(path), path.parent)


def write(graph: Graph, path: Path) -> None:
    """Writes a graph as an .onnx file for one image, from which `read` makes the same graph."""
    path.write_bytes(graph.proto(batch=1).SerializeToString())


def from_proto(model: onnx.ModelProto, name: str, folder: Path | None = None) -> Graph:
    """Makes the graph of a model.

    Args:
      model: the model, whose nodes are changed: they lose empty inputs at their ends and the domain "ai.onnx".
      name: of the model, for the errors.
      folder: where external weights may lie; None for nowhere.

    Raises:
      InputError: as `read` does.
    """
    for node in model.graph.node:
        while node.input and not node.input[-1]:  # an optional input that is left out
            node.input.pop()
        if node.domain == "ai.onnx":
            node.domain = ""
    opset, image = checks.check_model(model, name)
    inputs.widen(model, image.name)
    sides = [d.dim_value for d in image.type.tensor_type.shape.dim]
    new_name, nodes, new_weights = inputs.preparing_nodes(image.name, sides)
    weights = weights_of.Weights()
    for tensor in model.graph.initializer:
        weights.add(tensor.name, functools.partial(weights_of.read_tensor, tensor, name, folder))
    for weight, array in new_weights.items():
        weights.add(weight, array)
    made = []
    for node in model.graph.node:
        output = node.output[0]
        if node.op_type == "Constant":
            weights.add(output, functools.partial(_constant, node, name, folder))
        elif node.op_type == "ConstantOfShape" and node.input[0] in weights:
            made.append(weights_of.make_constant(node, weights[node.input[0]], name, folder))
            weights.add(output, made[-1])
        elif node.op_type == "Identity" and node.input[0] in weights:  # a shared weight under a second name
            weights.add(output, functools.partial(weights.__getitem__, node.input[0]))
        else:
            if sides[0] > 1 and not weights.keys() >= set(node.input):
                read, constants = inputs.for_one_image(node, weights, sides[0])
                node.input[:] = read
                for weight, array in constants.items():
                    weights.add(weight, array)
            nodes.append(node)
    axis = inputs.channels_axis(sides)
    height, width = (side if side > 0 else USUAL_SIDE for side in (sides[1:3] if axis == 3 else sides[2:]))
    outputs = tuple(o.name for o in model.graph.output)
    modules = modules_of(model.graph.node)
    graph = Graph(tuple(nodes), weights, new_name, (height, width), outputs, opset, name=name, modules=modules)
    graph = dataclasses.replace(graph, takes_bytes=image.type.tensor_type.elem_type in inputs.WHOLE_NUMBERS)
    checks.check_graph(graph, made, name)
    return graph


def _constant(node: onnx.NodeProto, name: str, folder: Path | None) -> np.ndarray:
    """Returns the value of a Constant node."""
    types = {"value_float": np.float32, "value_floats": np.float32, "value_int": np.int64, "value_ints": np.int64}
    for key, value in attributes(node).items():
        if key == "value":
            return weights_of.read_tensor(value, name, folder)
        if key in types:
            return np.asarray(value, types[key])
    raise InputError(f"{checks.describe_node(node, name)} is a constant of no numbers")
