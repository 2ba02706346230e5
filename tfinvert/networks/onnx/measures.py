"""Shapes of a graph's tensors, how they lie on the image, and the arithmetic that they take."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

import onnx
from onnx import shape_inference

from tfinvert.errors import InputError
from tfinvert.networks.onnx import checks
from tfinvert.networks.onnx.graph import Graph, attributes
from tfinvert.networks.onnx.operators import GLOBAL, WINDOWED
from tfinvert.settings.fields import LARGEST_SIDE

SMALL = 8  # values of a weight that may be a scale for each axis
Shapes = Mapping[str, tuple[int, ...]]  # tensor name -> shape at batch 1


@dataclasses.dataclass(frozen=True)
class Geometry:
    """How a tensor lies on the image.

    Attributes:
      shape: at batch 1, [1, C, H, W] or [1, C].
      stride: pixels between neighboring values, (height, width), or None where each value sees the whole image.
      receptive_field: pixels that a value depends on, (height, width), or None where it sees the whole image.
    """

    shape: tuple[int, ...]
    stride: tuple[int, int] | None
    receptive_field: tuple[int, int] | None


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


def geometry(graph: Graph) -> dict[str, Geometry]:
    """Maps the image and every computed tensor of a tidied graph to its `Geometry`.

    A window of k values with dilation d over values of stride s and receptive field r sees r + (k - 1) d s pixels, and
    a step of t values makes the stride s t (Araujo, Norris & Sim 2019, "Computing Receptive Fields of Convolutional
    Neural Networks", doi 10.23915/distill.00021). Where branches meet, the largest receptive field counts.

    Raises:
      InputError: as `shapes` does.
    """
    sizes = shapes(graph)
    places = {graph.image: Geometry(sizes[graph.image], (1, 1), (1, 1))}
    for node in graph.nodes:
        sources = [places[name] for name in node.input if name in places]
        stride = next((source.stride for source in sources), None)
        fields = [source.receptive_field for source in sources]
        whole = None in fields or not fields
        field = None if whole else tuple(max(sides) for sides in zip(*fields, strict=True))
        if node.op_type in GLOBAL:
            stride = field = None
        elif node.op_type in WINDOWED and field is not None and stride is not None:
            kernel, steps, dilations = _window(node, sizes)
            field = tuple(f + (k - 1) * d * s for f, k, d, s in zip(field, kernel, dilations, stride, strict=True))
            stride = tuple(s * t for s, t in zip(stride, steps, strict=True))  # type: ignore[assignment]
        for output in node.output:
            if output in sizes:
                places[output] = Geometry(sizes[output], stride, field)
    return places


def _window(node: onnx.NodeProto, sizes: Shapes) -> tuple[list[int], list[int], list[int]]:
    """The kernel, strides and dilations of a node with windows, each (height, width)."""
    options = attributes(node)
    if node.op_type == "SpaceToDepth":
        return [options["blocksize"]] * 2, [options["blocksize"]] * 2, [1, 1]
    kernel = options.get("kernel_shape") or list(sizes[node.input[1]][2:])
    return kernel, options.get("strides", [1, 1]), options.get("dilations", [1, 1])


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
