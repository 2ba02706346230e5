"""The modules of PyTorch and the layers of Keras that the nodes of a file come from, by how exporters name them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable

import onnx

SCOPES = "pkg.torch.onnx.name_scopes"  # metadata of PyTorch's newer exporter
LONGEST_SCOPES = 5000  # characters
COPIES = 0.9  # of the layers, from which a number at the end of every name is none of the layers' own


def modules_of(nodes: Iterable[onnx.NodeProto]) -> dict[str, tuple[str, ...]]:
    """Maps tensors to the names of the modules that they are made in, the outermost first.

    - PyTorch's newer exporter writes the modules into the metadata of a node: `['', 'layer1', 'layer1.0', 'add']`.
    - Its older one writes them into the name: `/layer1/layer1.0/conv1/Conv`.
    - tf2onnx writes Keras' layers into the name: `model/block_1_expand_relu/Relu6`. Keras 3 adds `_1` to each.
    """
    found: dict[str, tuple[str, ...]] = {}
    layers: dict[str, list[str]] = {}
    for node in nodes:
        name = next((n for n in (node.name, *node.output) if "/" in n), "")
        path = _scopes(node)
        if path is None and name.startswith("/"):
            path = _joined(name.strip("/").split("/")[:-1])
        if path is None and name:
            layers.update(dict.fromkeys(filter(None, node.output), name.split("/")[:-1]))
        if path:
            found.update(dict.fromkeys(filter(None, node.output), path))
    return found | _keras_paths(layers)


def parameter_module(name: str) -> str:
    """The module that a weight belongs to, by the weight's name; empty where it has none."""
    module, _, kind = name.rpartition(".")
    if kind in ("weight", "kernel"):
        return module
    parts = name.split("/")
    return "/".join(re.sub(r"_\d+$", "", part) for part in parts[:2]) if len(parts) > 2 else ""


def _scopes(node: onnx.NodeProto) -> tuple[str, ...] | None:
    text = next((entry.value for entry in node.metadata_props if entry.key == SCOPES), "")
    if not text or len(text) > LONGEST_SCOPES:
        return None
    try:
        scopes = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    if not isinstance(scopes, list) or not all(isinstance(scope, str) for scope in scopes):
        return None
    return tuple(scope for scope in scopes[:-1] if scope)  # the last is the operation


def _joined(parts: list[str]) -> tuple[str, ...]:
    """`['layer1', 'layer1.0', 'conv1']` as the paths `('layer1', 'layer1.0', 'layer1.0.conv1')`."""
    path: list[str] = []
    for part in parts:
        if path and part.startswith(f"{path[-1]}."):  # a container repeats its own name before the index
            path[-1] = part
        else:
            path.append(part)
    pieces = ".".join(path).split(".") if path else []
    return tuple(".".join(pieces[: count + 1]) for count in range(len(pieces)))


def _keras_paths(layers: dict[str, list[str]]) -> dict[str, tuple[str, ...]]:
    """The paths of nested layers, without a number that all of them have at the end."""
    names = {part for parts in layers.values() for part in parts[:2]}
    copies = [name for name in names if re.search(r"_1$", name)]
    if len(copies) >= COPIES * len(names):
        layers = {tensor: [re.sub(r"_1$", "", part) for part in parts] for tensor, parts in layers.items()}
    return {
        tensor: tuple("/".join(parts[: count + 1]) for count in range(len(parts))) for tensor, parts in layers.items() if parts
    }
