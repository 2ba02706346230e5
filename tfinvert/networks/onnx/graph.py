"""ONNX graphs as values: read, tidied, cut, folded. Nothing here knows of TensorFlow.

A `Graph` is the node list of one image network with its weights beside it as NumPy arrays, so that cutting and
folding cost no copies of hundreds of megabytes. `read` gives the graph as the file has it; `tidy` removes what only
the exporters care about and changes no value; `cut`, `with_pooling` and `fold` make the graph that is converted.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import checker, helper, numpy_helper, shape_inference

from tfinvert.errors import InputError, choice_error
from tfinvert.settings.config import LARGEST_SIDE
from tfinvert.system.files import regular

LFS_HEADER = b"version https://git-lfs.github.com/spec"
# Integer initializers are shapes, axes and pads: they stay in the graph, where shape inference can read them.
SHAPE_DTYPES = (np.dtype(np.int32), np.dtype(np.int64))
# Far beyond every network that is in use. A file from a stranger can say anything; what it says is multiplied with.
LARGEST_FILE = 2**31 - 1  # bytes, protobuf's own limit
MOST_NODES = 5000
LONGEST_NAME = 500
LARGEST_WINDOW = 2**12  # of kernels, strides, dilations, paddings
LARGEST_CONSTANT = 160_000_000  # values of all tensors that are made from a shape alone; VGG19 has 144 million
LARGEST_SHAPE = 2**16  # values of a tensor of integers
LARGEST_KERNEL = 2**26  # values
LARGEST_TENSOR = 2**29  # values that are computed for one picture
SUPPORTED_OPERATORS = frozenset(
    "Add AveragePool BatchNormalization Clip Concat Conv Elu Flatten Gemm GlobalAveragePool GlobalMaxPool HardSigmoid"
    " HardSwish LRN LeakyRelu MatMul MaxPool Mul Pad ReduceMean Relu Reshape Sigmoid Softmax Squeeze Sub Sum Tanh"
    " SpaceToDepth Transpose Unsqueeze Div Selu Softplus".split()
)
WINDOWED = frozenset(("Conv", "MaxPool", "AveragePool", "SpaceToDepth"))
REMOVED = frozenset(("Identity", "Dropout"))


@dataclasses.dataclass(frozen=True)
class Graph:
    """An image network.

    Attributes:
      nodes: in topological order.
      weights: tensor name -> array, for every constant tensor.
      image: name of the input, [N, 3, H, W].
      size: (H, W) that the graph is for.
      outputs: names of the output tensors.
      opset: version of the default operator set.
      aliases: names that `tidy` removed (outputs of Dropout, Identity) -> the tensor that holds the same value.
    """

    nodes: tuple[onnx.NodeProto, ...]
    weights: Mapping[str, np.ndarray]
    image: str
    size: tuple[int, int]
    outputs: tuple[str, ...]
    opset: int
    aliases: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def producers(self) -> dict[str, onnx.NodeProto]:
        """Tensor name -> the node that makes it."""
        return {name: node for node in self.nodes for name in node.output if name}

    def consumers(self) -> dict[str, list[onnx.NodeProto]]:
        """Tensor name -> the nodes that read it, in order."""
        readers: dict[str, list[onnx.NodeProto]] = {}
        for node in self.nodes:
            for name in node.input:
                if name:
                    readers.setdefault(name, []).append(node)
        return readers

    def tensors(self) -> list[str]:
        """Names of all computed tensors, in order."""
        return [name for node in self.nodes for name in node.output if name]

    def resolve(self, tensor: str) -> str:
        """The tensor that holds the value called `tensor` in the file."""
        return self.aliases.get(tensor, tensor)

    def proto(
        self,
        *,
        batch: int | str = "N",
        weightless: frozenset[str] = frozenset(),
        shapes: Mapping[str, tuple[int, ...]] | None = None,
    ) -> onnx.ModelProto:
        """The graph as a model.

        Args:
          batch: the batch dimension, a number or a symbol.
          weightless: float weights that become inputs of the model instead of constants.
          shapes: of computed tensors, at batch 1, to be declared; no other tensor has one, the outputs neither.
        """
        used = {name for node in self.nodes for name in node.input}
        inputs = [helper.make_tensor_value_info(self.image, onnx.TensorProto.FLOAT, [batch, 3, *self.size])]
        initializers = []
        for name, array in self.weights.items():
            if name not in used:
                continue
            if name in weightless:
                inputs.append(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, list(array.shape)))
            else:
                initializers.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        declared = {
            name: helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [batch, *shape[1:]])
            for name, shape in (shapes or {}).items()
        }
        outputs = [declared.pop(name) if name in declared else _untold(name) for name in self.outputs]
        body = helper.make_graph(
            list(self.nodes), "tfinvert", inputs, outputs, initializers, value_info=list(declared.values())
        )
        # IR version 4 is the first in which an initializer need not be listed among the inputs as well.
        return helper.make_model(body, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=8)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Tensor name -> shape at batch 1, by ONNX shape inference on the graph without its weights.

        Raises:
          InputError: the network does not fit pictures of this size, or needs tensors beyond all measure.
        """
        if max(self.size) > LARGEST_SIDE:
            raise InputError(
                f"the network is for pictures of {self.size[0]}x{self.size[1]} pixels; give a --size of {LARGEST_SIDE} at most"
            )
        floats = frozenset(name for name, array in self.weights.items() if array.dtype not in SHAPE_DTYPES)
        try:
            inferred = shape_inference.infer_shapes(self.proto(batch=1, weightless=floats), strict_mode=True, data_prop=True)
        except (shape_inference.InferenceError, ValueError, RuntimeError) as error:
            raise InputError(
                f"the network does not fit pictures of {self.size[0]}x{self.size[1]} pixels "
                f"({' '.join(str(error).split())[:300]}); try the --size it was made for"
            ) from None
        found = [*inferred.graph.value_info, *inferred.graph.output, *inferred.graph.input]
        known = [info for info in found if info.type.tensor_type.HasField("shape")]  # a number has a shape too, without sides
        shapes = {info.name: tuple(d.dim_value for d in info.type.tensor_type.shape.dim) for info in known}
        for node in self.nodes:
            self._check_node(node, shapes)
        return shapes

    def _check_node(self, node: onnx.NodeProto, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """What shape inference lets pass: windows beyond the picture, matrices of another length."""
        pictures = f"pictures of {self.size[0]}x{self.size[1]} pixels"
        name = node.output[0]
        if name not in shapes:
            raise InputError(f"the network does not say what shape {name!r} has ({node.op_type})")
        if min(shapes[name], default=1) < 1:
            raise InputError(
                f"{pictures} are too small for this network: nothing is left of them at {name!r}; try a larger --size"
            )
        if math.prod(shapes[name]) > LARGEST_TENSOR:
            size = "x".join(map(str, shapes[name]))
            raise InputError(f"{name!r} has {size} values for {pictures}; expected at most {LARGEST_TENSOR}")
        given = shapes.get(node.input[0], ()) if node.input else ()
        if node.op_type in ("Conv", "BatchNormalization") and len(given) > 1:
            weight = self.weights[node.input[1]].shape
            channels = weight[1] * attributes(node).get("group", 1) if node.op_type == "Conv" else weight[0]
            if channels != given[1]:
                raise InputError(f"{name!r} ({node.op_type}) takes {channels} channels, and {node.input[0]!r} has {given[1]}")
        if node.op_type in ("Gemm", "MatMul") and node.input[1] in self.weights:
            matrix = self.weights[node.input[1]].shape
            length = matrix[1] if node.op_type == "Gemm" and attributes(node).get("transB", 0) else matrix[0]
            if given and given[-1] != length:
                raise InputError(
                    f"the dense layer {name!r} takes {length} values, and {pictures} give {given[-1]}: leave out --size, "
                    "or ask for layers before the first dense one"
                )


def _untold(name: str) -> onnx.ValueInfoProto:
    """A tensor of floats of no declared shape, not even a rank."""
    info = onnx.ValueInfoProto(name=name)
    info.type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    return info


def attributes(node: onnx.NodeProto) -> dict:
    """The node's attributes as Python values."""
    return {a.name: helper.get_attribute_value(a) for a in node.attribute}


def remake(node: onnx.NodeProto, *, inputs: Iterable[str] | None = None, **changes) -> onnx.NodeProto:
    """A copy of the node with other inputs or attributes; an attribute set to None is dropped."""
    kept = {k: v for k, v in attributes(node).items() if k not in changes}
    kept.update({k: v for k, v in changes.items() if v is not None})
    return helper.make_node(
        node.op_type, list(node.input if inputs is None else inputs), list(node.output), name=node.name, **kept
    )


# ---------------------------------------------------------------------------------------------------------- reading


def read(path: Path) -> Graph:
    """Reads an .onnx file, without changing it.

    Raises:
      InputError: the file is missing, is a Git LFS pointer, is truncated or no ONNX model, keeps weights outside its
        own folder, has an operator that cannot be converted, or is not a network from one [N, 3, H, W] picture.
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
            "fetch the real file with 'git lfs pull', or delete it and let --weights=pretrained download it"
        )
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except (DecodeError, RuntimeError):
        raise InputError(
            f"{path} ({len(data)} bytes) is not a whole ONNX file: truncated, or something else; fetch it again"
        ) from None
    del data
    return from_proto(model, str(path), path.parent)


def write(graph: Graph, path: Path) -> None:
    """Writes a graph as an .onnx file for one picture, which `read` gives back."""
    path.write_bytes(graph.proto(batch=1).SerializeToString())


def from_proto(model: onnx.ModelProto, name: str, folder: Path | None = None) -> Graph:
    """The graph of a model; `folder` is where external weights may lie. Raises InputError as `read` does."""
    body = model.graph
    if not body.node:
        raise InputError(f"{name} holds no network: its graph has no nodes; is it an ONNX file?")
    if len(body.node) > MOST_NODES:
        raise InputError(f"{name} has {len(body.node)} nodes; expected at most {MOST_NODES}")
    _check_names(body, name)
    versions = [o.version for o in model.opset_import if o.domain in ("", "ai.onnx")]
    opset = max(versions, default=1)
    if not 1 <= opset <= onnx.defs.onnx_opset_version():
        raise InputError(f"{name} is of the operator set {opset}; expected 1 to {onnx.defs.onnx_opset_version()}")
    weights = {t.name: _array(t, name, folder) for t in body.initializer}
    inputs = [i for i in body.input if i.name not in weights]
    if len(inputs) != 1:
        found = ", ".join(i.name for i in inputs[:5]) or "none"
        raise InputError(f"{name} has {len(inputs)} inputs ({found}); expected exactly one picture")
    image = inputs[0].name
    dims = [d.dim_value for d in inputs[0].type.tensor_type.shape.dim]
    if len(dims) != 4 or dims[1] not in (0, 3):
        raise InputError(f"{name}: the input {image!r} has shape {dims[:8]}; expected [batch, 3, height, width]")
    context = checker.C.CheckerContext()
    context.ir_version, context.opset_imports = 8, {"": opset}
    nodes, defined, made = [], {image, *weights}, 0
    for node in body.node:
        while node.input and not node.input[-1]:  # optional and not given
            node.input.pop()
        label = f"{name}: node {node.name or (node.output[0] if node.output else '?')!r}"
        constant = node.op_type in ("Constant", "ConstantOfShape")
        if node.domain not in ("", "ai.onnx") or not (constant or node.op_type in SUPPORTED_OPERATORS | REMOVED):
            operator = f"{node.domain}.{node.op_type}" if node.domain else node.op_type
            raise InputError(
                f"{label} uses the operator {operator}, which tfinvert does not convert; "
                f"supported: {', '.join(sorted(SUPPORTED_OPERATORS))}"
            )
        node.domain = ""
        outputs = [o for o in node.output if o]
        twice = [o for o in outputs if o in defined]
        if twice or len(set(outputs)) < len(outputs):
            raise InputError(f"{name} is not a valid network: {(twice or outputs)[0]!r} is made twice")
        missing = [i for i in node.input if i and i not in defined]
        if missing:
            raise InputError(f"{name} is not a valid network: node {node.name!r} reads {missing[0]!r} before it is made")
        if not outputs or not node.output[0] or (node.op_type != "Constant" and not (node.input and node.input[0])):
            raise InputError(f"{label} ({node.op_type}) has no input or no output")
        if node.op_type not in REMOVED | {"ConstantOfShape"}:  # which exporters write before the operator set that has it
            try:
                checker.check_node(node, context)
            except checker.ValidationError as error:
                raise InputError(f"{label} is not valid: {' '.join(str(error).split())[:200]}") from None
        if node.op_type == "Constant":
            weights[node.output[0]] = _constant(node, name, folder)
        elif node.op_type == "ConstantOfShape" and node.input[0] in weights:
            array = _constant_of_shape(node, weights[node.input[0]], name, folder)
            if (made := made + array.size) > LARGEST_CONSTANT:
                raise InputError(f"{label} makes constants of more than {LARGEST_CONSTANT} values")
            weights[node.output[0]] = array
        elif node.op_type == "ConstantOfShape":
            raise InputError(f"{label} makes a constant of a shape that is computed")
        elif node.op_type == "Identity" and node.input[0] in weights:  # a shared weight under a second name
            weights[node.output[0]] = weights[node.input[0]]
        else:
            _check_operator(node, weights, label)
            nodes.append(node)
        defined.update(outputs)
    computed = {o for node in nodes for o in node.output}
    outputs = [o.name for o in body.output]
    if not outputs or not computed.issuperset(outputs):
        wrong = next((o for o in outputs if o not in computed), "none")
        raise InputError(f"{name} is not a valid network: its output is {wrong!r}, which no node computes")
    return Graph(
        nodes=tuple(nodes),
        weights=weights,
        image=image,
        size=(dims[2] if dims[2] > 0 else 224, dims[3] if dims[3] > 0 else 224),
        outputs=tuple(outputs),
        opset=opset,
    )


def _check_names(body: onnx.GraphProto, name: str) -> None:
    """Names are looked up, shown and written into files: refuses those that are no text, or very long."""
    for kind, found in (
        *(("node", n) for node in body.node for n in (node.name, node.op_type, node.domain)),
        *(("tensor", n) for node in body.node for n in (*node.input, *node.output)),
        *(("attribute", a.name) for node in body.node for a in node.attribute),
        *(("tensor", tensor.name) for tensor in (*body.initializer, *body.input, *body.output)),
    ):
        if not isinstance(found, str) or len(found) > LONGEST_NAME or not found.isprintable():
            expected = f"expected text of at most {LONGEST_NAME} characters"
            raise InputError(f"{name} has a {kind} whose name is {str(found)[:60]!r}; {expected}")


def _check_operator(node: onnx.NodeProto, weights: Mapping[str, np.ndarray], label: str) -> None:
    """Refuses what ONNX' own checks let pass and nothing can be computed from: wrong weights, windows, counts."""

    def refuse(reason: str) -> None:
        raise InputError(f"{label} ({node.op_type}) {reason}")

    if node.op_type in REMOVED:
        return
    for name in node.input:
        if name in weights:
            array = weights[name]
            if array.dtype not in (*SHAPE_DTYPES, np.float32):
                refuse(f"reads {name!r} of type {array.dtype}; expected float32")
            if array.dtype == np.float32 and not array.size:
                refuse(f"reads {name!r}, which is empty")
    constant = [weights.get(name) for name in node.input]
    given = attributes(node)
    if node.op_type == "Conv":
        kernel, bias = constant[1], constant[2] if len(constant) > 2 else None
        if kernel is None or kernel.ndim != 4 or kernel.dtype != np.float32 or kernel.size > LARGEST_KERNEL:
            refuse("has no constant kernel [out, in, height, width] of float32")
        assert kernel is not None
        if len(constant) > 2 and (bias is None or bias.shape != kernel.shape[:1]):
            refuse(f"has a bias that is not one of {kernel.shape[0]} constants")
        if list(given.get("kernel_shape", kernel.shape[2:])) != list(kernel.shape[2:]):
            refuse(f"has the kernel_shape {given['kernel_shape'][:8]}; its kernel is {list(kernel.shape)}")
        if given.get("group", 1) < 1 or kernel.shape[0] % given.get("group", 1):
            refuse(f"has {given['group']} groups for {kernel.shape[0]} channels")
        given.setdefault("kernel_shape", kernel.shape[2:])
    if node.op_type in ("Conv", "MaxPool", "AveragePool"):
        for name, length, least in (("kernel_shape", 2, 1), ("strides", 2, 1), ("dilations", 2, 1), ("pads", 4, 0)):
            values = given.get(name, [1] * length)
            if len(values) != length or not all(least <= value <= LARGEST_WINDOW for value in values):
                refuse(f"has the {name} {list(values[:8])}; expected {length} numbers of {least} to {LARGEST_WINDOW}")
        if given.get("auto_pad", b"NOTSET") not in (b"", b"NOTSET", b"VALID", b"SAME_UPPER", b"SAME_LOWER"):
            refuse(f"has the auto_pad {given['auto_pad'][:20]!r}")
        reach = [(k - 1) * d + 1 for k, d in zip(given["kernel_shape"], given.get("dilations", [1, 1]), strict=True)]
        if node.op_type != "Conv" and any(pad >= r for pad, r in zip(given.get("pads", [0] * 4), reach * 2, strict=True)):
            refuse(f"has windows of {reach} that see padding alone")
    elif node.op_type == "BatchNormalization":
        vectors = [array for array in constant[1:5] if array is not None and array.dtype == np.float32]
        if len(vectors) < 4 or len({array.shape for array in vectors}) > 1 or vectors[0].ndim != 1:
            refuse("expects four constant vectors of one length")
    elif node.op_type in ("Gemm", "MatMul") and len(constant) > 1 and constant[1] is not None and constant[1].ndim != 2:
        refuse(f"has a matrix of shape {list(constant[1].shape)}")
    elif node.op_type == "SpaceToDepth" and not 1 <= given["blocksize"] <= LARGEST_WINDOW:
        refuse(f"has the blocksize {given['blocksize']}")
    elif node.op_type == "LRN" and not 1 <= given["size"] <= LARGEST_WINDOW:
        refuse(f"has the size {given['size']}")


def _constant_of_shape(node: onnx.NodeProto, shape: np.ndarray, name: str, folder: Path | None) -> np.ndarray:
    value = _array(node.attribute[0].t, name, folder) if node.attribute else np.zeros(1, np.float32)
    sides = shape.ravel().tolist() if shape.dtype in SHAPE_DTYPES and shape.size <= 8 else [-1]
    largest = LARGEST_CONSTANT if value.dtype == np.float32 else LARGEST_SHAPE
    count = math.prod(max(side, 1) for side in sides)  # NumPy counts an empty side as one, too
    if min(sides, default=1) < 0 or count > largest or value.size != 1:
        raise InputError(f"{name}: node {node.name or node.output[0]!r} makes a constant of shape {sides[:8]}")
    return np.broadcast_to(value.reshape(-1)[0], sides)


def _array(tensor: onnx.TensorProto, name: str, folder: Path | None) -> np.ndarray:
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        location = next((e.value for e in tensor.external_data if e.key == "location"), "")
        base = (folder or Path()).resolve()
        try:
            file = (base / location).resolve()
            inside = file.is_relative_to(base) and len(location) <= LONGEST_NAME
            there = inside and file.is_file()
        except (TypeError, ValueError, OSError, RuntimeError):  # no text, a null byte, a loop of links
            inside = there = False
        if folder is None or not location or not inside:
            raise InputError(
                f"{name}: the weight {tensor.name!r} is kept in {str(location)[:100]!r}, outside the model's folder; "
                "move it beside the .onnx file, or save the model as a single file"
            )
        if not there:
            raise InputError(f"{name}: the weight {tensor.name!r} is kept in {location!r}, which is not there")
    try:
        return numpy_helper.to_array(tensor, base_dir=str(folder or ""))
    except Exception as error:  # onnx raises anything from ValueError to OSError on inconsistent tensors
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{name}: the weight {tensor.name!r} is damaged ({reason}); fetch the file again") from None


def _constant(node: onnx.NodeProto, name: str, folder: Path | None) -> np.ndarray:
    kinds = {"value_float": np.float32, "value_floats": np.float32, "value_int": np.int64, "value_ints": np.int64}
    for attribute in node.attribute:
        if attribute.name == "value":
            return _array(attribute.t, name, folder)
        if attribute.name in kinds:
            return np.asarray(helper.get_attribute_value(attribute), kinds[attribute.name])
    raise InputError(f"{name}: node {node.name or node.output[0]!r} is a constant of no numbers")


# ----------------------------------------------------------------------------------------------------------- tidying


def tidy(graph: Graph) -> Graph:
    """The same values at the same names, without what only an exporter needs.

    Dropout and Identity go (their names become aliases), `Flatten` says its axis, a `Reshape` to [batch, all the
    rest] becomes a `Flatten`, which holds for every batch size, a `Sum` of two an `Add`.
    """
    aliases: dict[str, str] = {}
    ranks = {graph.image: 4}
    nodes = []
    for node in graph.nodes:
        inputs = [aliases.get(i, i) for i in node.input]
        if node.op_type in REMOVED:
            aliases[node.output[0]] = inputs[0]
            continue
        node = remake(node, inputs=inputs)
        if node.op_type == "Sum" and len(inputs) == 2:
            node = helper.make_node("Add", inputs, list(node.output), name=node.name)
        if node.op_type == "Reshape" and ranks.get(inputs[0]) == 4 and inputs[-1] in graph.weights:
            shape = graph.weights[inputs[-1]].ravel().tolist()
            if len(shape) == 2 and (shape[0] in (0, 1, -1)):
                node = helper.make_node("Flatten", inputs[:1], list(node.output), name=node.name)
        if node.op_type == "Flatten":
            node = remake(node, axis=attributes(node).get("axis", 1))
        # Everything before the first flattening is a picture; only whether a Reshape sees one matters here.
        ranks[node.output[0]] = 2 if node.op_type in ("Flatten", "Reshape", "Gemm", "MatMul") else ranks.get(inputs[0], 4)
        nodes.append(node)
    outputs = tuple(dict.fromkeys(aliases.get(o, o) for o in graph.outputs))
    return dataclasses.replace(graph, nodes=tuple(nodes), outputs=outputs, aliases=aliases)


# ---------------------------------------------------------------------------------------------------------- geometry


@dataclasses.dataclass(frozen=True)
class Geometry:
    """What a tensor sees of the picture: its shape at batch 1, and stride and receptive field in pixels (height, width).

    A receptive field is None where a value sees the whole picture.
    """

    shape: tuple[int, ...]
    stride: tuple[int, int] | None
    receptive_field: tuple[int, int] | None


def geometry(graph: Graph) -> dict[str, Geometry]:
    """Tensor name -> Geometry, for every computed tensor of a tidy graph."""
    shapes = graph.shapes()
    found = {graph.image: Geometry(shapes[graph.image], (1, 1), (1, 1))}
    for node in graph.nodes:
        above = [found[i] for i in node.input if i in found]
        stride = next((a.stride for a in above), None)
        whole = any(a.receptive_field is None for a in above) or not above
        field = None if whole else tuple(max(a.receptive_field[axis] for a in above) for axis in (0, 1))  # type: ignore[index]
        if node.op_type in WINDOWED and field is not None and stride is not None:
            given = attributes(node)
            block = [given["blocksize"]] * 2 if node.op_type == "SpaceToDepth" else None
            kernel = block or given.get("kernel_shape") or shapes[node.input[1]][2:]
            steps, dilations = block or given.get("strides", [1, 1]), given.get("dilations", [1, 1])
            field = tuple(f + (k - 1) * d * s for f, k, d, s in zip(field, kernel, dilations, stride, strict=True))
            stride = tuple(s * t for s, t in zip(stride, steps, strict=True))
        elif node.op_type in ("Gemm", "MatMul", "GlobalAveragePool", "GlobalMaxPool", "ReduceMean", "Flatten", "Reshape"):
            field = stride = None
        for output in node.output:
            if output in shapes:
                found[output] = Geometry(shapes[output], stride, field)  # type: ignore[arg-type]
    return found


def operations(graph: Graph) -> int:
    """Floating-point operations of the graph's convolutions and matrices for one picture, two for each multiply-add.

    The gradient to the picture takes as many again: each of them is run once more, transposed.
    """
    shapes = graph.shapes()
    count = 0
    for node in graph.nodes:
        if node.op_type in ("Conv", "Gemm", "MatMul") and node.input[1] in graph.weights:
            weight = graph.weights[node.input[1]].shape
            places = math.prod(shapes[node.output[0]][2:]) if node.op_type == "Conv" else 1
            count += 2 * math.prod(weight) * places
    return count


# ------------------------------------------------------------------------------------------------ cutting and folding


def resized(graph: Graph, size: tuple[int, int]) -> Graph:
    """The graph for pictures of another size (height, width)."""
    return dataclasses.replace(graph, size=size)


def cut(graph: Graph, tensors: Iterable[str]) -> Graph:
    """The part of the graph that the tensors need; they become its outputs, in the order given.

    Raises:
      InputError: a tensor is not computed by the graph.
    """
    wanted = list(dict.fromkeys(graph.resolve(t) for t in tensors))
    producers = graph.producers()
    for tensor in wanted:
        if tensor not in producers:
            raise choice_error("tensor", tensor, producers)
    needed = set(wanted)
    nodes = []
    for node in reversed(graph.nodes):
        if needed.intersection(node.output):
            needed.update(node.input)
            nodes.append(node)
    weights = {name: array for name, array in graph.weights.items() if name in needed}
    return dataclasses.replace(graph, nodes=tuple(reversed(nodes)), weights=weights, outputs=tuple(wanted))


def numbered(graph: Graph) -> Graph:
    """The graph with its tensors renamed t0, t1, ...; the outputs keep their order."""
    names = {name: f"t{i}" for i, name in enumerate((graph.image, *graph.weights, *graph.tensors()))}
    nodes = []
    for node in graph.nodes:
        renamed = remake(node, inputs=[names.get(i, i) for i in node.input])
        renamed.output[:] = [names.get(o, o) for o in node.output]
        renamed.name = renamed.output[0]
        nodes.append(renamed)
    return dataclasses.replace(
        graph,
        nodes=tuple(nodes),
        weights={names[name]: array for name, array in graph.weights.items()},
        image=names[graph.image],
        outputs=tuple(names[name] for name in graph.outputs),
        aliases={},
    )


def with_pooling(graph: Graph, pool: str) -> Graph:
    """The graph with every max pool made an average pool (`pool="avg"`), or as it is (`pool="max"`).

    Average pools count the picture's pixels only, not the padding, so that borders keep their brightness.
    """
    if pool == "max":
        return graph
    nodes = [
        helper.make_node(
            "AveragePool",
            list(node.input),
            [node.output[0]],
            name=node.name,
            **{k: v for k, v in attributes(node).items() if k not in ("storage_order", "dilations")},
        )
        if node.op_type == "MaxPool"
        else node
        for node in graph.nodes
    ]
    # ceil_mode entered AveragePool with opset 10.
    return dataclasses.replace(
        graph, nodes=tuple(nodes), opset=max(graph.opset, 10) if nodes != list(graph.nodes) else graph.opset
    )


def fold(graph: Graph, *, stems: bool = True, pools: bool = False) -> Graph:
    """The graph in the form that converts to the fastest Keras model: the same outputs to rounding.

    Batch normalization goes into the convolution before it where nothing else reads the value between
    (w' = w g / sqrt(v + e), b' = (b - m) g / sqrt(v + e) + beta); paddings become SAME or VALID where they mean the
    same, which saves a copy of the activations each; a convolution of the picture, whose three channels libraries do badly
    at, becomes one over more channels (`_space_to_depth` and `_by_columns`); matrices are stored as they are multiplied.

    Args:
      stems: False to leave convolutions of the picture as they are.
      pools: makes average pools convolutions, whose gradient costs TensorFlow less in float32 and much more in bfloat16.
    """
    graph = _fold_batch_norms(graph)
    if stems:
        graph = _fold_stems(graph)
    shapes = graph.shapes()
    weights = dict(graph.weights)
    nodes = []
    for node in graph.nodes:
        if node.op_type in ("Conv", "MaxPool", "AveragePool"):
            node = _simplest_padding(node, shapes)
            if pools and _is_small_average(node):
                node, weights[f"{node.output[0]}/mean"] = _average_by_convolution(node, shapes)
            elif node.op_type == "AveragePool" and any(attributes(node).get("pads", ())) and not _counts_padding(node):
                pool, scale, map_name = _padded_average(node, shapes)
                weights[map_name] = scale
                nodes.append(pool)
                node = helper.make_node("Mul", [pool.output[0], map_name], list(node.output), name=node.name)
        elif node.op_type == "Gemm" and attributes(node).get("transB", 0) and node.input[1] in weights:
            stored = f"{node.input[1]}/transposed"
            weights[stored] = np.ascontiguousarray(weights[node.input[1]].T)
            node = remake(node, inputs=[node.input[0], stored, *node.input[2:]], transB=None)
        nodes.append(node)
    used = {name for node in nodes for name in node.input}
    weights = {name: array for name, array in weights.items() if name in used}
    return dataclasses.replace(graph, nodes=tuple(nodes), weights=weights)


def _fold_batch_norms(graph: Graph) -> Graph:
    readers = graph.consumers()
    producers = graph.producers()
    weights = dict(graph.weights)
    replaced: dict[int, onnx.NodeProto | None] = {}
    for node in graph.nodes:
        if node.op_type != "BatchNormalization":
            continue
        before = producers.get(node.input[0])
        alone = len(readers[node.input[0]]) == 1 and node.input[0] not in graph.outputs
        if before is None or before.op_type != "Conv" or not alone or before.input[1] not in weights:
            continue
        scale, offset, mean, variance = (weights[name].astype(np.float64) for name in node.input[1:5])
        factor = scale / np.sqrt(variance + attributes(node).get("epsilon", 1e-5))
        kernel = weights[before.input[1]]
        bias = weights[before.input[2]].astype(np.float64) if len(before.input) > 2 else 0.0
        name = node.output[0]
        weights[f"{name}/kernel"] = (kernel * factor[:, None, None, None]).astype(np.float32)
        weights[f"{name}/bias"] = ((bias - mean) * factor + offset).astype(np.float32)
        inputs = [before.input[0], f"{name}/kernel", f"{name}/bias"]
        replaced[id(before)] = None
        replaced[id(node)] = helper.make_node("Conv", inputs, [name], name=node.name, **attributes(before))
    nodes = [replaced.get(id(node), node) for node in graph.nodes]
    return dataclasses.replace(graph, nodes=tuple(n for n in nodes if n is not None), weights=weights)


def _counts_padding(node: onnx.NodeProto) -> bool:
    return bool(attributes(node).get("count_include_pad", 0))


def _padded_average(node: onnx.NodeProto, shapes: Mapping[str, tuple[int, ...]]) -> tuple[onnx.NodeProto, np.ndarray, str]:
    """An average over the picture's pixels only, as one over all pixels times a map of corrections.

    onnx2tf would correct the borders with slices and concatenations, which cost more than the pool.
    """
    given = attributes(node)
    kernel, strides, pads = given["kernel_shape"], given.get("strides", [1, 1]), given["pads"]
    counts = []
    for axis in (0, 1):
        length, out = shapes[node.input[0]][2 + axis], shapes[node.output[0]][2 + axis]
        starts = np.arange(out) * strides[axis] - pads[axis]
        counts.append(np.minimum(starts + kernel[axis], length) - np.maximum(starts, 0))
    scale = (kernel[0] * kernel[1] / np.outer(*counts)).astype(np.float32)[None, None]
    name = node.output[0]
    pool = helper.make_node(
        "AveragePool", list(node.input), [f"{name}/counted"], name=f"{name}/counted", **{**given, "count_include_pad": 1}
    )
    return pool, scale, f"{name}/scale"


def _is_small_average(node: onnx.NodeProto) -> bool:
    """Whether it is an average pool without padding over windows of at most 3 x 3: larger ones gain nothing."""
    given = attributes(node)
    return node.op_type == "AveragePool" and given.get("auto_pad") == b"VALID" and max(given["kernel_shape"]) <= 3


def _average_by_convolution(node: onnx.NodeProto, shapes: Mapping[str, tuple[int, ...]]) -> tuple[onnx.NodeProto, np.ndarray]:
    """An average pool as a convolution of each channel by itself, with its kernel."""
    given, channels = attributes(node), shapes[node.input[0]][1]
    sides = given["kernel_shape"]
    name = node.output[0]
    made = helper.make_node(
        "Conv",
        [node.input[0], f"{name}/mean"],
        [name],
        name=node.name,
        kernel_shape=sides,
        strides=given.get("strides", [1, 1]),
        auto_pad="VALID",
        group=channels,
    )
    return made, np.full((channels, 1, *sides), 1 / math.prod(sides), np.float32)


def _fold_stems(graph: Graph) -> Graph:
    shapes = graph.shapes()
    weights = dict(graph.weights)
    nodes = []
    for node in graph.nodes:
        stem = _stem(graph, node, shapes)
        made = (_space_to_depth(graph, stem) or _by_columns(graph, stem)) if stem else None
        nodes.extend(made[0] if made else [node])
        weights.update(made[1] if made else {})
    return dataclasses.replace(graph, nodes=tuple(nodes), weights=weights)


@dataclasses.dataclass(frozen=True)
class _Stem:
    """A convolution that reads the picture: its kernel [out, in, height, width], stride, and along each axis the picture's
    length, the output's, and how many pixels are padded before the picture."""

    node: onnx.NodeProto
    kernel: np.ndarray
    stride: int
    lengths: tuple[int, ...]
    outs: tuple[int, ...]
    begin: tuple[int, ...]

    def end(self, sizes: Iterable[int]) -> list[int]:
        """Pixels to pad behind the picture for windows of other sizes in pixels, which begin where those of the node do."""
        axes = zip(self.lengths, self.outs, self.begin, sizes, strict=True)
        return [(out - 1) * self.stride + size - length - before for length, out, before, size in axes]


def _stem(graph: Graph, node: onnx.NodeProto, shapes: Mapping[str, tuple[int, ...]]) -> _Stem | None:
    given = attributes(node)
    strides = given.get("strides", [1, 1])
    known = node.op_type == "Conv" and node.input[0] == graph.image and node.input[1] in graph.weights
    if not known or strides[0] != strides[1] or given.get("group", 1) != 1 or max(given.get("dilations", [1])) > 1:
        return None
    kernel, lengths, outs = graph.weights[node.input[1]], shapes[graph.image][2:], shapes[node.output[0]][2:]
    totals = [max((o - 1) * strides[0] + k - n, 0) for o, k, n in zip(outs, kernel.shape[2:], lengths, strict=True)]
    begin = {
        b"SAME_UPPER": [total // 2 for total in totals],
        b"SAME_LOWER": [total - total // 2 for total in totals],
        b"VALID": [0, 0],
    }.get(given.get("auto_pad", b"NOTSET"), given.get("pads", [0] * 4)[:2])
    return _Stem(node, kernel, strides[0], lengths, outs, tuple(begin))


def _space_to_depth(graph: Graph, stem: _Stem) -> tuple[list[onnx.NodeProto], dict[str, np.ndarray]] | None:
    """A convolution of the picture with stride s as one of stride 1 over blocks of s x s pixels, with its weights.

    A kernel of k x k over 3 channels becomes one of ceil(k / s) x ceil(k / s) over 3 s^2, filled up with zeros: the same
    sums, whose gradient to the picture costs less than half, because libraries do badly at 3 channels and at strides.
    Padding is done on the picture, where it costs least. None where it does not apply: a stride of 1, and sizes
    that leave pixels at the end which no window reaches and no block has room for.
    """
    kernel, step = stem.kernel, stem.stride
    if step < 2 or min(kernel.shape[2:]) < step:
        return None
    taps = [math.ceil(size / step) for size in kernel.shape[2:]]
    end = stem.end([n * step for n in taps])
    if min(end) < 0:
        return None
    name = stem.node.output[0]
    filled = np.pad(kernel, ((0, 0), (0, 0), *((0, n * step - k) for n, k in zip(taps, kernel.shape[2:], strict=True))))
    blocks = filled.reshape(*kernel.shape[:2], taps[0], step, taps[1], step).transpose(0, 3, 5, 1, 2, 4)
    weights = {f"{name}/blocks": np.ascontiguousarray(blocks.reshape(kernel.shape[0], -1, *taps))}
    nodes, value = [], graph.image
    if any((*stem.begin, *end)):
        pads = [0, 0, *stem.begin, 0, 0, *end]
        padded = f"{name}/padded"
        if graph.opset >= 11:
            weights[f"{name}/pads"] = np.array(pads, np.int64)
            nodes.append(helper.make_node("Pad", [value, f"{name}/pads"], [padded], name=padded))
        else:
            nodes.append(helper.make_node("Pad", [value], [padded], name=padded, pads=pads))
        value = padded
    depth = f"{name}/depth"
    nodes.append(helper.make_node("SpaceToDepth", [value], [depth], name=depth, blocksize=step))
    inputs = [depth, f"{name}/blocks", *stem.node.input[2:]]
    nodes.append(remake(stem.node, inputs=inputs, kernel_shape=taps, strides=[1, 1], pads=None, auto_pad="VALID"))
    return nodes, weights


def _by_columns(graph: Graph, stem: _Stem) -> tuple[list[onnx.NodeProto], dict[str, np.ndarray]] | None:
    """A convolution of the picture with stride 1 as two, with their weights.

    The first puts the w pixels of a row of the window beside each other, as 3 w channels of one pixel; the second has windows
    of one column: the same products, but for ones and zeros. Libraries fill 3 channels up to 16, so that the gradient to the
    picture takes a w-th of the arithmetic. None for other strides, and windows that are one pixel wide.
    """
    outputs, channels, height, width = stem.kernel.shape
    if stem.stride > 1 or width == 1:
        return None
    name = stem.node.output[0]
    beside = f"{name}/beside"
    one_hot = np.eye(width * channels, dtype=np.float32).reshape(width * channels, 1, width, channels)
    weights = {
        f"{name}/row": np.ascontiguousarray(one_hot.transpose(0, 3, 1, 2)),
        f"{name}/columns": stem.kernel.transpose(0, 3, 1, 2).reshape(outputs, width * channels, height, 1),
    }
    (top, left), (bottom, right) = stem.begin, stem.end((height, width))
    row = helper.make_node(
        "Conv", [graph.image, f"{name}/row"], [beside], name=beside, kernel_shape=[1, width], pads=[0, left, 0, right]
    )
    inputs = [beside, f"{name}/columns", *stem.node.input[2:]]
    columns = remake(stem.node, inputs=inputs, kernel_shape=[height, 1], pads=[top, 0, bottom, 0], auto_pad=None)
    return [row, columns], weights


def _simplest_padding(node: onnx.NodeProto, shapes: Mapping[str, tuple[int, ...]]) -> onnx.NodeProto:
    """The node with its padding written as SAME_UPPER or none where that gives the same windows."""
    given = attributes(node)
    kernel = given.get("kernel_shape") or shapes[node.input[1]][2:]
    strides = given.get("strides", [1, 1])
    dilations = given.get("dilations", [1, 1])
    pads = given.get("pads", [0, 0, 0, 0])
    height_width, out = shapes[node.input[0]][2:], shapes[node.output[0]][2:]
    if given.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"") or _counts_padding(node):
        return node
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    total = [max((o - 1) * s + r - n, 0) for o, s, r, n in zip(out, strides, reach, height_width, strict=True)]
    # Rounding up (ceil_mode) adds a padding at the end that the attributes do not show; out is after it.
    same = all(
        o == math.ceil(n / s) and before == t // 2
        for o, n, s, before, t in zip(out, height_width, strides, pads[:2], total, strict=True)
    )
    if not any(total) and not any(pads[:2]):
        # Nothing is padded; what `pads` or ceil_mode would add at the end, no window reaches.
        return remake(node, kernel_shape=list(kernel), pads=None, ceil_mode=None, auto_pad="VALID")
    if same:
        return remake(node, kernel_shape=list(kernel), pads=None, ceil_mode=None, auto_pad="SAME_UPPER")
    # Windows whose padding lies elsewhere keep explicit pads, ceil_mode written out.
    end = [t - before for t, before in zip(total, pads[:2], strict=True)]
    explicit = [*pads[:2], *(max(e, 0) for e in end)]
    return remake(node, kernel_shape=list(kernel), pads=explicit, ceil_mode=None)
