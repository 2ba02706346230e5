"""All that a hostile or damaged .onnx file is refused for, and the limits of what is read.

A file from a stranger can say anything, and what it says is multiplied with: each limit lies far beyond every network
that is in use.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import checker

from tfinvert.networks.onnx.graph import Graph, attributes
from tfinvert.networks.onnx.inputs import channels_axis
from tfinvert.networks.onnx.operators import CONSTANTS, MEASURES, REMOVED, SUPPORTED
from tfinvert.system.errors import InputError
from tfinvert.system.files import regular

LFS_HEADER = b"version https://git-lfs.github.com/spec"
SHAPE_DTYPES = (np.dtype(np.int32), np.dtype(np.int64))  # of shapes, axes and paddings
LARGEST_FILE = 2**31 - 1  # bytes, protobuf's own limit
MOST_NODES = 10_000  # a Swin transformer by PyTorch's older exporter has 6300
LONGEST_NAME = 500
LARGEST_WINDOW = 2**12  # of kernels, strides, dilations, paddings
LARGEST_CONSTANT = 160_000_000  # values of all tensors that are made from a shape alone; VGG19 has 144 million
LARGEST_SHAPE = 2**16  # values of a tensor of integers
LARGEST_KERNEL = 2**26  # values
LARGEST_TENSOR = 2**29  # values that are computed for one image


class UnsupportedError(InputError):
    """A node that depends on the image has an operator that is not converted."""


def load(path: Path) -> onnx.ModelProto:
    """Reads the model in a file.

    Raises:
      InputError: the file is missing, is no regular file, is too large, is a Git LFS pointer, is truncated, or is no
        ONNX model.
    """
    try:
        if (size := regular(path).stat().st_size) > LARGEST_FILE:
            raise InputError(f"{path} has {size} bytes; an .onnx file has at most {LARGEST_FILE}")
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read the network {path}: {error.strerror or error}") from None
    if data.startswith(LFS_HEADER):
        raise InputError(
            f"{path} is a Git LFS pointer of {len(data)} bytes, not the network itself; "
            "fetch the real file with 'git lfs pull', or give the name of a network with --model, whose file is downloaded"
        )
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except (DecodeError, RuntimeError):
        raise InputError(
            f"{path} ({len(data)} bytes) is not a whole ONNX file: truncated, or something else; fetch it again"
        ) from None
    return model


def check_model(model: onnx.ModelProto, name: str) -> tuple[int, onnx.ValueInfoProto]:
    """Checks everything but the values of the weights: names, operators, the order of the nodes, the one input.

    Args:
      model: without empty inputs at the end of its nodes.
      name: of the file, for the errors.

    Returns:
      The version of the default operator set, and the input that is the image.

    Raises:
      InputError: the model is no valid network from one image.
    """
    body = model.graph
    if not body.node:
        raise InputError(f"{name} holds no network: its graph has no nodes; is it an ONNX file?")
    if len(body.node) > MOST_NODES:
        raise InputError(f"{name} has {len(body.node)} nodes; expected at most {MOST_NODES}")
    _check_names(body, name)
    opset = max((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), default=1)
    if not 1 <= opset <= onnx.defs.onnx_opset_version():
        raise InputError(f"{name} is of the operator set {opset}; expected 1 to {onnx.defs.onnx_opset_version()}")
    constants = {tensor.name for tensor in body.initializer}
    inputs = [i for i in body.input if i.name not in constants]
    if len(inputs) != 1:
        names = ", ".join(i.name for i in inputs[:5]) or "none"
        raise InputError(f"{name} has {len(inputs)} inputs ({names}); expected exactly one image")
    sides = [d.dim_value for d in inputs[0].type.tensor_type.shape.dim]
    if channels_axis(sides) is None:
        raise InputError(
            f"{name}: the input {inputs[0].name!r} has shape {sides[:8]}; expected [batch, 3, height, width] or "
            "[batch, height, width, 3], with three channels or one"
        )
    _check_nodes(body.node, {inputs[0].name, *constants}, name)
    return opset, inputs[0]


def _check_names(body: onnx.GraphProto, name: str) -> None:
    """Refuses names that are no text, or very long: they are looked up, shown and written into files."""
    for kind, text in (
        *(("node", n) for node in body.node for n in (node.name, node.op_type, node.domain)),
        *(("tensor", n) for node in body.node for n in (*node.input, *node.output)),
        *(("attribute", a.name) for node in body.node for a in node.attribute),
        *(("tensor", tensor.name) for tensor in (*body.initializer, *body.input, *body.output)),
    ):
        if not isinstance(text, str) or len(text) > LONGEST_NAME or not text.isprintable():
            expected = f"expected text of at most {LONGEST_NAME} characters"
            raise InputError(f"{name} has a {kind} whose name is {str(text)[:60]!r}; {expected}")


def _check_nodes(nodes: Iterable[onnx.NodeProto], defined: set[str], name: str) -> None:
    """Checks that each node reads only tensors that are defined or made before it."""
    for node in nodes:
        label = describe_node(node, name)
        outputs = [o for o in node.output if o]
        twice = [o for o in outputs if o in defined]
        if twice or len(set(outputs)) < len(outputs):
            raise InputError(f"{name} is not a valid network: {(twice or outputs)[0]!r} is made twice")
        missing = [i for i in node.input if i and i not in defined]
        if missing:
            raise InputError(f"{name} is not a valid network: node {node.name!r} reads {missing[0]!r} before it is made")
        if not outputs or not node.output[0] or (node.op_type != "Constant" and not (node.input and node.input[0])):
            raise InputError(f"{label} ({node.op_type}) has no input or no output")
        defined.update(outputs)


def describe_node(node: onnx.NodeProto, name: str) -> str:
    """Names a node of a file in an error."""
    return f"{name}: node {node.name or (node.output[0] if node.output else '?')!r}"


def is_supported(node: onnx.NodeProto) -> bool:
    """Whether tfinvert converts a node that depends on the image."""
    return node.domain == "" and node.op_type in SUPPORTED | REMOVED | MEASURES


def check_node(node: onnx.NodeProto, opset: int, name: str) -> None:
    """Raises InputError for a node that is not what its operator set says."""
    if node.op_type in REMOVED | CONSTANTS:  # exporters write these before the operator set that has them
        return
    context = checker.C.CheckerContext()
    context.ir_version, context.opset_imports = 8, {"": opset}
    try:
        checker.check_node(node, context)
    except checker.ValidationError as error:
        raise InputError(f"{describe_node(node, name)} is not valid: {' '.join(str(error).split())[:200]}") from None


def check_operator(node: onnx.NodeProto, weights: Mapping[str, np.ndarray], opset: int, name: str) -> None:
    """Raises InputError for a node that depends on the image and cannot be converted, or computes nothing."""
    if not is_supported(node):
        operator = f"{node.domain}.{node.op_type}" if node.domain else node.op_type
        raise UnsupportedError(f"{describe_node(node, name)} uses the operator {operator}, which tfinvert does not convert")
    check_node(node, opset, name)
    for reason in _faults(node, weights):
        raise InputError(f"{describe_node(node, name)} ({node.op_type}) {reason}")


def _faults(node: onnx.NodeProto, weights: Mapping[str, np.ndarray]) -> Iterator[str]:
    """What is wrong with a node's weights, windows and counts. Each fault assumes that there is none before it."""
    if node.op_type in REMOVED:
        return
    for name in node.input:
        if name in weights and weights[name].dtype not in (*SHAPE_DTYPES, np.float32, np.bool_):
            yield f"reads {name!r} of type {weights[name].dtype}; expected float32"
        if name in weights and weights[name].dtype == np.float32 and not weights[name].size and node.op_type != "Resize":
            yield f"reads {name!r}, which is empty"
    constants = [weights.get(name) for name in node.input]
    options = attributes(node)
    if node.op_type == "Conv":
        yield from _convolution_faults(options, constants)
        yield from _window_faults({"kernel_shape": constants[1].shape[2:], **options})  # type: ignore[union-attr]
    elif node.op_type in ("MaxPool", "AveragePool"):
        yield from _window_faults(options)
        dilations = options.get("dilations", [1, 1])
        reach = [(k - 1) * d + 1 for k, d in zip(options["kernel_shape"], dilations, strict=True)]
        if any(pad >= r for pad, r in zip(options.get("pads", [0] * 4), reach * 2, strict=True)):
            yield f"has windows of {reach} that see padding alone"
    elif node.op_type == "BatchNormalization":
        vectors = [array for array in constants[1:5] if array is not None and array.dtype == np.float32]
        if len(vectors) < 4 or len({array.shape for array in vectors}) > 1 or vectors[0].ndim != 1:
            yield "expects four constant vectors of one length"
    elif node.op_type == "Gemm" and len(constants) > 1 and constants[1] is not None and constants[1].ndim != 2:
        yield f"has a matrix of shape {list(constants[1].shape)}"
    elif node.op_type == "ConvTranspose":
        yield from _window_faults(options)
    elif node.op_type in ("SpaceToDepth", "DepthToSpace") and not 1 <= options["blocksize"] <= LARGEST_WINDOW:
        yield f"has the blocksize {options['blocksize']}"
    elif node.op_type == "LRN" and not 1 <= options["size"] <= LARGEST_WINDOW:
        yield f"has the size {options['size']}"


