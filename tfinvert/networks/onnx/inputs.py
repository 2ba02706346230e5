"""The images that networks take, as the one kind that tfinvert makes: [N, 3, height, width], float32.

Networks for channels last, or for one channel, get nodes in front of them. Numbers of half and double precision become float32.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper

BRIGHTNESS = (0.299, 0.587, 0.114)  # of red, green and blue (ITU-R BT.601)
OTHER_FLOATS = (TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE)
WHOLE_NUMBERS = (TensorProto.UINT8, TensorProto.UINT16, TensorProto.INT16, TensorProto.INT32, TensorProto.INT64)
NO_FLOATS = frozenset(
    "Shape Size ArgMax ArgMin NonZero Equal Greater GreaterOrEqual Less LessOrEqual IsNaN IsInf Not And Or Xor".split()
)


def channels_axis(sides: Sequence[int]) -> int | None:
    """The axis of an image's channels, three or one; None for what is no image.

    Args:
      sides: of the input, 0 for those that are not fixed.
    """
    if len(sides) != 4:
        return None
    known = next((axis for axis in (1, 3) if sides[axis] in (1, 3)), None)
    return 1 if known is None and sides[1] == 0 else known


def preparing_nodes(name: str, sides: Sequence[int]) -> tuple[str, list[onnx.NodeProto], dict[str, np.ndarray]]:
    """What makes a network's own input from [N, 3, height, width].

    Args:
      name: of the network's input.
      sides: of it.

    Returns:
      The name of the new input, the nodes, and their weights.
    """
    axis = channels_axis(sides)
    assert axis is not None
    nodes: list[onnx.NodeProto] = []
    weights: dict[str, np.ndarray] = {}
    image = name
    if axis == 3:
        image = f"{image}/channels_first"
        nodes.append(helper.make_node("Transpose", [image], [name], name=name, perm=[0, 2, 3, 1]))
    if sides[axis] == 1:
        gray, image = image, f"{image}/color"
        weights[f"{image}/brightness"] = np.array(BRIGHTNESS, np.float32).reshape(1, 3, 1, 1)
        nodes.insert(0, helper.make_node("Conv", [image, f"{image}/brightness"], [gray], name=gray, kernel_shape=[1, 1]))
    return image, nodes, weights


def widen(model: onnx.ModelProto, image: str) -> None:
    """Changes the nodes of a model so that they compute with float32: a cast between kinds of floats becomes an Identity."""
    floats = {image}
    for node in model.graph.node:
        from_float = bool(node.input) and node.input[0] in floats
        if node.op_type == "Cast":
            for attribute in node.attribute:
                if attribute.name == "to" and attribute.i in OTHER_FLOATS:
                    attribute.i = TensorProto.FLOAT
            if not any(a.name == "to" and a.i == TensorProto.FLOAT for a in node.attribute):
                continue
            if from_float:
                node.op_type = "Identity"
                del node.attribute[:]
            floats.update(node.output if from_float else ())
        elif node.op_type not in NO_FLOATS and floats.intersection(node.input):
            floats.update(node.output)


def widened(array: np.ndarray) -> np.ndarray:
    """A weight of half or double precision as float32; others stay as they are."""
    return array.astype(np.float32) if array.dtype.name in ("float16", "bfloat16", "float64") else array


def for_one_image(
    node: onnx.NodeProto, weights: Mapping[str, np.ndarray], batch: int
) -> tuple[list[str], dict[str, np.ndarray]]:
    """The inputs of a node of a network that was exported for `batch` images, and their new constants, for one image."""
    inputs = list(node.input)
    changed: dict[str, np.ndarray] = {}
    is_shape = node.op_type in ("Reshape", "Expand")
    for place, name in enumerate(inputs):
        if name not in weights or (is_shape and place != 1) or not (is_shape or node.op_type == "Concat"):
            continue
        array = weights[name]
        new = f"{node.output[0]}/{place}/one"
        if is_shape:
            axis = next((a for a, side in enumerate(array.ravel().tolist()) if side > 0 and side % batch == 0), None)
            if axis is not None:
                value = array.copy()
                value[axis] //= batch
                changed[new], inputs[place] = value, new
        elif array.ndim > 2 and array.shape[0] == batch and (array == array[:1]).all():
            changed[new], inputs[place] = array[:1], new
    return inputs, changed
