"""An ONNX graph as a value: its nodes, and its weights beside them as NumPy arrays.

The weights stay out of the nodes, so that a rewritten graph shares the hundreds of megabytes that it does not change.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping

import numpy as np
import onnx
from onnx import helper, numpy_helper

Rewritten = tuple[list[onnx.NodeProto], dict[str, np.ndarray]]  # nodes in place of a node, and their new weights


@dataclasses.dataclass(frozen=True)
class Graph:
    """An image network.

    Attributes:
      nodes: in topological order.
      weights: tensor name -> array, for every constant tensor.
      image: name of the input, [N, 3, H, W].
      size: (H, W) of the images that the graph is for.
      outputs: names of the output tensors.
      opset: version of the default operator set.
      aliases: names that `tidy` removed (outputs of Dropout, Identity) -> the tensor that holds the same value.
      name: of the file, for errors.
      modules: tensor -> the modules of PyTorch or layers of Keras that it is made in, the outermost first.
      takes_bytes: whether the file's input has whole numbers, which are from 0 to 255; here they are floats.
    """

    nodes: tuple[onnx.NodeProto, ...]
    weights: Mapping[str, np.ndarray]
    image: str
    size: tuple[int, int]
    outputs: tuple[str, ...]
    opset: int
    aliases: Mapping[str, str] = dataclasses.field(default_factory=dict)
    name: str = "the network"
    modules: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    takes_bytes: bool = False

    def producers(self) -> dict[str, onnx.NodeProto]:
        """Maps the name of every computed tensor to the node that makes it."""
        return {name: node for node in self.nodes for name in node.output if name}

    def consumers(self) -> dict[str, list[onnx.NodeProto]]:
        """Maps the name of every tensor that is read to the nodes that read it, in order."""
        readers: dict[str, list[onnx.NodeProto]] = {}
        for node in self.nodes:
            for name in node.input:
                if name:
                    readers.setdefault(name, []).append(node)
        return readers

    def tensors(self) -> list[str]:
        """Lists the names of all computed tensors, in order."""
        return [name for node in self.nodes for name in node.output if name]

    def resolve(self, tensor: str) -> str:
        """Returns the tensor that holds the value which the file calls `tensor`."""
        return self.aliases.get(tensor, tensor)

    def connections(self, tensors: Iterable[str]) -> dict[str, tuple[str, ...]]:
        """Maps each of some tensors to those of them that it is computed from, with none of them in between, in order."""
        wanted = dict.fromkeys(tensors)
        nearest: dict[str, dict[str, None]] = {}  # of every tensor
        for node in self.nodes:
            sources: dict[str, None] = {}
            for name in node.input:
                sources |= {name: None} if name in wanted else nearest.get(name, {})
            nearest |= dict.fromkeys(node.output, sources)
        return {name: tuple(source for source in wanted if source in nearest.get(name, {})) for name in wanted}

    def proto(
        self,
        *,
        batch: int | str = "N",
        weightless: frozenset[str] = frozenset(),
        shapes: Mapping[str, tuple[int, ...]] | None = None,
    ) -> onnx.ModelProto:
        """Builds the ONNX model of the graph.

        Args:
          batch: the batch dimension, a number or a symbol.
          weightless: float weights that become inputs of the model instead of constants.
          shapes: shapes of computed tensors at batch 1 that the model declares. It declares no other shape, not even
            those of its outputs.
        """
        used = {name for node in self.nodes for name in node.input}
        inputs = [_declare(self.image, [batch, 3, *self.size])]
        initializers = []
        for name, array in self.weights.items():
            if name not in used:
                continue
            if name in weightless:
                inputs.append(_declare(name, array.shape))
            else:
                initializers.append(numpy_helper.from_array(np.asarray(array, order="C"), name))
        declared = {name: _declare(name, [batch, *shape[1:]]) for name, shape in (shapes or {}).items()}
        outputs = [declared.pop(name) if name in declared else _declare(name, None) for name in self.outputs]
        body = helper.make_graph(
            list(self.nodes), "tfinvert", inputs, outputs, initializers, value_info=list(declared.values())
        )
        # IR version 4 is the first in which an initializer need not be listed among the inputs as well.
        return helper.make_model(body, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=8)


def _declare(name: str, shape: Iterable[int | str] | None) -> onnx.ValueInfoProto:
    """Declares a tensor of floats; None stands for an unknown shape of unknown rank."""
    return helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None if shape is None else list(shape))


def attributes(node: onnx.NodeProto) -> dict:
    """Returns the node's attributes as Python values."""
    return {a.name: helper.get_attribute_value(a) for a in node.attribute}


def remake(node: onnx.NodeProto, *, inputs: Iterable[str] | None = None, **changes) -> onnx.NodeProto:
    """Copies a node with other inputs or attributes; an attribute that is set to None is dropped."""
    made = helper.make_node(node.op_type, list(node.input if inputs is None else inputs), list(node.output), name=node.name)
    # As they are, since of an empty list of others, such as tf2onnx leaves behind, the type cannot be told from its value.
    kept = [attribute for attribute in node.attribute if attribute.name not in changes]
    new = [helper.make_attribute(name, value) for name, value in changes.items() if value is not None]
    made.attribute.extend(sorted((*kept, *new), key=lambda attribute: attribute.name))
    return made