def _convolution_faults(options: dict, constants: list[np.ndarray | None]) -> Iterator[str]:
    """What is wrong with a convolution's kernel, bias and groups."""
    kernel, bias = constants[1], constants[2] if len(constants) > 2 else None
    if kernel is None or kernel.ndim != 4 or kernel.dtype != np.float32 or kernel.size > LARGEST_KERNEL:
        yield "has no constant kernel [out, in, height, width] of float32"
        return
    if len(constants) > 2 and (bias is None or bias.shape != kernel.shape[:1]):
        yield f"has a bias that is not one of {kernel.shape[0]} constants"
    if list(options.get("kernel_shape", kernel.shape[2:])) != list(kernel.shape[2:]):
        yield f"has the kernel_shape {options['kernel_shape'][:8]}; its kernel is {list(kernel.shape)}"
    if options.get("group", 1) < 1 or kernel.shape[0] % options.get("group", 1):
        yield f"has {options['group']} groups for {kernel.shape[0]} channels"


def _window_faults(options: dict) -> Iterator[str]:
    """What is wrong with the windows of a convolution or pool."""
    for name, length, least in (("kernel_shape", 2, 1), ("strides", 2, 1), ("dilations", 2, 1), ("pads", 4, 0)):
        values = options.get(name, [1] * length)
        if len(values) != length or not all(least <= value <= LARGEST_WINDOW for value in values):
            yield f"has the {name} {list(values[:8])}; expected {length} numbers of {least} to {LARGEST_WINDOW}"
    if options.get("auto_pad", b"NOTSET") not in (b"", b"NOTSET", b"VALID", b"SAME_UPPER", b"SAME_LOWER"):
        yield f"has the auto_pad {options['auto_pad'][:20]!r}"


