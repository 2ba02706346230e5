"""Stride and receptive field of the values in a Keras model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import keras

from tfinvert.networks.keras_graph import LayerGraph

Pair = tuple[int, int]


class Place(NamedTuple):
    """How a value sees the image, in pixels (height, width); None for a value that sees all of it, or where it is not known."""

    stride: Pair | None
    receptive_field: Pair | None


def places(graph: LayerGraph, shapes: Mapping[int, tuple[int, ...]]) -> dict[int, Place]:
    """Key -> Place.

    Args:
      graph: of the model.
      shapes: key -> [batch, ...], at the size of the images.
    """
    layers = keras.layers
    windowed = (layers.Conv2D, layers.DepthwiseConv2D, layers.SeparableConv2D)
    pooling = (layers.MaxPooling2D, layers.AveragePooling2D)
    padding = (layers.ZeroPadding2D, layers.Cropping2D)
    size = shapes[graph.image][1:3]
    found = {graph.image: Place((1, 1), (1, 1))}
    for step in graph.steps:
        if any(key not in shapes for key in (*step.reads, *step.writes)):
            continue
        operation = step.operation
        for key in step.writes:
            sides = shapes[key][1:3]
            above = [other for other in step.reads if len(shapes[other]) == 4]
            if len(shapes[key]) != 4 or not above or max(sides) == 1:
                found[key] = Place(None, None)
            elif isinstance(operation, windowed):
                found[key] = _through_window(found[above[0]], operation.kernel_size, operation.strides, operation.dilation_rate)
            elif isinstance(operation, pooling):
                found[key] = _through_window(found[above[0]], operation.pool_size, operation.strides, (1, 1))
            elif isinstance(operation, padding) or getattr(operation, "function", "") == "pad":
                found[key] = found[above[0]]
            else:
                # A gate of one position, such as that of squeeze and excitation, does not change what is seen.
                same = [found[other] for other in above if shapes[other][1:3] == sides]
                fields = [place.receptive_field for place in same]
                known = same and None not in fields and _keeps_places(operation)
                field = tuple(max(field[axis] for field in fields) for axis in (0, 1)) if known else None  # type: ignore[index]
                ratio = tuple(max(round(whole / side), 1) for whole, side in zip(size, sides, strict=True))
                found[key] = Place(same[0].stride if same else ratio, field)  # type: ignore[arg-type]
    return found


def _keeps_places(operation: Any) -> bool:
    """Whether a value depends on nothing but what is in its place, for layers of Keras and of `keras_builder`."""
    return getattr(operation, "keeps_places", type(operation).__module__.split(".")[0] == "keras")


def _through_window(place: Place, kernel: Pair, strides: Pair, dilations: Pair) -> Place:
    """What the values of a convolution or pool see, whose input sees `place`: r' = r + (k - 1) d s and s' = s t."""
    stride, field = place
    if stride is None:
        return Place(None, None)
    if field is not None:
        field = tuple(r + (k - 1) * d * s for r, k, d, s in zip(field, kernel, dilations, stride, strict=True))  # type: ignore
    return Place(tuple(s * t for s, t in zip(stride, strides, strict=True)), field)  # type: ignore[arg-type]
