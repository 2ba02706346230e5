"""The values of single nodes whose inputs are known, and nodes in the place of others."""

from __future__ import annotations

import math

import numpy as np
import onnx
from onnx import helper

from tfinvert.networks.onnx.graph import Rewritten, attributes
from tfinvert.system.errors import InputError


def measure(node: onnx.NodeProto, sides: tuple[int, ...]) -> np.ndarray:
    """The value of a Shape or Size."""
    if node.op_type == "Size":
        return np.array(math.prod(sides), np.int64)
    options = attributes(node)
    return np.array(sides[options.get("start", 0) : options.get("end", len(sides))], np.int64)


def repeats(one: np.ndarray, two: np.ndarray) -> bool:
    """Whether a constant for two images is that for one image, once for each."""
    try:
        return one.ndim == two.ndim and bool((np.broadcast_to(one, two.shape) == two).all())
    except ValueError:
        return False


def evaluate(node: onnx.NodeProto, inputs: dict[str, np.ndarray], opset: int, label: str) -> list[np.ndarray]:
    """The outputs of a node, by ONNX' reference implementation."""
    from onnx.reference import ReferenceEvaluator

    def declared(name: str) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(inputs[name].dtype), inputs[name].shape)

    outputs = [onnx.ValueInfoProto(name=name) for name in node.output if name]
    body = helper.make_graph([node], "node", [declared(name) for name in inputs], outputs)
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    try:
        return list(ReferenceEvaluator(model).run(None, inputs))
    except Exception as error:  # of NumPy, or of its own
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{label} ({node.op_type}) cannot be computed: {reason}") from None


def group_normalization(
    node: onnx.NodeProto, sides: tuple[int, ...], scale: np.ndarray | None, bias: np.ndarray | None, label: str
) -> Rewritten:
    """A GroupNormalization, whose shape ONNX does not infer, as the normalization of each group by itself.

    Args:
      node: the node.
      sides: the shape of what it reads.
      scale, bias: its constants.
      label: of the node, for the error.

    Raises:
      InputError: the groups or the constants do not fit.
    """
    source, output = node.input[0], node.output[0]
    groups, epsilon = attributes(node)["num_groups"], attributes(node).get("epsilon", 1e-5)
    if scale is None or bias is None or groups < 1 or sides[1] % groups or {scale.size, bias.size} - {groups, sides[1]}:
        raise InputError(f"{label} has no constant scale and offset for {groups} groups of {sides[1]} channels")
    per_channel: dict[str, np.ndarray] = {  # before operator set 21, one for each group
        name: np.repeat(array, sides[1] // array.size).reshape(-1, *[1] * (len(sides) - 2))
        for name, array in (("scale", scale), ("offset", bias))
    }
    constants: dict[str, np.ndarray] = {
        "groups": np.array([0, groups, -1], np.int64),
        "sides": np.array([0, *sides[1:]], np.int64),
        "one": np.ones(groups, np.float32),
        "zero": np.zeros(groups, np.float32),
        **per_channel,
    }
    grouped, even, whole, scaled = (f"{output}/{name}" for name in ("grouped", "even", "whole", "scaled"))
    nodes = [
        helper.make_node("Reshape", [source, f"{output}/groups"], [grouped]),
        helper.make_node("InstanceNormalization", [grouped, f"{output}/one", f"{output}/zero"], [even], epsilon=epsilon),
        helper.make_node("Reshape", [even, f"{output}/sides"], [whole]),
        helper.make_node("Mul", [whole, f"{output}/scale"], [scaled]),
        helper.make_node("Add", [scaled, f"{output}/offset"], [output], name=node.name),
    ]
    return nodes, {f"{output}/{name}": array for name, array in constants.items()}
