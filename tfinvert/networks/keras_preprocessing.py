"""Which preprocessing a Keras model expects, read from its layers and its name."""

from __future__ import annotations

import keras
import numpy as np

from tfinvert.networks.keras_graph import LayerGraph

# The beginnings of the names of keras.applications' models, without those that have it inside. The longer ones come first.
APPLICATIONS = {
    "resnet50v2": "tf",
    "resnet101v2": "tf",
    "resnet152v2": "tf",
    "inception": "tf",
    "mobilenet": "tf",
    "nasnet": "tf",
    "xception": "tf",
    "densenet": "torch",
    "resnet": "caffe",
    "vgg": "caffe",
}


def keras_preprocessing(graph: LayerGraph) -> str:
    """The key of `preprocessing.PREPROCESSING` that fits a Keras model.

    A layer or operation before the first weights that scales the image says that the preprocessing is in the model: then the
    model takes values from 0 to 255, or from 0 to 1 where the scale is that large. Else the name of a model of
    keras.applications, which can be a part of this model, says it; else it is torch's.
    """
    for step in graph.steps:
        operation = step.operation
        if isinstance(operation, keras.layers.Rescaling):
            return _range(operation.scale)
        if isinstance(operation, keras.layers.Normalization):
            return _range(1 / np.sqrt(np.asarray(operation.variance)))
        if not isinstance(operation, keras.Layer):
            return "0..255"
        if operation.weights:
            break
    for name in graph.models:
        for beginning, preprocessing in APPLICATIONS.items():
            if name.lower().startswith(beginning):
                return preprocessing
    return "torch"


def _range(scale: object) -> str:
    """What a model takes that multiplies the image by this first."""
    return "0..255" if np.max(np.abs(np.asarray(scale, np.float64))) < 0.5 else "none"
