"""Shapes of a graph's tensors, and the arithmetic that they take."""

from __future__ import annotations

import math
from collections.abc import Mapping

from onnx import shape_inference

from tfinvert.networks.onnx import checks
from tfinvert.networks.onnx.graph import Graph
from tfinvert.settings.fields import LARGEST_SIDE
from tfinvert.system.errors import InputError

SMALL = 8  # values of a weight that may be a scale for each axis
Shapes = Mapping[str, tuple[int, ...]]  # tensor name -> shape at batch 1


def shapes(graph: Graph) -> Shapes:
    """Maps tensor names to shapes at batch 1, by ONNX' shape inference on the graph without its weights.

    Raises:
      InputError: the network does not fit images of this size, or needs tensors beyond all measure.
    """
    pixels = f"{graph.size[0]}x{graph.size[1]} pixels"
    if max(graph.size) > LARGEST_SIDE:
        raise InputError(f"the network is for images of {pixels}; give a --size of {LARGEST_SIDE} at most")
    # Small weights are shapes, axes, paddings and scales, which the inference has to read.
    floats = frozenset(
        name for name, array in graph.weights.items() if array.dtype not in checks.SHAPE_DTYPES and array.size > SMALL
    )
    try:
        inferred = shape_inference.infer_shapes(graph.proto(batch=1, weightless=floats), strict_mode=True, data_prop=True)
    except (shape_inference.InferenceError, ValueError, RuntimeError) as error:
        raise InputError(
            f"the network does not fit images of {pixels} ({' '.join(str(error).split())[:300]}); "
            "try the --size it was made for"
        ) from None
    body = inferred.graph
    # A scalar has a shape too, one without sides; a tensor of unknown rank has none.
    known = [i for i in (*body.value_info, *body.output, *body.input) if i.type.tensor_type.HasField("shape")]
    result = {info.name: tuple(d.dim_value for d in info.type.tensor_type.shape.dim) for info in known}
    checks.check_shapes(graph, result)
    return result


def operations(graph: Graph) -> int:
    """Counts the floating-point operations of convolutions and matrices for one image, two for each multiply-add.

    The gradient with respect to the image takes as many again: it runs each of them once more, transposed.

    Raises:
      InputError: as `shapes` does.
    """
    sizes = shapes(graph)
    count = 0
    for node in graph.nodes:
        if node.op_type in ("Conv", "Gemm", "MatMul") and node.input[1] in graph.weights:
            places = math.prod(sizes[node.output[0]][2:]) if node.op_type == "Conv" else 1
            count += 2 * graph.weights[node.input[1]].size * places
    return count
