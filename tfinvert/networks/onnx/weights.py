"""The values of a model's constant tensors: in the model, in files beside it, or made from a shape alone."""

import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from tfinvert.networks.onnx import checks
from tfinvert.networks.onnx.inputs import widened
from tfinvert.system.errors import InputError


class Weights(Mapping[str, np.ndarray]):
    """Tensor name -> array, each read when it is asked for, so that a layer needs no weight of the layers above it."""

    def __init__(self) -> None:
        self._values: dict[str, np.ndarray | Callable[[], np.ndarray]] = {}

    def add(self, name: str, value: np.ndarray | Callable[[], np.ndarray]) -> None:
        """Adds an array, or a function that reads it."""
        self._values[name] = value

    def __getitem__(self, name: str) -> np.ndarray:
        value = self._values[name]
        if not isinstance(value, np.ndarray):
            self._values[name] = value = value()
        return value

    def __contains__(self, name: object) -> bool:
        return name in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


def read_tensor(tensor: onnx.TensorProto, name: str, folder: Path | None) -> np.ndarray:
    """Reads a weight, from the model or from a file in `folder`, which is None where there may be none.

    Raises:
      InputError: the weight is damaged, or lies outside the folder.
    """
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        external_file(tensor, name, folder)
    try:
        return widened(numpy_helper.to_array(tensor, base_dir=str(folder or "")))
    except Exception as error:  # onnx raises anything from ValueError to OSError on inconsistent tensors
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{name}: the weight {tensor.name!r} is damaged ({reason}); fetch the file again") from None


def external_file(tensor: onnx.TensorProto, name: str, folder: Path | None) -> Path:
    """Finds the file that holds a weight which the model does not hold itself.

    Raises:
      InputError: the file lies outside `folder`, which is None where there may be none, or is not there.
    """
    location = next((e.value for e in tensor.external_data if e.key == "location"), "")
    base = (folder or Path()).resolve()
    file = base
    try:
        file = (base / location).resolve()
        inside = file.is_relative_to(base) and len(location) <= checks.LONGEST_NAME
        there = inside and file.is_file()
    except (TypeError, ValueError, OSError, RuntimeError):  # no text, a null byte, a loop of links
        inside = there = False
    if folder is None or not location or not inside:
        raise InputError(
            f"{name}: the weight {tensor.name!r} is kept in {str(location)[:100]!r}, outside the model's folder; "
            "move it beside the .onnx file, or save the model as a single file"
        )
    if not there:
        raise InputError(
            f"{name}: the weight {tensor.name!r} is kept in {location!r}, which is not there; "
            "put that file beside the .onnx file again, or export the network anew"
        )
    return file


def external_files(path: Path) -> list[Path]:
    """Lists the files that hold weights of the model in a file, in the order of their names.

    Raises:
      InputError: as `checks.load` and `external_file` do.
    """
    body = checks.load(path).graph
    inside_nodes = (a.t for node in body.node for a in node.attribute if a.type == onnx.AttributeProto.TENSOR)
    kept = [t for t in (*body.initializer, *inside_nodes) if t.data_location == onnx.TensorProto.EXTERNAL]
    return sorted({external_file(tensor, str(path), path.parent) for tensor in kept})


def make_constant(node: onnx.NodeProto, shape: np.ndarray, name: str, folder: Path | None) -> np.ndarray:
    """Makes the value of a ConstantOfShape, as an array that takes no memory.

    Raises:
      InputError: the shape is none, or is too large.
    """
    value = read_tensor(node.attribute[0].t, name, folder) if node.attribute else np.zeros(1, np.float32)
    sides = shape.ravel().tolist() if shape.dtype in checks.SHAPE_DTYPES and shape.size <= 8 else [-1]
    largest = checks.LARGEST_CONSTANT if value.dtype == np.float32 else checks.LARGEST_SHAPE
    count = math.prod(max(side, 1) for side in sides)  # NumPy refuses a large side beside an empty one, too
    if min(sides, default=1) < 0 or count > largest or value.size != 1:
        raise InputError(f"{checks.describe_node(node, name)} makes a constant of shape {sides[:8]}")
    return np.broadcast_to(value.reshape(-1)[0], sides)
