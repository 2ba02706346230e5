"""The field's names for a network's layers, found from the structure of its graph and not from its spelling.

There are three families:

- Networks of modules (`modular_networks`) have `conv1` and `pool1`; then their modules; then `avgpool` and `fc`.
  - The k-th residual block has `res{k}`, its output after the addition and ReLU, and `middle{k-1}`, the first activation
    in it. Where some blocks end without an addition, in a linear bottleneck, `block{k}` counts all of them from 1.
  - Branches that are concatenated are `mixed0`, `mixed1`, ..., with the convolutions and pools outside of them.
  - Dense blocks are `denseblock{k}`, with `transition{k}` between them.
  - Transformers have `patch_embed` and `block0`, `block1`, ..., the tokens after attention and perceptron.
- Networks of fire modules (two convolutions of 1x1 and 3x3 of one squeezed value) have `conv1`, `fire2`..., `pool{n}` after
  the n-th of them, `conv10` and `pool10`, the squeeze and expand values inside (`fire2/squeeze1x1`), and the indices of
  torchvision's `features` module (`features.0`...).
- All others are chains. With 3x3 convolutions in blocks between pools they have `conv{block}_{i}` and `pool{block}` as
  in VGG, else `conv{n}`, `norm{n}` and `pool{n}` as in AlexNet; then `fc{n}`.

A convolution's name means the value after its batch norm and activation function, as in Caffe's in-place layers and in
the homework. The function can be written in several nodes (SiLU, HardSwish, GELU).
The `fc` names are the linear outputs. Two names say what a tensor is for: `scores` are the class scores before any
softmax, and `last` are the last features that have a place in the image.

A module of PyTorch (`layer3.1`, `features.denseblock2`) or a layer of Keras (`block_6_expand_relu`), whose names exporters
write into the file, means what it returns (`module_names`). Every tensor can also be named as the file spells it.
"""

from collections.abc import Iterable
from typing import NamedTuple

from tfinvert.networks import families, heads
from tfinvert.networks import onnx as graphs
from tfinvert.networks.modular_networks import find_modules, name_modular_network
from tfinvert.networks.module_names import find_module, module_outputs
from tfinvert.networks.onnx import Graph, cut, features_shape, geometry, settle, shapes, with_pooling
from tfinvert.networks.onnx.operators import POOLS
from tfinvert.networks.structure import Structure
from tfinvert.system.errors import InputError, choice_error

SCORES, LAST = "scores", "last"


class LayerGeometry(NamedTuple):
    """What a layer is, before anything is converted.

    Attributes:
      tensor: its name in the .onnx file.
      shape: of one image's features, [height, width, channels], [tokens, channels] or [channels].
      stride: pixels between neighboring features, (height, width), or None where they have no place in the image.
      receptive_field: pixels that a feature depends on, (height, width), or None where it sees the whole image.
    """

    tensor: str
    shape: tuple[int, ...]
    stride: tuple[int, int] | None
    receptive_field: tuple[int, int] | None


def layer_names(graph: Graph) -> dict[str, str]:
    """Maps the names of all layers to tensors, in the order of the network.

    Several names can stand for one tensor (`conv1` and `features.1`).

    Args:
      graph: a tidied, uncut graph.
    """
    structure = Structure(graph)
    fires, modules = structure.fires(), find_modules(structure)
    if fires and all(structure.activated(module.end) in fires for module in modules):
        names = families.name_fire_network(structure)
    elif modules or structure.residual_additions():
        names = name_modular_network(structure, modules)
    else:
        names = families.name_chain(structure)
    return dict(sorted(names.items(), key=lambda item: structure.order[item[1]]))


