"""The layer names of plain networks and of networks of fire modules, found in the structure of the graph."""

import itertools

from tfinvert.networks.onnx.operators import DENSE
from tfinvert.networks.structure import Structure


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
        elif structure.is_pool(node):
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
    nodes = structure.graph.nodes
    convolutions = [n for n in nodes if n.op_type == "Conv"]
    # An adaptive pool that follows another one does not count.
    steps = [n.op_type == "Conv" for n in nodes if n.op_type == "Conv" or structure.is_pool(n)]
    pools = sum(before and not after for before, after in itertools.pairwise(steps))
    in_blocks = 0 < pools < len(convolutions) and all(structure.kernel(c) == [3, 3] for c in convolutions)
    index, place = (1, 0) if in_blocks else (0, 0)
    pooled = False  # since the last convolution
    for node in nodes:
        output = node.output[0]
        if node.op_type == "Conv":
            pooled = False
            if in_blocks:
                place += 1
                names[f"conv{index}_{place}"] = structure.activated(output)
            else:
                index += 1
                names[f"conv{index}"] = structure.activated(output)
        elif node.op_type == "LRN":
            names[f"norm{index}"] = output
        elif structure.is_pool(node):
            names["avgpool" if pooled else f"pool{index}"] = output
            if in_blocks and not pooled:
                index, place = index + 1, 0
            pooled = True
        elif node.op_type in DENSE:
            if not in_blocks:
                index += 1
            names[f"fc{index}"] = structure.with_bias(output)
            if in_blocks:
                index += 1
    return names
