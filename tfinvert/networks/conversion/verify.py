"""The proof of a conversion: what onnxruntime computes, and how far a layer is from it."""

from __future__ import annotations

import numpy as np
import onnxruntime

from tfinvert.errors import InputError
from tfinvert.networks.onnx import Graph

TOLERANCE = 1e-4  # largest difference from onnxruntime, relative to a layer's largest value


def reference(graph: Graph, inputs: np.ndarray) -> dict[str, np.ndarray]:
    """The outputs of a graph by onnxruntime, channels first: tensor -> value.

    Args:
      graph: as it was read, before anything is folded.
      inputs: [1, 3, H, W], prepared for the network.

    Raises:
      InputError: onnxruntime cannot run the graph.
    """
    model = graph.proto(batch=1).SerializeToString()
    try:
        session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        values = session.run(list(graph.outputs), {graph.image: inputs})
    except Exception as error:  # its exceptions share no base class
        raise InputError(f"onnxruntime cannot run the network: {' '.join(str(error).split())[:300]}") from None
    return dict(zip(graph.outputs, values, strict=True))


def relative_error(layer: str, actual: np.ndarray, expected: np.ndarray) -> float:
    """max |actual - expected| / max |expected|.

    Args:
      layer: its name, for the error.
      actual: [1, height, width, channels] or [1, channels], by the converted network.
      expected: [1, channels, height, width] or [1, channels], by onnxruntime.

    Raises:
      InputError: the shapes differ, or the error is above TOLERANCE.
    """
    if expected.ndim == 4:
        expected = expected.transpose(0, 2, 3, 1)
    if actual.shape != expected.shape:
        raise InputError(f"layer {layer!r} was converted to the shape {actual.shape}; onnxruntime gives {expected.shape}")
    largest = float(np.abs(expected).max())
    error = float(np.abs(actual - expected).max()) / max(largest, 1e-12)
    if not error <= TOLERANCE:  # NaN is refused too
        raise InputError(
            f"layer {layer!r} differs from onnxruntime by {error:.1e} of its largest value ({largest:.4g}); "
            f"expected at most {TOLERANCE:.0e}: the conversion of this network cannot be trusted"
        )
    return error
