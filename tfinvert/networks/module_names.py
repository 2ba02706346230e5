"""The tensors that the modules of PyTorch and the layers of Keras return, found in where the nodes of a file come from."""

from __future__ import annotations

from tfinvert.networks.onnx import Graph, parameter_module
from tfinvert.networks.onnx.operators import DENSE


def module_outputs(graph: Graph) -> dict[str, str]:
    """Maps the names of modules to the tensors that they return, in the order of the network.

    What a module returns is what nodes outside of it read; the last such tensor, where there are several.

    Args:
      graph: a tidied graph.
    """
    inside: dict[str, set[str]] = {}
    for tensor, modules in graph.modules.items():
        for module in modules:
            inside.setdefault(module, set()).add(tensor)
    order = {tensor: position for position, tensor in enumerate(graph.tensors())}
    readers = graph.consumers()
    outputs = {}
    for module, tensors in inside.items():
        returned = set()
        for tensor in tensors:
            value = graph.resolve(tensor)
            read = [reader for reader in readers.get(value, ()) if not tensors.intersection(reader.output)]
            if value in order and (read or value in graph.outputs):
                returned.add(value)
        if returned:
            outputs[module] = max(returned, key=order.__getitem__)
    for node in graph.nodes:  # modules of which only the weights are left, because another one was folded into them
        if node.op_type in {"Conv", *DENSE} and len(node.input) > 1 and (module := parameter_module(node.input[1])):
            outputs.setdefault(module, node.output[0])
    return dict(sorted(outputs.items(), key=lambda item: order[item[1]]))


def find_module(outputs: dict[str, str], name: str) -> str | None:
    """The tensor of a module by its name, or by the end of its name where that is one module's; None for no module."""
    if name in outputs:
        return outputs[name]
    found = {tensor for module, tensor in outputs.items() if module.endswith((f".{name}", f"/{name}"))}
    return found.pop() if len(found) == 1 else None
