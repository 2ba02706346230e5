"""Questions about the structure of a graph that the families of networks (`families`) have in common."""

from __future__ import annotations

import dataclasses
import heapq

import onnx
from onnx import helper

from tfinvert.networks.onnx import Graph, attributes
from tfinvert.networks.onnx.operators import ACTIVATIONS, POOLS, RESHAPING

# An activation function can be written in several nodes, such as x * Sigmoid(x). All of them work value by value, and at
# least one is not linear.
BENT = ACTIVATIONS | frozenset("Celu Erf Gelu Max Min Mish PRelu Softsign Swish ThresholdedRelu".split())
STRAIGHT = frozenset("Add Sub Mul Div Neg Pow".split())
LARGEST_ACTIVATION = 12  # nodes
BRIGHTNESS = "/brightness"  # the end of the name of the weights that make an image gray
SHAPE_OF = frozenset(("Shape", "Size"))


class Structure:
    """Answers the questions about a tidied graph that all families have.

    Attributes:
      graph: the graph.
      producers: tensor -> the node that makes it.
      consumers: tensor -> the nodes that read it.
      tensors: the computed tensors, in order.
      order: computed tensor -> its place in that order.
    """

    def __init__(self, graph: Graph):
        self.graph = graph = dataclasses.replace(graph, nodes=tuple(_renamed(node, graph) for node in graph.nodes))
        self.producers = graph.producers()
        self.consumers = graph.consumers()
        self.tensors = graph.tensors()
        self.order = {tensor: position for position, tensor in enumerate(self.tensors)}
        # Sets of tensors as the bits of a number: thousands of sets of thousands take a megabyte.
        self._ancestors: dict[str, int] = {}
        self._values = {graph.image}
        for node in graph.nodes:  # topological, so the sets of the inputs are complete
            above = 0
            for name in node.input:
                above |= self.above(name)
            for output in filter(None, node.output):
                self._ancestors[output] = above | 1 << self.order[output]
            if node.op_type not in SHAPE_OF and self._values.intersection(node.input):
                self._values.update(filter(None, node.output))
        self._activated: dict[str, str] = {}
        inner: set[str] = set()
        for tensor in self.tensors:
            if tensor in self._values and tensor not in inner:
                nodes = self._activation(tensor)
                if nodes:
                    self._activated[tensor] = nodes[-1].output[0]
                    inner.update(node.output[0] for node in nodes[:-1])
        self._inner = inner

    def above(self, tensor: str) -> int:
        """Returns the computed tensors that this one is made from, itself included: bit n is the n-th of `tensors`."""
        return self._ancestors.get(tensor, 0)

    def is_above(self, tensor: str, other: str) -> bool:
        """Tells whether `other` is made from a computed tensor, or is that tensor."""
        return bool(self.above(other) >> self.order[tensor] & 1)

    def outputs_of(self, operators: frozenset[str]) -> int:
        """Returns the outputs of all nodes with one of these operators, as `above` does."""
        return sum(1 << self.order[node.output[0]] for node in self.graph.nodes if node.op_type in operators)

    def inside(self, join: onnx.NodeProto) -> int:
        """Returns the tensors of the branches that a node joins, from where they part, as `above` does."""
        sides = [self.above(name) for name in self.joined(join)]
        common, inside = sides[0], 0
        for side in sides:
            common, inside = common & side, inside | side
        if common:
            inside &= ~self.above(self.tensors[common.bit_length() - 1])
        return inside

    def joined(self, node: onnx.NodeProto) -> list[str]:
        """Lists the inputs of a node that are values of the image."""
        return [name for name in node.input if self.is_computed(name)]

    def activated(self, tensor: str) -> str:
        """Returns the value after the batch norm and activation function that follow a tensor, or it where none follow."""
        readers = self.consumers.get(tensor, [])
        if len(readers) == 1 and readers[0].op_type == "BatchNormalization":
            tensor = readers[0].output[0]
        return self._activated.get(tensor, tensor)

    def activations(self) -> int:
        """Returns the values after activation functions, as `above` does."""
        return sum(1 << self.order[tensor] for tensor in set(self._activated.values()))

    def with_bias(self, tensor: str) -> str:
        """Returns a dense layer's output after the bias, which some exporters add in a node of its own."""
        readers = self.consumers.get(tensor, [])
        if len(readers) == 1 and readers[0].op_type == "Add" and not all(map(self.is_computed, readers[0].input)):
            return readers[0].output[0]
        return tensor

    def is_computed(self, tensor: str) -> bool:
        """Tells whether a node makes the tensor from the values of the image, and not from its shape alone."""
        return tensor in self._values and tensor != self.graph.image

    def residual_additions(self) -> list[onnx.NodeProto]:
        """Lists the additions of two computed values, without those inside an activation function."""
        return [
            n
            for n in self.graph.nodes
            if n.op_type == "Add" and all(map(self.is_computed, n.input)) and n.output[0] not in self._inner
        ]

    def concatenations(self) -> list[onnx.NodeProto]:
        """Lists the concatenations of the channels of computed values."""
        return [
            n
            for n in self.graph.nodes
            if n.op_type == "Concat"
            and attributes(n).get("axis") in (1, 3, -1, -3)
            and len(values := self.joined(n)) > 1
            and len(values) == len(n.input)
            and not any(self.producers[value].op_type in RESHAPING for value in values)
        ]

    def is_pool(self, node: onnx.NodeProto) -> bool:
        """Tells whether a node pools places of the image, which a mean of channels or of tokens does not."""
        if node.op_type != "ReduceMean":
            return node.op_type in POOLS
        axes = attributes(node).get("axes")
        if axes is None and len(node.input) > 1 and node.input[1] in self.graph.weights:
            axes = self.graph.weights[node.input[1]].ravel().tolist()
        return axes is None or len(axes) > 1

    def source_convolution(self, tensor: str) -> onnx.NodeProto | None:
        """Returns the convolution that a tensor is the (activated) output of, or None."""
        node = self.producers.get(tensor)
        while node is not None and (node.op_type in ACTIVATIONS or node.op_type == "BatchNormalization"):
            node = self.producers.get(node.input[0])
        return node if node is not None and node.op_type == "Conv" else None

    def fires(self) -> dict[str, tuple[onnx.NodeProto, list[onnx.NodeProto]]]:
        """Maps the output of each fire module to its squeezing and its two expanding convolutions.

        A fire module (Iandola et al. 2016, arXiv 1602.07360) has a convolution of 1x1, which nothing else reads but two
        others of 1x1 and 3x3, whose outputs are concatenated.
        """
        modules = {}
        for node in self.graph.nodes:
            if node.op_type != "Concat" or len(node.input) != 2:
                continue
            expand = [e for e in map(self.source_convolution, node.input) if e is not None]
            if len(expand) < 2 or sorted(map(self.kernel, expand)) != [[1, 1], [3, 3]]:
                continue
            squeezed = expand[0].input[0]
            squeeze = self.source_convolution(squeezed)
            alone = expand[1].input[0] == squeezed and len(self.consumers[squeezed]) == 2
            if squeeze is not None and alone and self.kernel(squeeze) == [1, 1]:
                modules[self.activated(node.output[0])] = (squeeze, expand)
        return modules

    def kernel(self, convolution: onnx.NodeProto) -> list[int]:
        """Returns the (height, width) of a convolution's kernel."""
        if (stated := attributes(convolution).get("kernel_shape")) or convolution.input[1] not in self.graph.weights:
            return list(stated or ())
        return list(self.graph.weights[convolution.input[1]].shape[2:])

    def _activation(self, tensor: str) -> list[onnx.NodeProto]:
        """The nodes of the activation function that is taken of a tensor, the last one last; none where there is none.

        They begin at the tensor and end where all that is computed from it, value by value, comes together.
        """
        unread = {tensor: len(self.consumers.get(tensor, ()))}
        composite = unread[tensor] > 1
        waiting = self._readers(tensor)
        nodes: list[onnx.NodeProto] = []
        bent = False
        while waiting and len(nodes) < LARGEST_ACTIVATION:
            node = self.producers[self.tensors[heapq.heappop(waiting)]]
            if nodes and node is nodes[-1]:  # reads one tensor twice
                continue
            if node.op_type not in BENT | STRAIGHT or any(i in self._values and i not in unread for i in node.input):
                return []
            bent = bent or node.op_type in BENT
            for name in node.input:
                if name in unread:
                    unread[name] -= 1
            nodes.append(node)
            output = node.output[0]
            if bent and not any(unread.values()):
                return [*nodes, *(self._scaling(output) if composite else ())]
            unread[output] = len(self.consumers.get(output, ()))
            for place in self._readers(output):
                heapq.heappush(waiting, place)
        return []

    def _readers(self, tensor: str) -> list[int]:
        """The places of the nodes that read a tensor, in order, which is a heap."""
        return [self.order[node.output[0]] for node in self.consumers.get(tensor, ())]

    def _scaling(self, tensor: str) -> list[onnx.NodeProto]:
        """The products with a number that follow x * f(x), as in x * Clip(x + 3) / 6 and x * (1 + Erf(x)) * 0.5."""
        nodes: list[onnx.NodeProto] = []
        while len(readers := self.consumers.get(tensor, [])) == 1 and readers[0].op_type in ("Mul", "Div"):
            node = readers[0]
            others = [self.graph.weights.get(name) for name in node.input if name != tensor]
            if len(others) != 1 or others[0] is None or others[0].size != 1:
                break
            nodes.append(node)
            tensor = node.output[0]
        return nodes


def makes_brightness(node: onnx.NodeProto, graph: Graph) -> bool:
    """Whether a node makes the image's brightness for a network of one channel (`onnx.inputs`)."""
    return node.op_type == "Conv" and node.input[0] == graph.image and node.input[1].endswith(BRIGHTNESS)


def _renamed(node: onnx.NodeProto, graph: Graph) -> onnx.NodeProto:
    """A node, but the one that makes the image's brightness, which is no layer of the network."""
    if makes_brightness(node, graph):
        return helper.make_node("Identity", list(node.input[:1]), list(node.output), name=node.name)
    return node
