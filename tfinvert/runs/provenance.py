"""What run.json keeps about the origin of a run: network, weights, image, versions; and the memory that it needed."""

from __future__ import annotations

import dataclasses
import hashlib
import platform
import resource
import sys
from importlib.metadata import version
from typing import Any

import numpy as np
import tensorflow as tf

from tfinvert.networks.names import SCORES
from tfinvert.networks.network import Network
from tfinvert.settings.fields import Settings

PACKAGES = ("tfinvert", "tensorflow", "keras", "onnx", "onnx2tf", "onnxruntime", "numpy", "pillow")


def describe(settings: Settings, network: Network | None, images: np.ndarray | None) -> dict[str, Any]:
    """Describes what a run is made from: the first part of run.json.

    Args:
      settings: the settings of the run.
      network: the network, converted to `settings.layers_needed()`.
      images: the images that are optimized for, float32 [n, height, width, 3]; their pixels identify them.
    """
    info: dict[str, Any] = {"experiment": settings.experiment}
    if network is not None:
        layers = {name: dataclasses.asdict(network.layer(name)) for name in settings.layers_needed()}
        info |= {**network.provenance(), "layers": layers}
        if SCORES in layers:
            info["output"] = network.classes.output
    if images is not None:
        info["image_sha256"] = hashlib.sha256(images.tobytes()).hexdigest()
    image = getattr(settings, "image", ())
    return {
        **info,
        **({"image": ", ".join(image)} if image else {}),
        "seed": getattr(settings, "seed", None),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
        "devices": [device.name for device in tf.config.list_logical_devices()],
    }


def peak_memory_mb() -> float:
    """The largest resident memory in MB of this process, or of its converting process if that needed more."""
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) / unit
