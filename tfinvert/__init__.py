"""See what a neural network keeps of an image.

    import tfinvert

    network = tfinvert.load("resnet18")
    features = network.features("astronaut", "res2")
    result = tfinvert.invert("astronaut", network, layers="res2")

Every experiment of the command line is a function here, with the same settings: `invert`, `saliency`, `fool`, `style`,
`class_vis`, and the others in `tfinvert.experiments.names()`. `optimize` takes terms of the loss that you write yourself.
"""

from __future__ import annotations

import importlib
import os
import platform
from typing import Any

__version__ = "0.2.0"
# TensorFlow reads it when it is imported, and leaves oneDNN off on processors without AVX-512 VNNI or AMX. There, too, it takes
# half the time (docs/performance.md), and without it TensorFlow cannot differentiate convolutions in groups.
if platform.machine().lower() in ("x86_64", "amd64"):
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
# Public name -> where it is. Nothing is imported before it is used, so that `import tfinvert` takes no time.
_PLACES = {
    "InputError": "tfinvert.system.errors:InputError",
    "Layer": "tfinvert.networks.layer:Layer",
    "Network": "tfinvert.networks.network:Network",
    "NonFiniteLossError": "tfinvert.system.errors:NonFiniteLossError",
    "Result": "tfinvert.runs.result:Result",
    "Term": "tfinvert.objectives.terms:Term",
    "experiment": "tfinvert.library:function",
    "load": "tfinvert.networks.load:load",
    "metrics": "tfinvert.metrics:",
    "optimize": "tfinvert.library:optimize",
    "terms": "tfinvert.objectives.terms:",
}


def __getattr__(name: str) -> Any:
    if name in _PLACES:
        module, _, attribute = _PLACES[name].partition(":")
        if "objectives" in module:
            importlib.import_module("tfinvert.system.tensorflow").import_tensorflow()
        value: Any = importlib.import_module(module)
        value = getattr(value, attribute) if attribute else value
    elif name in _experiments():
        value = importlib.import_module("tfinvert.library").function(name)
    else:
        raise AttributeError(f"module 'tfinvert' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*_PLACES, *_experiments(), "__version__"})


def _experiments() -> tuple[str, ...]:
    # `from tfinvert import experiments` would ask this module for the name before it imports it.
    return importlib.import_module("tfinvert.experiments").names()