def resolve_layers(graph: Graph, names: Iterable[str] = ()) -> dict[str, str]:
    """Maps the layers that a user names to tensors.

    Args:
      graph: a tidied, uncut graph.
      names: layer names, modules of PyTorch or layers of Keras, names of tensors or nodes, `scores` or `last`; none for all
        layers that have names.

    Raises:
      InputError: there is no such layer, or there are no layers with names.
    """
    refused = graphs.unsupported(graph)
    known = {name: tensor for name, tensor in layer_names(graph).items() if names or tensor not in refused}
    modules = module_outputs(graph)
    nodes = {node.name: node.output[0] for node in graph.nodes if node.name}
    by_purpose = {SCORES: scores, LAST: last_features}
    tensors = {*graph.tensors(), *graph.aliases}
    layers = {}
    for name in tuple(names) or known or modules:
        if name in known:
            layers[name] = known[name]
        elif name in tensors:
            layers[name] = graph.resolve(name)
        elif (tensor := find_module(modules, name)) is not None:
            layers[name] = tensor
        elif name in by_purpose:
            layers[name] = by_purpose[name](graph)
        elif name in nodes:
            layers[name] = nodes[name]
        else:
            raise unknown_layer(name, (*known, *modules))
    if not layers:
        raise InputError("the network has no layers with names of their own; name tensors of the file with --layers")
    return layers


def unknown_layer(name: str, known: Iterable[str]) -> InputError:
    """The error for a name that is none of a layer, with the nearest of those that are."""
    return InputError(f"{choice_error('layer', name, known)}; the names of the file's tensors work, too")


def scores(graph: Graph) -> str:
    """Returns the tensor of the unnormalized class scores, before any softmax or sigmoid.

    Raises:
      InputError: no output of the graph ends with a classifier, or several do.
    """
    return heads.find_head(graph).tensor


def last_features(graph: Graph) -> str:
    """Returns the last features that have a place in the image: what the last pooling before the class scores reads.

    Raises:
      InputError: there are no class scores, or nothing before them has a place in the image.
    """
    producers = graph.producers()
    output = tensor = scores(graph)
    below = []
    while tensor in producers:
        node = producers[tensor]
        if node.op_type in POOLS:
            return node.input[0]
        tensor = next((i for i in node.input if i in producers), "")
        below.append(tensor)
    sizes = shapes(settle(cut(graph, [output])))
    for tensor in below:
        if len(sizes.get(tensor, ())) == 4 and max(sizes[tensor][2:]) > 1:
            return tensor
    raise InputError("nothing before the class scores of the network has a place in the image; name a layer with --layers")


def describe(graph: Graph, names: Iterable[str] | None = None, pool: str = "max") -> dict[str, LayerGeometry]:
    """Describes layers of a network at the size of its graph, without converting it and without its weights.

        graph = resized(tidy(topologies.resnet18()), (64, 64))
        describe(graph, ["res2"])["res2"].shape  # (16, 16, 64)

    Args:
      graph: a tidied, uncut graph.
      names: layer names, names of tensors, `scores` or `last`. None for all layers that have names, without the last ones
        where those do not fit images of this size, such as the dense layers of a network for another size.
      pool: "max", or "avg" for average pools in place of max pools.

    Returns:
      Layer name -> its tensor, shape, stride and receptive field, in the order of `names` or of the network.

    Raises:
      InputError: there is no layer of that name, or a named layer, or every layer, does not fit images of this size.
    """
    layers = layer_names(graph) if names is None else resolve_layers(graph, names)
    refused = graphs.unsupported(graph) if names is None else frozenset()
    layers = {name: tensor for name, tensor in layers.items() if tensor not in refused}
    while layers:
        try:
            places = geometry(with_pooling(settle(cut(graph, layers.values())), pool))
        except InputError:
            if names is not None or len(layers) == 1:
                raise
            layers.popitem()
            continue
        found = {name: (tensor, places[tensor]) for name, tensor in layers.items()}
        return {
            name: LayerGeometry(tensor, features_shape(place), place.stride, place.receptive_field)
            for name, (tensor, place) in found.items()
        }
    return {}
