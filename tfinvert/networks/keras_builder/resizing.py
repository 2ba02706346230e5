"""Resize and Upsample. Along one axis, every mode of interpolation is a matrix, which onnxruntime gives for unit vectors."""

from __future__ import annotations

import keras
import numpy as np
import onnx
from onnx import helper, numpy_helper

from tfinvert.networks.keras_builder.values import Building, Value, channels_last, option, refuse
from tfinvert.networks.onnx import attributes

LETTERS = "abcdefgh"


def resize(build: Building, node: onnx.NodeProto) -> Value:
    """Resize or Upsample, one axis after the other."""
    if option(node, "coordinate_transformation_mode") == "tf_crop_and_resize":
        raise refuse(node, "from a crop")
    value, output = build.value(node.input[0]), node.output[0]
    before, after = build.shapes[node.input[0]], build.shapes[output]
    scales = _scales(build, node, before, after)
    axes = [axis for axis in range(len(before)) if axis and (before[axis] != after[axis] or scales[axis] != 1)]
    matrices = {axis: _matrix(build, node, before[axis], after[axis], scales[axis]) for axis in axes}
    taken = {axis: _indices(matrix) for axis, matrix in matrices.items()}
    factors = [_factor(taken[axis], before[axis]) if axis in taken else 1 for axis in (2, 3)] if len(before) == 4 else [0]
    if all(factors) and set(axes) <= {2, 3} and axes:
        tensor = build.reordered(value, channels_last(4), node.input[0])
        return Value(build.layer(keras.layers.UpSampling2D, tensor, output, size=tuple(factors)), channels_last(4))
    tensor = value.tensor
    for axis in axes:
        place, indices = value.axis(axis), taken[axis]
        name = output if axis == axes[-1] else f"{output}_{axis}"
        if indices is not None:
            tensor = build.function("take", [tensor], name, indices=indices.tolist(), axis=place)
            continue
        letters = LETTERS[: len(before)]
        made = letters.replace(letters[place], "z")
        equation = f"z{letters[place]},{letters}->{made}"
        tensor = build.function("einsum", [equation, matrices[axis], tensor], name)
    return Value(tensor, value.order)


def _scales(build: Building, node: onnx.NodeProto, before: tuple[int, ...], after: tuple[int, ...]) -> list[float]:
    """The factor along each axis; the file's own, since rounded sides do not say it."""
    rank = len(before)
    if node.op_type == "Upsample" or len(node.input) == 2:
        given = option(node, "scales") or build.constant(node, 1)
    else:
        given = build.constant(node, 2)
    ratio = [after[axis] / before[axis] for axis in range(rank)]
    if given is None or not len(given):
        return ratio
    axes = option(node, "axes") or range(rank)
    for axis, scale in zip(axes, np.ravel(given), strict=True):
        ratio[axis % rank] = float(scale)
    return ratio


def _matrix(build: Building, node: onnx.NodeProto, before: int, after: int, scale: float) -> np.ndarray:
    """The matrix [after, before] of the node along one axis."""
    keep = {"mode", "coordinate_transformation_mode", "nearest_mode", "cubic_coeff_a", "exclude_outside", "antialias"}
    options = {name: given for name, given in attributes(node).items() if name in keep}
    opset = build.graph.opset
    unit = np.eye(before, dtype=np.float32)[:, None, None, :]  # each image has one value that is 1
    unit = np.repeat(unit, 2, axis=2) if options.get("mode") in (b"linear", b"cubic") else unit
    constants: dict[str, np.ndarray] = {}
    inputs = ["x"]
    given = node.op_type == "Upsample" or (build.constant(node, 2) is not None and len(build.constant(node, 2)))
    if opset < 9:
        options["scales"] = [1.0, 1.0, 1.0, scale]
    elif opset < 11 or given:
        constants["scales"] = np.array([1, 1, 1, scale], np.float32)
        inputs += ["scales"] if opset < 11 else ["", "scales"]
    else:
        constants["sizes"] = np.array([*unit.shape[:3], after], np.int64)
        inputs += ["", "", "sizes"]
    made = helper.make_node(node.op_type, inputs, ["y"], **options)
    body = helper.make_graph(
        [made],
        "axis",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, unit.shape)],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    import onnxruntime  # few networks need it for this

    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        return np.ascontiguousarray(session.run(None, {"x": unit})[0][:, 0, 0, :].T)
    except Exception as error:  # its exceptions share no base class
        raise refuse(node, f"({' '.join(str(error).split())[:200]})") from None


def _indices(matrix: np.ndarray) -> np.ndarray | None:
    """Which value each row of a matrix takes, or None for one that takes several."""
    indices = matrix.argmax(axis=1)
    return indices if np.array_equal(matrix, np.eye(matrix.shape[1], dtype=matrix.dtype)[indices]) else None


def _factor(indices: np.ndarray | None, before: int) -> int:
    """How often each value comes, one after the other; 0 where it is otherwise."""
    if indices is None or len(indices) % before:
        return 0
    factor = len(indices) // before
    return factor if np.array_equal(indices, np.repeat(np.arange(before), factor)) else 0


OPERATORS = {"Resize": resize, "Upsample": resize}
