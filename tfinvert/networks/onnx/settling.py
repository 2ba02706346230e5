"""What does not depend on the image is computed once: constants, and the arithmetic of shapes, for any number of images.

Every tensor's shape is known for one image and for two. A side that doubles with the number of images is the batch; all
others are fixed, because the size of the images is. So a shape that a network computes is a constant but for its batch, and a
file that was exported for one image works for several.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import onnx
from onnx import helper, numpy_helper, shape_inference

from tfinvert.networks.onnx import checks
from tfinvert.networks.onnx.evaluating import evaluate, group_normalization, measure, repeats
from tfinvert.networks.onnx.graph import Graph, attributes, remake
from tfinvert.networks.onnx.operators import MEASURES, REMOVED
from tfinvert.system.errors import InputError

BATCHES = (1, 2)
TO_THE_END = np.iinfo(np.int64).max
SMALL = 2**12  # values of a tensor that says something of shapes


def settle(graph: Graph) -> Graph:
    """Returns the graph with constants in the place of all nodes that do not depend on the values of the image.

    Args:
      graph: cut to what is needed, at the size that it is used at.

    Raises:
      UnsupportedError: a node has an operator that is not converted.
      InputError: a node computes nothing, the network does not fit images of this size, or what it computes depends on the
        number of images.
    """
    return _Settling(graph).settled()


def unsupported(graph: Graph) -> frozenset[str]:
    """The tensors of a graph that need an operator which is not converted."""
    constant, refused = set(graph.weights), set[str]()
    for node in graph.nodes:
        read = {name for name in node.input if name}
        if read & refused:
            refused.update(node.output)
        elif node.op_type in MEASURES or read <= constant:
            constant.update(node.output)
        elif not checks.is_supported(node):
            refused.update(node.output)
    return frozenset(refused)


class _Settling:
    """The work of `settle`: values and types of tensors, for one image and for two."""

    def __init__(self, graph: Graph):
        self.graph = graph
        self.values: tuple[dict[str, np.ndarray], dict[str, np.ndarray]] = ({}, {})
        self.types: tuple[dict[str, onnx.TypeProto], dict[str, onnx.TypeProto]] = ({}, {})
        self.outer: dict[str, int] = {}  # the part of the batch's side that lies outside of the batch
        self.nodes: list[onnx.NodeProto] = []
        self.weights: dict[str, np.ndarray] = {}
        for batch, types in zip(BATCHES, self.types, strict=True):
            types[graph.image] = helper.make_tensor_type_proto(onnx.TensorProto.FLOAT, [batch, 3, *graph.size])
        for name in {name for node in graph.nodes for name in node.input if name in graph.weights}:
            self._know(name, graph.weights[name], graph.weights[name])

    def settled(self) -> Graph:
        for node in self.graph.nodes:
            read = [name for name in node.input if name]
            if node.op_type in MEASURES and read[0] not in self.values[0]:
                self._know(node.output[0], *(measure(node, self.dims(read[0], which)) for which in (0, 1)))
            elif read and all(name in self.values[0] for name in read) and not set(node.output) & set(self.graph.outputs):
                self._compute(node)
            else:
                self._keep(node)
        return dataclasses.replace(self.graph, nodes=tuple(self.nodes), weights=self.weights)

    def dims(self, name: str, which: int) -> tuple[int, ...]:
        """The shape of a tensor, for the first or the second batch."""
        return tuple(d.dim_value for d in self.types[which][name].tensor_type.shape.dim)

    def batch(self, name: str) -> int | None:
        """The axis of a tensor that is as long as there are images, or a multiple of it; None where there is none.

        Raises:
          InputError: there are several, or another side depends on the number of images.
        """
        one, two = self.dims(name, 0), self.dims(name, 1)
        axes = [axis for axis, (a, b) in enumerate(zip(one, two, strict=True)) if a != b]
        if len(axes) > 1 or any(two[axis] != 2 * one[axis] for axis in axes):
            raise InputError(
                f"the shape of {name!r} is {list(one)} for one image and {list(two)} for two; expected one batch axis"
            )
        return axes[0] if axes else None

    def _know(self, name: str, one: np.ndarray, two: np.ndarray) -> None:
        for which, value in enumerate((one, two)):
            self.values[which][name] = value
            kind = helper.np_dtype_to_tensor_dtype(value.dtype)
            self.types[which][name] = helper.make_tensor_type_proto(kind, value.shape)

    def _compute(self, node: onnx.NodeProto) -> None:
        """Computes a node that depends on constants alone."""
        results: list[list[np.ndarray]] = []
        for which in (0, 1):
            inputs = {name: self.values[which][name] for name in node.input if name}
            if which and all(inputs[name] is self.values[0][name] for name in inputs):
                results.append(results[0])
                continue
            for kind in self._infer(node, which).values():
                sides = [d.dim_value for d in kind.tensor_type.shape.dim]
                if math.prod(sides) > checks.LARGEST_CONSTANT:
                    raise InputError(f"{self._label(node)} makes a constant of shape {sides[:8]}")
            results.append(evaluate(node, inputs, self.graph.opset, self._label(node)))
        for name, one, two in zip(node.output, *results, strict=False):
            if name:
                self._know(name, np.asarray(one), np.asarray(two))

    def _keep(self, node: onnx.NodeProto) -> None:
        """Keeps a node that depends on the image, with constants that hold for any number of images."""
        checks.check_operator(node, self.values[0], self.graph.opset, self.graph.name)
        if node.op_type == "GroupNormalization":
            scale, bias = (self.values[0].get(name) for name in node.input[1:3])
            parts, constants = group_normalization(node, self.dims(node.input[0], 0), scale, bias, self._label(node))
            for name, array in constants.items():
                self._know(name, array, array)
            for part in parts:
                self._keep(part)
            return
        node = {"Reshape": self._reshape, "Flatten": self._flatten, "Expand": self._expand, "Slice": self._slice}.get(
            node.op_type, lambda same: same
        )(node)
        for name in node.input:
            if name in self.values[0] and name not in self.weights:
                one, two = self.values[0][name], self.values[1][name]
                sizes = node.op_type in ("Resize", "Upsample")  # whose batch is that of what they read
                if one is not two and not sizes and not repeats(one, two):
                    raise InputError(f"{self._label(node)} depends on the number of images, through {name!r}")
                self.weights[name] = one
        for which in (0, 1):
            self.types[which].update(self._infer(node, which))
        for name in filter(None, node.output):
            kind = self.types[0][name].tensor_type.elem_type
            if name in self.graph.outputs and kind != onnx.TensorProto.FLOAT:
                raise InputError(f"{name!r} is of type {onnx.TensorProto.DataType.Name(kind)}; expected a layer of float32")
            self._inherit(name, node.input)
        self.nodes.append(node)

    def _inherit(self, name: str, inputs: Sequence[str]) -> None:
        """Notes where in its side the batch of a tensor lies, which is where it lies in what the tensor is made from."""
        if name in self.outer or (axis := self.batch(name)) is None:
            return
        side = self.dims(name, 0)[axis]
        for source in inputs:
            if source in self.outer and (place := self.batch(source)) is not None and self.dims(source, 0)[place] == side:
                self.outer[name] = self.outer[source]

    def _infer(self, node: onnx.NodeProto, which: int) -> dict[str, onnx.TypeProto]:
        """The types of a node's outputs."""
        if node.op_type in REMOVED:
            return {node.output[0]: self.types[which][node.input[0]]}
        types = {name: self.types[which][name] for name in node.input if name}
        if which and node.op_type == "Concat":
            types = self._widened(node, types)
        constants = {name: value for name in types if (value := self.values[which].get(name)) is not None}
        if node.op_type not in ("Resize", "Upsample"):  # whose scales are floats
            constants = {name: value for name, value in constants.items() if value.dtype != np.float32}
        data = {n: numpy_helper.from_array(np.asarray(v, order="C"), n) for n, v in constants.items() if v.size <= SMALL}
        opset = helper.make_opsetid("", self.graph.opset)
        try:
            schema = onnx.defs.get_schema(node.op_type, self.graph.opset, "")
            inferred = shape_inference.infer_node_outputs(schema, node, types, data, opset_imports=[opset], ir_version=8)
            if any(name and name not in inferred for name in node.output):  # an operator that is defined by others
                inferred = self._infer_in_model(node, types, data)
        except Exception as error:  # of onnx, whose classes have no base in common
            pixels = "x".join(map(str, self.graph.size))
            words = " ".join(str(error).split())[:200]
            raise InputError(
                f"{self._label(node)} ({node.op_type}) does not fit images of {pixels} pixels ({words}); "
                "try the --size that the network was made for"
            ) from None
        if which and node.op_type in ("Resize", "Upsample"):
            shape = inferred[node.output[0]].tensor_type.shape
            if shape.dim:
                shape.dim[0].dim_value = self.dims(node.input[0], which)[0]
        if which and self._picks_from_each(node):
            inferred[node.output[0]].tensor_type.shape.dim[0].dim_value = BATCHES[which]
        return dict(inferred)

    def _picks_from_each(self, node: onnx.NodeProto) -> bool:
        """Whether a node picks values of one image, by their number among all: so PyTorch writes a view with other strides."""
        if node.op_type != "Gather" or len(self.dims(node.input[0], 0)) != 1 or self.batch(node.input[0]) != 0:
            return False
        return self.dims(node.input[1], 0)[:1] == (1,) and self.outer.get(node.input[0], 1) == 1

    def _infer_in_model(self, node: onnx.NodeProto, types: dict, data: dict) -> dict[str, onnx.TypeProto]:
        """The types of a node's outputs, by inference over a model of the node alone."""
        inputs = [onnx.ValueInfoProto(name=name, type=kind) for name, kind in types.items()]
        outputs = [onnx.ValueInfoProto(name=name) for name in node.output if name]
        body = helper.make_graph([node], "node", inputs, outputs, list(data.values()))
        model = helper.make_model(body, opset_imports=[helper.make_opsetid("", self.graph.opset)], ir_version=8)
        model = shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
        return {info.name: info.type for info in model.graph.output}

    def _widened(self, node: onnx.NodeProto, types: dict[str, onnx.TypeProto]) -> dict[str, onnx.TypeProto]:
        """The types of what is concatenated, where constants for one image are repeated for each of two."""
        computed = next((name for name in node.input if name not in self.values[0]), None)
        batch = self.batch(computed) if computed else None
        widened = dict(types)
        for name in node.input:
            if computed and name in self.values[0] and batch is not None and batch != attributes(node)["axis"]:
                widened[name] = onnx.TypeProto.FromString(types[name].SerializeToString())
                widened[name].tensor_type.shape.dim[batch].dim_value = self.dims(computed, 1)[batch]
        return widened

    def _reshape(self, node: onnx.NodeProto) -> onnx.NodeProto:
        """A Reshape to fixed sides, with -1 for the side that has the batch in it."""
        source, output = node.input[0], node.output[0]
        inferred = self._infer(node, 0)[output].tensor_type.shape.dim
        target = [d.dim_value for d in inferred]
        axis = self.batch(source)
        if axis is None or not target:
            return node
        sides = self.dims(source, 0)
        before = math.prod(sides[:axis]) * self.outer.get(source, 1)
        place = self._place_of_batch(node, target, before)
        self.outer[output] = max(before // math.prod(target[:place]), 1)
        if len(sides) == 4 and len(target) == 2 and (axis, place, target[0], before) == (0, 0, 1, 1):
            return helper.make_node("Flatten", [source], [output], name=node.name, axis=1)
        name = f"{output}/shape"
        self._know(name, *[np.array([*target[:place], -1, *target[place + 1 :]], np.int64)] * 2)
        made = helper.make_node("Reshape", [source, name], [output], name=node.name)
        return made if self.graph.opset >= 5 else remake(node, shape=self.values[0][name].tolist())

    def _place_of_batch(self, node: onnx.NodeProto, target: list[int], before: int) -> int:
        """The axis of a reshaped tensor that has the batch in it.

        Args:
          node: the Reshape.
          target: the sides for one image.
          before: the product of the sides outside of the batch, in what is reshaped.
        """
        shape = node.input[1] if len(node.input) > 1 else ""
        if shape and self.values[0][shape] is not self.values[1][shape]:
            two = [d.dim_value for d in self._infer(node, 1)[node.output[0]].tensor_type.shape.dim]
            doubled = [axis for axis, (a, b) in enumerate(zip(target, two, strict=True)) if b == 2 * a]
            if len(doubled) == 1:
                return doubled[0]
        outside = [math.prod(target[:axis]) for axis in range(len(target) + 1)]
        own = [axis for axis, side in enumerate(target) if side == 1 and outside[axis] == before]
        across = [axis for axis in range(len(target)) if outside[axis] < before < outside[axis + 1]]
        ends = [axis for axis in range(len(target)) if outside[axis + 1] == before]
        begins = [axis for axis in range(len(target)) if outside[axis] == before]
        # Between two sides, the batch belongs to the rows of a matrix; otherwise to the heads of attention, which come after.
        order = (own, across, ends[-1:], begins) if len(target) == 2 else (own, across, begins, ends[-1:])
        return next((axes[0] for axes in order if axes), 0)

    def _flatten(self, node: onnx.NodeProto) -> onnx.NodeProto:
        """A Flatten that keeps the images apart, or the Reshape that does what it does."""
        axis = attributes(node).get("axis", 1)
        if axis == 1 and self.batch(node.input[0]) in (0, None):
            return node
        sides = self.dims(node.input[0], 0)
        name = f"{node.output[0]}/sides"
        shape = np.array([math.prod(sides[:axis]), math.prod(sides[axis:])], np.int64)
        self._know(name, shape, shape)
        return self._reshape(helper.make_node("Reshape", [node.input[0], name], [node.output[0]], name=node.name))

    def _expand(self, node: onnx.NodeProto) -> onnx.NodeProto:
        """An Expand that leaves the batch as it is."""
        one, two = (values[node.input[1]] for values in self.values)
        name = f"{node.output[0]}/shape"
        batch = self.batch(node.input[0])
        kept = np.where(one == two, one, 1)
        if batch is not None and len(kept) >= len(self.dims(node.input[0], 0)):
            kept[batch - len(self.dims(node.input[0], 0))] = 1
        self._know(name, kept, kept)
        return remake(node, inputs=[node.input[0], name])

    def _slice(self, node: onnx.NodeProto) -> onnx.NodeProto:
        """A Slice to the end of the batch, where it is one to the number of images."""
        ends = node.input[2] if len(node.input) > 2 else ""
        if not ends or self.values[0][ends] is self.values[1][ends]:
            return node
        name = f"{node.output[0]}/ends"
        kept = np.where(self.values[0][ends] == self.values[1][ends], self.values[0][ends], TO_THE_END)
        self._know(name, kept, kept)
        return remake(node, inputs=[*node.input[:2], name, *node.input[3:]])

    def _label(self, node: onnx.NodeProto) -> str:
        return checks.describe_node(node, self.graph.name)
