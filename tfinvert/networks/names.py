"""The field's names for a network's layers, found from the shape of its graph and not from its spelling.

Three families are told apart:

- residual networks (an `Add` of two computed values): `conv1`, `pool1`, then for the k-th residual block `res{k}`, its
  output after the addition and ReLU, and `middle{k-1}`, the first ReLU inside it; `avgpool`, `fc`;
- networks of fire modules (a `Concat` of two convolutions of one squeezed value): `conv1`, `fire2`..., `pool{n}` after
  the n-th of them, `conv10`, `pool10`, with the squeeze and expand values inside (`fire2/squeeze1x1`), and the indices
  of torchvision's `features` module (`features.0`...);
- chains: of 3x3 convolutions in blocks between pools, `conv{block}_{i}` and `pool{block}` as in VGG, else `conv{n}`,
  `norm{n}` and `pool{n}` as in AlexNet; then `fc{n}`.

A convolution's name means the value after its batch norm and ReLU, as in Caffe's in-place layers and in the homework;
`fc` names are the linear outputs. Every tensor of the file can also be named as the file spells it, and two by what they
are for: `scores`, the class scores before any softmax, and `last`, the last features with a place in the picture.
"""

import onnx

from tfinvert.errors import InputError
from tfinvert.networks.onnx.graph import Graph, attributes

ACTIVATIONS = frozenset("Relu LeakyRelu Clip Elu Selu Sigmoid HardSwish HardSigmoid Tanh Softplus".split())
POOLS = frozenset("MaxPool AveragePool GlobalAveragePool GlobalMaxPool ReduceMean".split())
DENSE = frozenset(("Gemm", "MatMul"))
RESHAPING = frozenset("Flatten Reshape Squeeze Unsqueeze".split())
SCORES, LAST = "scores", "last"


def layer_names(graph: Graph) -> dict[str, str]:
    """Layer name -> tensor, in the order of the network. `graph` is tidy and whole.

    Several names can stand for one tensor (`conv1` and `features.1`).
    """
    walk = _Walk(graph)
    if walk.residual_additions():
        names = _residual_names(walk)
    elif walk.fires():
        names = _fire_names(walk)
    else:
        names = _chain_names(walk)
    order = {tensor: position for position, tensor in enumerate(graph.tensors())}
    return dict(sorted(names.items(), key=lambda item: order[item[1]]))


def scores(graph: Graph) -> str:
    """The tensor of the unnormalized class scores: the graph's output, before a softmax if it ends with one.

    Raises:
      InputError: the graph ends before it has sorted anything into classes.
    """
    producers = graph.producers()
    output = tensor = graph.resolve(graph.outputs[0])
    node = producers.get(tensor)
    while node is not None and node.op_type in {"Softmax", *RESHAPING}:
        tensor = node.input[0]
        if node.op_type == "Softmax":
            output = tensor
        node = producers.get(tensor)
    if node is None:
        raise InputError(f"the network has no class scores: it ends with {graph.outputs[0]!r}, which is only its picture")
    with_bias = node.op_type == "Add" and any(i in producers and producers[i].op_type in DENSE for i in node.input)
    if not (node.op_type in DENSE or with_bias or node.op_type in POOLS - {"MaxPool"}):
        raise InputError(f"the network has no class scores: it ends with {tensor!r} ({node.op_type}), not with a classifier")
    return output


def last_features(graph: Graph) -> str:
    """What the last pooling before the class scores reads: the last features that have a place in the picture.

    Raises:
      InputError: there are no class scores, or no pooling before them.
    """
    producers = graph.producers()
    tensor = scores(graph)
    while tensor in producers:
        node = producers[tensor]
        if node.op_type in POOLS:
            return node.input[0]
        tensor = next((i for i in node.input if i in producers), "")
    raise InputError("the network has no pooling before its class scores; name a layer with --layers")


class _Walk:
    """Questions about a graph's structure that all families ask."""

    def __init__(self, graph: Graph):
        self.graph = graph
        self.producers = graph.producers()
        self.consumers = graph.consumers()
        self.order = {tensor: position for position, tensor in enumerate(graph.tensors())}
        self.tensors = graph.tensors()
        # Sets of tensors as the bits of a number: thousands of sets of thousands take a megabyte.
        self._ancestors: dict[str, int] = {}
        for node in graph.nodes:  # topological, so the inputs' sets are there
            above = 0
            for name in node.input:
                above |= self.above(name)
            for output in filter(None, node.output):
                self._ancestors[output] = above | 1 << self.order[output]

    def above(self, tensor: str) -> int:
        """The computed tensors that this one is made from, itself included: bit n is the n-th of `tensors`."""
        return self._ancestors.get(tensor, 0)

    def activated(self, tensor: str) -> str:
        """The value after the batch norm and activation that follow a tensor, if they do."""
        for kind in ("BatchNormalization", *ACTIVATIONS):
            readers = self.consumers.get(tensor, [])
            if len(readers) == 1 and readers[0].op_type == kind:
                tensor = readers[0].output[0]
                if kind in ACTIVATIONS:
                    break
        return tensor

    def is_computed(self, tensor: str) -> bool:
        return tensor in self.producers

    def residual_additions(self) -> list[onnx.NodeProto]:
        return [n for n in self.graph.nodes if n.op_type == "Add" and all(map(self.is_computed, n.input))]

    def source_convolution(self, tensor: str) -> onnx.NodeProto | None:
        """The convolution that a tensor is the (activated) output of."""
        node = self.producers.get(tensor)
        while node is not None and (node.op_type in ACTIVATIONS or node.op_type == "BatchNormalization"):
            node = self.producers.get(node.input[0])
        return node if node is not None and node.op_type == "Conv" else None

    def fires(self) -> dict[str, tuple[onnx.NodeProto, list[onnx.NodeProto]]]:
        """Output of a fire module -> its squeezing and its two expanding convolutions."""
        found = {}
        for node in self.graph.nodes:
            if node.op_type != "Concat" or len(node.input) != 2:
                continue
            expand = [e for e in map(self.source_convolution, node.input) if e is not None]
            if len(expand) == 2 and expand[0].input[0] == expand[1].input[0]:
                squeeze = self.source_convolution(expand[0].input[0])
                if squeeze is not None:
                    found[self.activated(node.output[0])] = (squeeze, expand)
        return found

    def kernel(self, convolution: onnx.NodeProto) -> list[int]:
        return list(attributes(convolution).get("kernel_shape") or self.graph.weights[convolution.input[1]].shape[2:])