def check_graph(graph: Graph, made: Iterable[np.ndarray], name: str) -> None:
    """Raises InputError where no node computes an output, or the constants `made` of shapes are too large together."""
    computed = graph.tensors()
    if not graph.outputs or not set(graph.outputs).issubset(computed):
        wrong = next((o for o in graph.outputs if o not in computed), "none")
        raise InputError(f"{name} is not a valid network: its output is {wrong!r}, which no node computes")
    if sum(array.size for array in made) > LARGEST_CONSTANT:
        raise InputError(f"{name} makes constants of more than {LARGEST_CONSTANT} values")


def check_shapes(graph: Graph, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Checks what ONNX' shape inference lets pass: windows beyond the image, weights of another length.

    Raises:
      InputError: a computed tensor has no known shape, is empty or too large, or does not fit the weights it meets.
    """
    images = f"images of {graph.size[0]}x{graph.size[1]} pixels"
    for node in graph.nodes:
        name = node.output[0]
        if name not in shapes:
            raise InputError(f"the network does not say what shape {name!r} has ({node.op_type})")
        if min(shapes[name], default=1) < 1:
            raise InputError(
                f"{images} are too small for this network: nothing is left of them at {name!r}; try a larger --size"
            )
        if math.prod(shapes[name]) > LARGEST_TENSOR:
            sides = "x".join(map(str, shapes[name]))
            raise InputError(f"{name!r} has {sides} values for {images}; expected at most {LARGEST_TENSOR}")
        shape = shapes.get(node.input[0], ()) if node.input else ()
        if node.op_type in ("Conv", "BatchNormalization") and len(shape) > 1:
            weight = graph.weights[node.input[1]].shape
            channels = weight[1] * attributes(node).get("group", 1) if node.op_type == "Conv" else weight[0]
            if node.op_type == "Conv" and not _fits(node, weight[2:], shape[2:]):
                raise InputError(f"{images} are too small for the windows of {name!r}; try a larger --size")
            if channels != shape[1]:
                raise InputError(f"{name!r} ({node.op_type}) takes {channels} channels, and {node.input[0]!r} has {shape[1]}")
        if node.op_type in ("Gemm", "MatMul") and node.input[1] in graph.weights and graph.weights[node.input[1]].ndim == 2:
            matrix = graph.weights[node.input[1]].shape
            length = matrix[1] if node.op_type == "Gemm" and attributes(node).get("transB", 0) else matrix[0]
            if shape and shape[-1] != length:
                raise InputError(
                    f"the dense layer {name!r} takes {length} values, and {images} give {shape[-1]}: leave out --size, "
                    "or ask for layers before the first dense one"
                )


def _fits(node: onnx.NodeProto, kernel: tuple[int, ...], sides: tuple[int, ...]) -> bool:
    """Whether the windows of a convolution are no larger than what they read, padding included."""
    options = attributes(node)
    if options.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID", b"") or len(sides) != 2:
        return True
    pads, dilations = options.get("pads", [0] * 4), options.get("dilations", [1, 1])
    return all(
        (k - 1) * d + 1 <= side + pads[axis] + pads[axis + 2]
        for axis, (k, d, side) in enumerate(zip(kernel, dilations, sides, strict=True))
    )
