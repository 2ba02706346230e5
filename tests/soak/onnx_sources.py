"""The .onnx files that hostile ones are made from: graphs of the tests, ONNX' own and, where they are there, real ones."""

import functools
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.soak import hostile
from tfinvert.networks import zoo
from tfinvert.networks.onnx import Graph

SHARED = hostile.ROOT.parent / "shared" / "data" / "models"
LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"


@functools.cache
def sources() -> tuple[bytes, ...]:
    """Lists the contents of the files that cases start from."""
    from tests.conftest import tiny_graph

    made = [tiny_graph().proto(batch=1).SerializeToString(), tiny_graph(48).proto(batch="N").SerializeToString()]
    made += [network().SerializeToString() for network in (_residual, _fires, _odd)]
    made += [_weightless(zoo.MODELS[name].topology()).SerializeToString() for name in ("resnet18", "squeezenet1.1", "alexnet")]
    light = [path.read_bytes() for path in sorted(LIGHT.glob("light_*.onnx"))]
    real = [path.read_bytes() for path in sorted(SHARED.glob("*.onnx"))] if SHARED.is_dir() else []
    # Small files come more often, because they take a tenth of the time.
    return (*made * 4, *light * 2, *real)


def _weightless(network: Graph) -> onnx.ModelProto:
    """Builds a topology with its weights as shapes, as in ONNX' own light graphs."""
    floats = frozenset(name for name, array in network.weights.items() if array.dtype == np.float32)
    model = network.proto(batch=1, weightless=floats)
    nodes = []
    for name in sorted(floats):
        shape = numpy_helper.from_array(np.array(network.weights[name].shape, np.int64), f"{name}/shape")
        model.graph.initializer.append(shape)
        nodes.append(helper.make_node("ConstantOfShape", [f"{name}/shape"], [name]))
    kept = [i for i in model.graph.input if i.name not in floats]
    del model.graph.input[:]
    model.graph.input.extend(kept)
    nodes += list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model


def _model(nodes: list, weights: dict[str, np.ndarray], output: str, size: int = 32, opset: int = 13) -> onnx.ModelProto:
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, size, size])]
    outputs = [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)]
    body = helper.make_graph(nodes, "g", inputs, outputs, [numpy_helper.from_array(a, n) for n, a in weights.items()])
    return helper.make_model(body, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def _kernel(*shape: int) -> np.ndarray:
    return np.random.default_rng(shape).standard_normal(shape).astype(np.float32)


def _residual() -> onnx.ModelProto:
    """Builds a strided stem, a padded pool, two residual blocks with batch norms, an average and a dense layer."""
    weights = {"w0": _kernel(4, 3, 7, 7), "fc": _kernel(4, 5), "b": _kernel(5)}
    nodes = [
        helper.make_node("Conv", ["x", "w0"], ["c0"], strides=[2, 2], pads=[3] * 4),
        helper.make_node("MaxPool", ["c0"], ["p0"], kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4),
    ]
    value = "p0"
    for block in range(2):
        for n in range(2):
            weights[f"w{block}{n}"] = _kernel(4, 4, 3, 3)
            weights |= {f"{k}{block}{n}": np.ones(4, np.float32) for k in ("g", "o", "m", "v")}
            source = value if n == 0 else f"r{block}0"
            norm = [f"c{block}{n}", *(f"{k}{block}{n}" for k in ("g", "o", "m", "v"))]
            nodes += [
                helper.make_node("Conv", [source, f"w{block}{n}"], [f"c{block}{n}"], pads=[1] * 4),
                helper.make_node("BatchNormalization", norm, [f"n{block}{n}"]),
                helper.make_node("Relu", [f"n{block}{n}"], [f"r{block}{n}"]),
            ]
        nodes += [
            helper.make_node("Add", [f"n{block}1", value], [f"a{block}"]),
            helper.make_node("Relu", [f"a{block}"], [f"out{block}"]),
        ]
        value = f"out{block}"
    nodes += [
        helper.make_node("GlobalAveragePool", [value], ["ga"]),
        helper.make_node("Flatten", ["ga"], ["fl"]),
        helper.make_node("Gemm", ["fl", "fc", "b"], ["y"]),
        helper.make_node("Softmax", ["y"], ["z"]),
    ]
    return _model(nodes, weights, "z")


def _fires() -> onnx.ModelProto:
    """Builds a network of two fire modules and pools that round up."""
    weights = {"w0": _kernel(6, 3, 3, 3)}
    nodes = [helper.make_node("Conv", ["x", "w0"], ["c0"], strides=[2, 2]), helper.make_node("Relu", ["c0"], ["v0"])]
    for n in range(2):
        width = 6 if n == 0 else 8
        weights |= {f"s{n}": _kernel(3, width, 1, 1), f"e{n}": _kernel(4, 3, 1, 1), f"f{n}": _kernel(4, 3, 3, 3)}
        nodes += [
            helper.make_node("MaxPool", [f"v{n}"], [f"p{n}"], kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1),
            helper.make_node("Conv", [f"p{n}", f"s{n}"], [f"sq{n}"]),
            helper.make_node("Relu", [f"sq{n}"], [f"sr{n}"]),
            helper.make_node("Conv", [f"sr{n}", f"e{n}"], [f"ec{n}"]),
            helper.make_node("Conv", [f"sr{n}", f"f{n}"], [f"fc{n}"], pads=[1] * 4),
            helper.make_node("Concat", [f"ec{n}", f"fc{n}"], [f"cat{n}"], axis=1),
            helper.make_node("Relu", [f"cat{n}"], [f"v{n + 1}"]),
        ]
    nodes += [helper.make_node("GlobalAveragePool", ["v2"], ["y"])]
    return _model(nodes, weights, "y")


def _odd() -> onnx.ModelProto:
    """Builds a network of what the others lack: groups, dilations, LRN, Pad, Clip, Reshape, a named weight, Constant."""
    weights = {"w0": _kernel(6, 1, 3, 3), "shape": np.array([0, -1], np.int64), "pads": np.array([0, 0, 1, 1, 0, 0, 1, 1])}
    weights |= {"low": np.zeros((), np.float32), "high": np.full((), 6, np.float32), "m": _kernel(6 * 30 * 30, 4)}
    nodes = [
        helper.make_node("Identity", ["w0"], ["w0b"]),
        helper.make_node("Conv", ["x", "w0b"], ["c0"], group=3, dilations=[2, 2], auto_pad="SAME_UPPER"),
        helper.make_node("LRN", ["c0"], ["l0"], size=5),
        helper.make_node("Clip", ["l0", "low", "high"], ["k0"]),
        helper.make_node("Pad", ["k0", "pads"], ["d0"]),
        helper.make_node("AveragePool", ["d0"], ["p0"], kernel_shape=[5, 5], pads=[1] * 4, strides=[1, 1], ceil_mode=0),
        helper.make_node("Constant", [], ["two"], value_float=2.0),
        helper.make_node("Mul", ["p0", "two"], ["u0"]),
        helper.make_node("AveragePool", ["u0"], ["q0"], kernel_shape=[3, 3]),
        helper.make_node("Dropout", ["q0"], ["do"]),
        helper.make_node("Reshape", ["do", "shape"], ["re"]),
        helper.make_node("MatMul", ["re", "m"], ["mm"]),
        helper.make_node("Tanh", ["mm"], ["y"]),
    ]
    return _model(nodes, weights, "y")
