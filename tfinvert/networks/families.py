"""The layer names of three families of networks, each found in the structure of its graph. `names` chooses the family."""

import onnx

from tfinvert.networks.onnx import Graph, attributes
from tfinvert.networks.onnx.operators import ACTIVATIONS, DENSE, POOLS


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
        self.graph = graph
        self.producers = graph.producers()
        self.consumers = graph.consumers()
        self.tensors = graph.tensors()
        self.order = {tensor: position for position, tensor in enumerate(self.tensors)}
        # Sets of tensors as the bits of a number: thousands of sets of thousands take a megabyte.
        self._ancestors: dict[str, int] = {}
        for node in graph.nodes:  # topological, so the sets of the inputs are complete
            above = 0
            for name in node.input:
                above |= self.above(name)
            for output in filter(None, node.output):
                self._ancestors[output] = above | 1 << self.order[output]

    def above(self, tensor: str) -> int:
        """Returns the computed tensors that this one is made from, itself included: bit n is the n-th of `tensors`."""
        return self._ancestors.get(tensor, 0)

    def activated(self, tensor: str) -> str:
        """Returns the value after the batch norm and activation that follow a tensor, or the tensor where none follow."""
        for kind in ("BatchNormalization", *ACTIVATIONS):
            readers = self.consumers.get(tensor, [])
            if len(readers) == 1 and readers[0].op_type == kind:
                tensor = readers[0].output[0]
                if kind in ACTIVATIONS:
                    break
        return tensor

    def with_bias(self, tensor: str) -> str:
        """Returns a dense layer's output after the bias, which some exporters add in a node of its own."""
        readers = self.consumers.get(tensor, [])
        if len(readers) == 1 and readers[0].op_type == "Add" and not all(map(self.is_computed, readers[0].input)):
            return readers[0].output[0]
        return tensor

    def is_computed(self, tensor: str) -> bool:
        """Tells whether a node makes the tensor."""
        return tensor in self.producers

    def residual_additions(self) -> list[onnx.NodeProto]:
        """Lists the additions of two computed values."""
        return [n for n in self.graph.nodes if n.op_type == "Add" and all(map(self.is_computed, n.input))]

    def source_convolution(self, tensor: str) -> onnx.NodeProto | None:
        """Returns the convolution that a tensor is the (activated) output of, or None."""
        node = self.producers.get(tensor)
        while node is not None and (node.op_type in ACTIVATIONS or node.op_type == "BatchNormalization"):
            node = self.producers.get(node.input[0])
        return node if node is not None and node.op_type == "Conv" else None

    def fires(self) -> dict[str, tuple[onnx.NodeProto, list[onnx.NodeProto]]]:
        """Maps the output of each fire module to its squeezing and its two expanding convolutions."""
        modules = {}
        for node in self.graph.nodes:
            if node.op_type != "Concat" or len(node.input) != 2:
                continue
            expand = [e for e in map(self.source_convolution, node.input) if e is not None]
            if len(expand) == 2 and expand[0].input[0] == expand[1].input[0]:
                squeeze = self.source_convolution(expand[0].input[0])
                if squeeze is not None:
                    modules[self.activated(node.output[0])] = (squeeze, expand)
        return modules

    def kernel(self, convolution: onnx.NodeProto) -> list[int]:
        """Returns the (height, width) of a convolution's kernel."""
        return list(attributes(convolution).get("kernel_shape") or self.graph.weights[convolution.input[1]].shape[2:])


def name_residual_network(structure: Structure) -> dict[str, str]:
    """Maps layer names to tensors in a residual network (He et al. 2015, arXiv 1512.03385)."""
    names: dict[str, str] = {}
    additions = structure.residual_additions()
    tensors, producers = structure.tensors, structure.producers
    activations = sum(1 << i for i, tensor in enumerate(tensors) if producers[tensor].op_type in ACTIVATIONS)
    for block, addition in enumerate(additions, start=1):
        left, right = (structure.above(i) for i in addition.input)
        # The block starts where its two branches part.
        common = left & right
        inside = left | right
        if common:
            inside &= ~structure.above(tensors[common.bit_length() - 1])
        inside &= activations
        if inside:
            names[f"middle{block - 1}"] = tensors[(inside & -inside).bit_length() - 1]
        names[f"res{block}"] = structure.activated(addition.output[0])
    stem = structure.above(additions[0].output[0])
    order, last = structure.order, structure.order[additions[-1].output[0]]
    for node in structure.graph.nodes:
        output = node.output[0]
        if node.op_type == "Conv" and "conv1" not in names:
            names["conv1"] = structure.activated(output)
        elif node.op_type in POOLS and stem >> order[output] & 1 and "pool1" not in names:
            names["pool1"] = output
        elif node.op_type in POOLS and structure.above(output) >> last & 1:
            names["avgpool"] = output
        elif node.op_type in DENSE:
            names["fc"] = structure.with_bias(output)
    return names


def name_fire_network(structure: Structure) -> dict[str, str]:
    """Maps layer names to tensors in a network of fire modules (SqueezeNet: Iandola et al. 2016, arXiv 1602.07360)."""
    names: dict[str, str] = {}
    fires = structure.fires()
    inside = {id(node) for squeeze, expand in fires.values() for node in (squeeze, *expand)}
    index = module = 0
    for node in structure.graph.nodes:
        output = node.output[0]
        if node.op_type == "Conv" and id(node) not in inside:
            index += 1
            names[f"conv{index}"] = structure.activated(output)
            if module == 0:  # torchvision's classifier is a module of its own
                names["features.0"], names["features.1"] = output, structure.activated(output)
                module = 2
        elif node.op_type in POOLS:
            names[f"pool{index}"] = output
            if node.op_type == "MaxPool":
                names[f"features.{module}"] = output
                module += 1
        elif node.op_type == "Concat" and (fire := structure.activated(output)) in fires:
            index += 1
            squeeze, expand = fires[fire]
            names[f"fire{index}/squeeze1x1"] = structure.activated(squeeze.output[0])
            for convolution in expand:
                size = "x".join(map(str, structure.kernel(convolution)))
                names[f"fire{index}/expand{size}"] = structure.activated(convolution.output[0])
            names[f"fire{index}"] = fire
            names[f"features.{module}"] = fire
            module += 1
        elif node.op_type in DENSE:
            index += 1
            names[f"fc{index}"] = structure.with_bias(output)
    return names


def name_chain(structure: Structure) -> dict[str, str]:
    """Maps layer names to tensors in any other network, as in VGG (arXiv 1409.1556) or AlexNet."""
    names: dict[str, str] = {}
    convolutions = [n for n in structure.graph.nodes if n.op_type == "Conv"]
    pools = [n for n in structure.graph.nodes if n.op_type in POOLS]
    in_blocks = bool(pools) and len(convolutions) > len(pools) and all(structure.kernel(c) == [3, 3] for c in convolutions)
    index, place = (1, 0) if in_blocks else (0, 0)
    for node in structure.graph.nodes:
        output = node.output[0]
        if node.op_type == "Conv":
            if in_blocks:
                place += 1
                names[f"conv{index}_{place}"] = structure.activated(output)
            else:
                index += 1
                names[f"conv{index}"] = structure.activated(output)
        elif node.op_type == "LRN":
            names[f"norm{index}"] = output
        elif node.op_type in POOLS:
            names[f"pool{index}"] = output
            if in_blocks:
                index, place = index + 1, 0
        elif node.op_type in DENSE:
            if not in_blocks:
                index += 1
            names[f"fc{index}"] = structure.with_bias(output)
            if in_blocks:
                index += 1
    return names
