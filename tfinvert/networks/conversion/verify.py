"""The proof of a conversion: what onnxruntime computes, and how far a layer is from it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnxruntime

from tfinvert.networks.onnx import Graph
from tfinvert.networks.preprocessing import Preprocessing
from tfinvert.system.errors import InputError

TOLERANCE = 1e-4  # largest difference from onnxruntime, relative to a layer's largest value, where rounding makes no larger one
LARGEST_ROUNDING = 1e-2  # what is more is not taken for rounding
MOST_NEARER = 10.0  # so many times nearer to the exact value than onnxruntime, a layer is not for its rounding


class DifferenceError(InputError):
    """A layer differs too much from onnxruntime.

    Attributes:
      may_be_rounding: whether the difference is no larger than rounding can make it.
    """

    def __init__(self, message: str, error: float):
        super().__init__(message)
        self.may_be_rounding = error <= 3 * LARGEST_ROUNDING


def reference(graph: Graph, inputs: np.ndarray) -> dict[str, np.ndarray]:
    """The outputs of a graph by onnxruntime, channels first: tensor -> value.

    Args:
      graph: as it was read, before anything is folded.
      inputs: [1, 3, H, W], prepared for the network.

    Raises:
      InputError: onnxruntime cannot run the graph.
    """
    model = graph.proto(batch=1).SerializeToString()
    options = onnxruntime.SessionOptions()
    # As the file says: its rewritings round more, and one is wrong, of a padding with zeros before a max pool.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        values = session.run(list(graph.outputs), {graph.image: inputs})
    except Exception as error:  # its exceptions share no base class
        raise InputError(f"onnxruntime cannot run the network: {' '.join(str(error).split())[:300]}") from None
    return dict(zip(graph.outputs, values, strict=True))


def check_finite(graph: Graph, layers: Mapping[str, np.ndarray]) -> None:
    """Refuses a network that gives NaN or infinity for photographs, and names weights that have them.

    Args:
      graph: as for `reference`.
      layers: layer name -> its value by onnxruntime.

    Raises:
      InputError: a value of a layer is not finite.
    """
    for layer, value in layers.items():
        count = value.size - np.count_nonzero(np.isfinite(value))
        if count:
            floats = (name for name, weights in graph.weights.items() if weights.dtype.kind == "f" and np.isnan(weights).any())
            broken = next(floats, None)
            why = f"the weights {broken!r} have NaN" if broken else "weights may be too large, or --preprocessing may be wrong"
            raise InputError(
                f"layer {layer!r} is NaN or infinite at {count:,} of {value.size:,} places where onnxruntime computes it for "
                f"photographs; {why}"
            )


def in_double(
    graph: Graph, preprocessing: Preprocessing, layers: Mapping[str, str], images: np.ndarray
) -> dict[str, np.ndarray]:
    """The layers of a graph in double precision: layer name -> value, channels last.

    Args:
      graph: as it was read, before anything is folded.
      preprocessing: what is done to an image before the graph.
      layers: layer name -> tensor.
      images: [n, H, W, 3] in [0, 1].
    """
    from tfinvert.networks import keras_builder  # imports TensorFlow, which onnx2tf must do first

    model = keras_builder.build(graph, preprocessing, layers, dtype="float64")
    return {name: np.asarray(value) for name, value in model(images.astype(np.float64)).items()}


def channels_last(value: np.ndarray) -> np.ndarray:
    """A value [n, channels, height, width] as [n, height, width, channels]; others stay as they are."""
    return value.transpose(0, 2, 3, 1) if value.ndim == 4 else value


def relative_error(layer: str, actual: np.ndarray, expected: np.ndarray, exact: np.ndarray | None = None) -> float:
    """max |actual - expected| / max |expected|.

    Args:
      layer: its name, for the error.
      actual: by the converted network, channels last.
      expected: by onnxruntime, channels last.
      exact: in double precision, where it is known. If onnxruntime's own single precision is e away from it, the layer may be
        3 e away from onnxruntime, since its rounding is another. This does not hold where the layer is much nearer to the exact
        value than onnxruntime is: there, the difference is no rounding. Where onnxruntime confirms the exact value to half of
        the tolerance, it is enough that the layer is near to that.

    Raises:
      DifferenceError: the error is above what is tolerated.
      InputError: the shapes differ.
    """
    if actual.shape != expected.shape:
        raise InputError(f"layer {layer!r} was converted to the shape {actual.shape}; onnxruntime gives {expected.shape}")
    largest = float(np.abs(expected).max())

    def away(one: np.ndarray, other: np.ndarray) -> float:
        return float(np.abs(one - other).max()) / max(largest, 1e-12)

    error, tolerance, words = away(actual, expected), TOLERANCE, ""
    nearest = error
    if exact is not None:
        rounding = away(expected, exact)
        words = f" (onnxruntime itself is {rounding:.1e} away from double precision, and the layer {away(actual, exact):.1e})"
        if rounding <= min(LARGEST_ROUNDING, MOST_NEARER * away(actual, exact)):
            tolerance = max(TOLERANCE, 3 * rounding)
        if rounding <= TOLERANCE / 2:
            nearest = min(error, away(actual, exact))
    if not nearest <= tolerance:  # NaN is refused too
        raise DifferenceError(
            f"layer {layer!r} differs from onnxruntime by {error:.1e} of its largest value ({largest:.4g}); "
            f"expected at most {tolerance:.0e}{words}",
            error,
        )
    return error