def _residual_names(walk: _Walk) -> dict[str, str]:
    names: dict[str, str] = {}
    additions = walk.residual_additions()
    activations = sum(1 << i for i, tensor in enumerate(walk.tensors) if walk.producers[tensor].op_type in ACTIVATIONS)
    for block, addition in enumerate(additions, start=1):
        left, right = (walk.above(i) for i in addition.input)
        # The block starts where its two branches part.
        common = left & right
        inside = left | right
        if common:
            inside &= ~walk.above(walk.tensors[common.bit_length() - 1])
        inside &= activations
        if inside:
            names[f"middle{block - 1}"] = walk.tensors[(inside & -inside).bit_length() - 1]
        names[f"res{block}"] = walk.activated(addition.output[0])
    stem = walk.above(additions[0].output[0])
    order, last = walk.order, walk.order[additions[-1].output[0]]
    for node in walk.graph.nodes:
        output = node.output[0]
        if node.op_type == "Conv" and "conv1" not in names:
            names["conv1"] = walk.activated(output)
        elif node.op_type in POOLS and stem >> order[output] & 1 and "pool1" not in names:
            names["pool1"] = output
        elif node.op_type in POOLS and walk.above(output) >> last & 1:
            names["avgpool"] = output
        elif node.op_type in DENSE:
            names["fc"] = _with_bias(walk, output)
    return names


def _fire_names(walk: _Walk) -> dict[str, str]:
    names: dict[str, str] = {}
    fires = walk.fires()
    inside = {id(node) for squeeze, expand in fires.values() for node in (squeeze, *expand)}
    index = module = 0
    for node in walk.graph.nodes:
        output = node.output[0]
        if node.op_type == "Conv" and id(node) not in inside:
            index += 1
            names[f"conv{index}"] = walk.activated(output)
            if module == 0:  # torchvision's classifier is a module of its own
                names["features.0"], names["features.1"] = output, walk.activated(output)
                module = 2
        elif node.op_type in POOLS:
            names[f"pool{index}"] = output
            if node.op_type == "MaxPool":
                names[f"features.{module}"] = output
                module += 1
        elif node.op_type == "Concat" and (fire := walk.activated(output)) in fires:
            index += 1
            squeeze, expand = fires[fire]
            names[f"fire{index}/squeeze1x1"] = walk.activated(squeeze.output[0])
            for convolution in expand:
                size = "x".join(map(str, walk.kernel(convolution)))
                names[f"fire{index}/expand{size}"] = walk.activated(convolution.output[0])
            names[f"fire{index}"] = fire
            names[f"features.{module}"] = fire
            module += 1
        elif node.op_type in DENSE:
            index += 1
            names[f"fc{index}"] = _with_bias(walk, output)
    return names


def _chain_names(walk: _Walk) -> dict[str, str]:
    names: dict[str, str] = {}
    convolutions = [n for n in walk.graph.nodes if n.op_type == "Conv"]
    pools = [n for n in walk.graph.nodes if n.op_type in POOLS]
    in_blocks = bool(pools) and len(convolutions) > len(pools) and all(walk.kernel(c) == [3, 3] for c in convolutions)
    index, place = (1, 0) if in_blocks else (0, 0)
    for node in walk.graph.nodes:
        output = node.output[0]
        if node.op_type == "Conv":
            if in_blocks:
                place += 1
                names[f"conv{index}_{place}"] = walk.activated(output)
            else:
                index += 1
                names[f"conv{index}"] = walk.activated(output)
        elif node.op_type == "LRN":
            names[f"norm{index}"] = output
        elif node.op_type in POOLS:
            names[f"pool{index}"] = output
            if in_blocks:
                index, place = index + 1, 0
        elif node.op_type in DENSE:
            if not in_blocks:
                index += 1
            names[f"fc{index}"] = _with_bias(walk, output)
            if in_blocks:
                index += 1
    return names


def _with_bias(walk: _Walk, output: str) -> str:
    """A dense layer's output after the bias, where an exporter adds it in a node of its own."""
    readers = walk.consumers.get(output, [])
    if len(readers) == 1 and readers[0].op_type == "Add" and not all(map(walk.is_computed, readers[0].input)):
        return readers[0].output[0]
    return output
