"""What a name means in a Keras model: a layer's output, the class scores, or the last features with a place in the image."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import keras
import tensorflow as tf

from tfinvert.errors import InputError, choice_error
from tfinvert.networks.keras_graph import LayerGraph, Step
from tfinvert.networks.names import LAST, SCORES

POOLS = (
    keras.layers.MaxPooling2D,
    keras.layers.AveragePooling2D,
    keras.layers.GlobalMaxPooling2D,
    keras.layers.GlobalAveragePooling2D,
)
RESHAPING = (keras.layers.Flatten, keras.layers.Reshape, keras.layers.Dropout)


class Output(NamedTuple):
    """A named value of a model.

    Attributes:
      key: of a value of the model that has its shape.
      source: key of the value that it is made from.
      finish: what makes it from that.
    """

    key: int
    source: int
    finish: Callable[[tf.Tensor], tf.Tensor] = tf.identity


def find_output(graph: LayerGraph, name: str) -> Output:
    """The value that a name means: a layer of the graph, `scores` or `last`.

    Raises:
      InputError: there is no such layer, or no classifier.
    """
    if name in graph.layers:
        return Output(graph.layers[name], graph.layers[name])
    if name == SCORES:
        return _class_scores(graph)
    if name == LAST:
        return _last_features(graph)
    raise choice_error("layer", name, graph.layers)


def _class_scores(graph: LayerGraph) -> Output:
    """The unnormalized class scores: the model's output before its softmax, which can be a part of the last dense layer."""
    producers = graph.producers()
    if len(graph.outputs) != 1:
        raise InputError(f"the network has no class scores: it has {len(graph.outputs)} outputs; expected one")
    (key,) = (output,) = graph.outputs
    step = producers.get(key)
    while step is not None and (_is_softmax(step) or isinstance(step.operation, RESHAPING)):
        key = step.reads[0]
        output = key if _is_softmax(step) else output
        step = producers.get(key)
    if step is not None and isinstance(step.operation, keras.layers.Dense):
        dense = step.operation
        if dense.activation is keras.activations.linear:
            return Output(output, output)
        if dense.activation is keras.activations.softmax:
            return Output(step.writes[0], step.reads[0], functools.partial(_logits, dense))
    elif output != graph.outputs[0]:  # a softmax of something else, such as the mean of the last convolution
        return Output(output, output)
    end = f"with {step.operation.name!r} ({type(step.operation).__name__})" if step else "before its first layer"
    raise InputError(f"the network has no class scores: it ends {end}, not with a classifier")


def _logits(dense: keras.layers.Dense, value: tf.Tensor) -> tf.Tensor:
    """What a dense layer computes before its activation."""
    product = tf.matmul(tf.cast(value, tf.float32), tf.cast(dense.kernel, tf.float32))
    return product if dense.bias is None else product + tf.cast(dense.bias, tf.float32)


def _is_softmax(step: Step) -> bool:
    layer = step.operation
    return isinstance(layer, keras.layers.Softmax) or (
        isinstance(layer, keras.layers.Activation) and layer.activation is keras.activations.softmax
    )


def _last_features(graph: LayerGraph) -> Output:
    """What the last pooling before the class scores reads."""
    for step in reversed(graph.needed([_class_scores(graph).source])):
        if isinstance(step.operation, POOLS):
            return Output(step.reads[0], step.reads[0])
    raise InputError("the network has no pooling before its class scores; name a layer instead")
