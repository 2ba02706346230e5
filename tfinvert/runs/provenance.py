"""What a run was made from, as run.json keeps it, and what it needed."""

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

from tfinvert.networks.conversion.convert import Request
from tfinvert.networks.network import Network
from tfinvert.settings.config import RunConfig

PACKAGES = ("tfinvert", "tensorflow", "keras", "onnx", "onnx2tf", "onnxruntime", "numpy", "pillow")


def describe(config: RunConfig, network: Network, request: Request, image: np.ndarray) -> dict[str, Any]:
    """The start of run.json: the network, its weights and layers, the picture [batch, H, W, 3], versions, devices."""
    return {
        "experiment": config.experiment,
        "network": network.name,
        "weights": network.weights_origin,
        "onnx_sha256": request.sha256,
        "preprocessing": request.preprocessing,
        "pool": config.pool,
        "image": config.image,
        "image_sha256": hashlib.sha256(image.tobytes()).hexdigest(),  # of the pixels as they are optimized for
        "size": list(network.size),
        "seed": config.seed,
        "layers": {name: dataclasses.asdict(layer) for name, layer in network.layers.items()},
        "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
        "devices": [device.name for device in tf.config.list_logical_devices()],
    }


def peak_memory_mb() -> float:
    """Of this process, or of the converting one if that needed more."""
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) / unit
