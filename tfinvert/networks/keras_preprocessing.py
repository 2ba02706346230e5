"""How a Keras model takes its images, by its first layers, its first kernel and its name."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from tfinvert.networks import recognition, trainings
from tfinvert.networks.keras_graph import LayerGraph, Step
from tfinvert.networks.normalization import probes, taken_range_of_maps
from tfinvert.networks.recognition import Recognized

# The beginnings of the names of keras.applications' models that have no normalization inside, or can be made without.
APPLICATIONS = {
    "convnext": "torch",
    "densenet": "torch",
    "efficientnetv2": "tf",
    "inception": "tf",
    "mobilenet": "tf",
    "nasnet": "tf",
    "resnet50v2": "tf",
    "resnet101v2": "tf",
    "resnet152v2": "tf",
    "resnet50": "caffe",
    "resnet101": "caffe",
    "resnet152": "caffe",
    "resnet-rs": "torch",
    "vgg16": "caffe",
    "vgg19": "caffe",
    "xception": "tf",
}
SMALL_WEIGHT = 16  # values: what a normalization may have, and no kernel has


def recognize_model(graph: LayerGraph, size: tuple[int, int]) -> Recognized:
    """How a Keras model takes its images.

    What comes before the first weights tells it; else its first kernel, if its training is known; else the name of a model of
    keras.applications, which can be a part of this model. Else it is torch's way.

    Args:
      graph: the calls of the model.
      size: (height, width) of its images.
    """
    first = next((step for step in graph.steps if _kernels(step.operation)), None)
    if first is not None:
        if (preprocessing := _range_before(graph, first, size)) is not None:
            return recognition.inside(preprocessing)
        if graph.takes_bytes:
            return recognition.of_bytes()
        if (training := trainings.recognize(_as_onnx(_kernels(first.operation)[0]))) is not None:
            return recognition.of_training(training)
    for name in graph.models:
        for beginning, preprocessing in APPLICATIONS.items():
            if name.lower().startswith(beginning):
                return Recognized(preprocessing, f"as in keras.applications, by the name {name}")
    return recognition.assumed()


def _range_before(graph: LayerGraph, first: Step, size: tuple[int, int]) -> str | None:
    """What the operations before the first weights tell; None where there are none that change the values."""
    if len(first.reads) != 1 or first.reads[0] == graph.image:
        return None
    (key,) = first.reads
    try:
        values = graph.values(tf.constant(probes(size)), [key], "max")[key]
    except Exception:  # whatever a layer of the user's may raise; it will be seen again when the network is used
        return None
    return taken_range_of_maps(np.asarray(values, np.float32))


def _kernels(operation: Any) -> list[Any]:
    """The weights of a layer or operation that are more than a few numbers."""
    return [weight for weight in getattr(operation, "weights", ()) if np.prod(weight.shape) > SMALL_WEIGHT]


def _as_onnx(kernel: Any) -> np.ndarray | None:
    """A kernel [height, width, colors, filters] as [filters, colors, height, width]; None for one of another rank."""
    return np.asarray(kernel).transpose(3, 2, 0, 1) if len(kernel.shape) == 4 else None
