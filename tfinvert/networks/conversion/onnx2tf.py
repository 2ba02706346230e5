"""From a graph to TensorFlow, by onnx2tf. This is the only file that knows onnx2tf and its versions.

onnx2tf changes the process that imports it: it seeds every random generator, turns op determinism on, sets
CUDA_VISIBLE_DEVICES and TF_USE_LEGACY_KERAS, and silences warnings. So it runs in a process of its own.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
from collections.abc import Iterator
from typing import Any

import numpy as np

from tfinvert.networks import onnx as graphs
from tfinvert.networks import winograd
from tfinvert.networks.onnx import Graph
from tfinvert.networks.preprocessing import Preprocessing
from tfinvert.system.errors import InputError
from tfinvert.system.tensorflow import without

UNUSED = ("scipy", "pandas")  # what tf_keras imports, where it is installed, for functions that no conversion calls
LARGE_MATRIX = 2**22  # elements from which a matrix is kept out of the converter
AXIS_OPERATORS = frozenset("Flatten Concat ReduceMean Softmax Pad Reshape SpaceToDepth Squeeze Transpose Unsqueeze".split())


def export(graph: Graph, preprocessing: Preprocessing, layers: dict[str, str], *, fast: bool = False) -> Any:
    """The graph as a tf.Module whose `features` maps [batch, H, W, 3] RGB in [0, 1] to {layer name: features}.

    Args:
      graph: folded, with weights.
      preprocessing: what is done to an image before the graph.
      layers: layer name -> tensor.
      fast: whether convolutions of 3x3 are computed by Winograd's algorithm where that is faster.

    Raises:
      InputError: onnx2tf could not convert the graph.
    """
    tensors = graph.outputs
    graph = graphs.numbered(graph)  # a torch export's '/layer1/Relu' is no valid name of a TensorFlow operation
    # Matrices of a hundred megabytes become inputs of the converted model and variables of the module: as constants
    # they would be copied half a dozen times on their way into a SavedModel.
    matrices = {n.input[1] for n in graph.nodes if n.op_type in ("Gemm", "MatMul") and n.input[1] in graph.weights}
    large = sorted(name for name in matrices if graph.weights[name].size >= LARGE_MATRIX)
    model = _convert(graph, frozenset(large), fast)

    import tensorflow as tf  # after onnx2tf, which must set its environment first

    by_name = [i.name.split(":")[0] for i in model.inputs]
    if len(model.inputs) != 1 + len(large) or len(model.outputs) != len(graph.outputs):
        raise InputError(f"onnx2tf made {len(model.inputs)} inputs and {len(model.outputs)} outputs of the network")
    height, width = graph.size
    constants = [tf.Variable(graph.weights[name], trainable=False) for name in large]

    @tf.function(input_signature=[tf.TensorSpec([None, height, width, 3], tf.float32, name="image")], autograph=False)
    def features(image):
        if preprocessing.channels != (0, 1, 2):
            image = tf.gather(image, preprocessing.channels, axis=-1)
        if set(preprocessing.scale) != {1.0}:
            image = image * tf.constant(preprocessing.scale)
        if any(preprocessing.shift):
            image = image + tf.constant(preprocessing.shift)
        values = {graph.image: image, **dict(zip(large, constants, strict=True))}
        outputs = model([values[name] for name in by_name] if large else image)
        values = dict(zip(tensors, outputs if isinstance(outputs, (list, tuple)) else [outputs], strict=True))
        return {name: values[tensor] for name, tensor in layers.items()}

    module = tf.Module()
    module.features = features
    # The variables alone (large matrices, grouped convolutions): tracking the Keras model would write every weight of
    # the graph into a SavedModel's metadata as decimal text.
    module.weights = [*constants, *features.get_concrete_function().variables]
    return module


@contextlib.contextmanager
def _fast_convolutions() -> Iterator[None]:
    """Within it, onnx2tf makes those convolutions by Winograd's algorithm that it makes faster (`winograd.is_faster`)."""
    import tensorflow as tf  # after onnx2tf, which must set its environment first

    usual = tf.nn.convolution

    def convolution(*, input: Any, filters: Any, strides: Any, padding: str, dilations: Any) -> Any:  # noqa: A002
        same = padding == "SAME"
        places, taps = input.shape[1:-1], filters.shape
        plain = len(taps) == 4 and tuple(taps[:2]) == (3, 3) and input.shape[-1] == taps[2]
        plain = plain and {*np.ravel(strides), *np.ravel(dilations)} == {1} and None not in places
        if not plain or not winograd.is_faster([side if same else side - 2 for side in places], taps[2:]):
            return usual(input=input, filters=filters, strides=strides, padding=padding, dilations=dilations)
        return winograd.convolution(input, np.asarray(filters), same=same)

    tf.nn.convolution = convolution
    try:
        yield
    finally:
        tf.nn.convolution = usual


def _convert(graph: Graph, weightless: frozenset[str], fast: bool) -> Any:
    """The graph as a tf_keras model, NHWC; the weights in `weightless` become inputs."""
    with without(UNUSED), contextlib.suppress(ImportError):
        import tf_keras  # noqa: F401 - onnx2tf uses it, and its import would bring a second's worth of packages

    import onnx2tf

    shapes: dict[str, tuple[int, ...]] = {}
    options = {}
    if int(importlib.metadata.version("onnx2tf").split(".")[0]) >= 2:
        options["tflite_backend"] = "tf_converter"  # the other one returns no model
        # From version 2 a tensor of unknown shape is taken for one that is not in TensorFlow's layout; before it, a
        # known shape breaks Flatten. In both, shapes everywhere give what follows a residual addition the wrong layout.
        # So only the tensors around nodes that speak of an axis have one.
        every = graphs.shapes(graph)
        around = [t for n in graph.nodes if n.op_type in AXIS_OPERATORS for t in (*n.input, *n.output)]
        computed = set(graph.tensors())
        shapes = {name: every[name] for name in around if name in computed}
    try:
        with _fast_convolutions() if fast else contextlib.nullcontext():
            return onnx2tf.convert(
                onnx_graph=graph.proto(weightless=weightless, shapes=shapes),
                disable_model_save=True,
                disable_strict_mode=True,  # it guesses axes by trying values; we check the result instead
                not_use_onnxsim=True,
                not_use_opname_auto_generate=True,
                non_verbose=True,
                **options,
            )
    except SystemExit:  # its way of reporting an error; the words are in the log
        raise InputError("onnx2tf could not convert the network") from None
    except Exception as error:  # of NumPy, TensorFlow and its own, where a network is unlike those that it knows
        message = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise InputError(f"onnx2tf could not convert the network ({message})") from None
