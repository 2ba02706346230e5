"""Hostile .onnx files: real networks, ONNX' own graphs and graphs of the tests, changed in what they say or in their bytes.

`soak` gives every case what `--onnx` goes through before the conversion, and a sample of them to the whole program.
"""

import contextlib
import functools
import json
import math
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.soak import Row, hostile
from tfinvert.errors import InputError
from tfinvert.networks import zoo
from tfinvert.networks.conversion import convert
from tfinvert.networks.onnx import graph

CASES, WHOLE = 6000, 100
WHOLE_SECONDS = 120  # TensorFlow is imported twice, and compiled once
LIMITED = True
SHARED = hostile.ROOT.parent / "shared" / "data" / "models"
LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
NUMBERS = (0, 1, -1, 2, 3, 5, 7, 255, 2**16, 2**31 - 1, 2**31, -(2**31), 2**62, 2**63 - 1, -(2**63))
NAMES = (
    "",
    "x",
    "../../x",
    "/etc/passwd",
    "a/b",
    "a\0b",
    "a\nb",
    "\x1b[2J",
    "." * 9000,
    "名",
    "x" * 499,
    "{{7*7}}",
    "%s%n",
    "t0",
)
LOCATIONS = ("../outside.bin", "/etc/passwd", "..", ".", "", "a\0b", "link.bin", "pipe", "beside.bin", "/dev/zero", "x" * 9000)
OPERATORS = (
    *sorted(graph.SUPPORTED_OPERATORS),
    "Identity",
    "Dropout",
    "Constant",
    "ConstantOfShape",
    "If",
    "Loop",
    "Scan",
    "Gru",
)


def soak(scale: float = 1.0) -> list[Row]:
    """Each ends as a network that can be converted or as one line that says what is wrong with the file."""
    tally = hostile.tried("onnx_files", round(CASES * scale))
    return [tally.row("An .onnx file is read, cut, folded and measured, or refused"), whole(max(round(WHOLE * scale), 3))]


def whole(count: int, seed: int = hostile.SEED) -> Row:
    """Gives files to the program as a user would: conversion in its own process, verification, two steps."""
    tally = hostile.Tally()
    with tempfile.TemporaryDirectory(prefix="hostile-") as scratch:
        folder = Path(scratch)
        for name in ("home", "work", "site", "cwd"):
            (folder / name).mkdir()
        (folder / "site" / "sitecustomize.py").write_text(WATCH)
        for number in range(count):
            _run(random.Random(f"whole {seed} {number}"), folder, tally, f"whole {seed} {number}")
            left = [path for name in ("home", "cwd") for path in (folder / name).iterdir()]
            left += [path for path in folder.iterdir() if path.name not in ("home", "work", "site", "cwd")]
            if left:
                tally.failures.append(f"whole {seed} {number}: it left {left}")
                break
    return tally.row("A run of an .onnx file ends with pictures, or with one line that says why not")


# In every Python process of a run.
WATCH = """
import os, sys
def heard(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "pickle.find_class") or event == "os.system":
        if event == "pickle.find_class" and arguments[0].split(".")[0] in ("numpy", "builtins", "copyreg", "multiprocessing"):
            return
        with open(os.path.join(os.environ["TMPDIR"], "heard.txt"), "a") as file:
            file.write(f"{event} {arguments!r:.200}\\n")
sys.addaudithook(heard)
"""


def _run(rng: random.Random, folder: Path, tally: hostile.Tally, label: str) -> None:
    """One run of a file, three of four of them of files whose graph can be read."""
    for _ in range(1 if rng.random() < 0.25 else 40):
        path = write(rng, folder / "work")
        names = ["conv1"]
        with contextlib.suppress(InputError):
            request = convert.Request(None, str(path), "0" * 64, "pretrained", (), None, "max", "torch")
            part, found = convert.cut_graph(request)
            shapes = part.shapes()
            names = list(found)
            if max(part.size) <= 256 and max(math.prod(shape) for shape in shapes.values()) < 2**24:
                break
    flags = [
        f"--onnx={path}",
        f"--layers={rng.choice(names)}",
        "--steps=2",
        "--save_every=1",
        f"--pool={rng.choice(('avg', 'max'))}",
    ]
    flags += [f"--weights={rng.choice(('pretrained', 'pretrained', 'random'))}", f"--output_dir={folder / 'work' / 'out'}"]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join((str(folder / "site"), str(hostile.ROOT))),
        "PYTHONDONTWRITEBYTECODE": "1",
        "HOME": str(folder / "home"),
        "TMPDIR": str(folder / "work"),
        "TFINVERT_CACHE": str(folder / "work" / "cache"),
        "MPLCONFIGDIR": str(folder / "work" / "matplotlib"),  # these two libraries have caches of their own
        "KERAS_HOME": str(folder / "work" / "keras"),
        "CUDA_VISIBLE_DEVICES": "-1",
    }
    command = [sys.executable, str(hostile.ROOT / "run_experiments.py"), *flags, "--overwrite"]
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, stdout=said, stderr=said, env=environment, cwd=folder / "cwd")
        killer = threading.Timer(WHOLE_SECONDS, process.kill)
        killer.start()
        _, status, used = os.wait4(process.pid, 0)
        killer.cancel()
        process.returncode = code = os.waitstatus_to_exitcode(status)
        said.seek(0)
        words = said.read().decode(errors="replace")
    tally.memory = max(tally.memory, used.ru_maxrss / 2**10)
    wrong = None
    if code not in (0, 1, 2) or "Traceback" in words or (code and not words.strip()):
        wrong = f"ended with {code}: {words.strip()[-600:]}"
    elif used.ru_maxrss * 2**10 > hostile.MEMORY:
        wrong = f"took {used.ru_maxrss / 2**10:.0f} MB"
    elif (folder / "work" / "heard.txt").exists():
        wrong = f"did {(folder / 'work' / 'heard.txt').read_text()[:300]}"
        (folder / "work" / "heard.txt").unlink()
    tally.ends["failed" if wrong else {0: "run", 1: "diverged", 2: "refused"}[code]] += 1
    if wrong:
        tally.failures.append(f"{label}: {wrong}")
    shutil.rmtree(folder / "work" / "cache" / "converted", ignore_errors=True)


def prepare() -> None:
    """Loads what cases share, before they are watched."""
    import onnxruntime  # noqa: F401 - part of what is measured

    sources()


@functools.cache
def sources() -> tuple[bytes, ...]:
    """The files that cases start from."""
    from tests.conftest import tiny_graph

    made = [tiny_graph().proto(batch=1).SerializeToString(), tiny_graph(48).proto(batch="N").SerializeToString()]
    made += [network().SerializeToString() for network in (_residual, _fires, _odd)]
    made += [_weightless(zoo.MODELS[name].topology()).SerializeToString() for name in ("resnet18", "squeezenet1.1", "alexnet")]
    light = [path.read_bytes() for path in sorted(LIGHT.glob("light_*.onnx"))]
    real = [path.read_bytes() for path in sorted(SHARED.glob("*.onnx"))] if SHARED.is_dir() else []
    # The small ones more often: they take a tenth of the time.
    return (*made * 4, *light * 2, *real)


def _weightless(network: graph.Graph) -> onnx.ModelProto:
    """A topology with its weights as shapes, as ONNX' own light graphs have them."""
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
    """A strided stem, a padded pool, two residual blocks with batch norms, an average, a dense layer."""
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
    """Two fire modules and pools that round up."""
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
    """Operators that the others lack: groups, dilations, LRN, Pad, Clip, Reshape, Identity of a weight, Constant."""
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


# ---------------------------------------------------------------------------------------------------------- mutations


def _number(rng: random.Random) -> int:
    if rng.random() < 0.5:
        return rng.randrange(9)  # wrong by little
    return rng.choice(NUMBERS) if rng.random() < 0.7 else rng.randrange(-(2 ** rng.randrange(1, 63)), 2 ** rng.randrange(1, 63))


def _node(rng: random.Random, body: onnx.GraphProto) -> onnx.NodeProto:
    return rng.choice(body.node) if body.node else body.node.add()


def _tensor_name(rng: random.Random, body: onnx.GraphProto) -> str:
    node = _node(rng, body)
    return rng.choice([*node.output, *node.input, *(i.name for i in body.input[:3]), "nowhere"])


def _wire(rng: random.Random, body: onnx.GraphProto) -> None:
    """Inputs and outputs of a node: another's, its own, later ones (cycles), none, too many."""
    node = _node(rng, body)
    side = node.input if rng.random() < 0.7 else node.output
    kind = rng.randrange(4)
    if kind == 0 and side:
        side[rng.randrange(len(side))] = _tensor_name(rng, body)
    elif kind == 1 and side:
        del side[rng.randrange(len(side))]
    elif kind == 2:
        side.extend([_tensor_name(rng, body)] * rng.choice((1, 2, 5)))
    elif side:
        side[rng.randrange(len(side))] = rng.choice((*node.output, ""))


def _order(rng: random.Random, body: onnx.GraphProto) -> None:
    """Nodes removed, made twice, exchanged."""
    nodes = list(body.node)
    if not nodes:
        return
    one, other = rng.randrange(len(nodes)), rng.randrange(len(nodes))
    kind = rng.randrange(3)
    if kind == 0:
        del nodes[min(one, other) : max(one, other) if rng.random() < 0.2 else min(one, other) + 1]
    elif kind == 1:
        nodes.insert(other, nodes[one])
    else:
        nodes[one], nodes[other] = nodes[other], nodes[one]
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del body.node[:]
    body.node.extend(copies)


def _operator(rng: random.Random, body: onnx.GraphProto) -> None:
    node = _node(rng, body)
    if rng.random() < 0.8:
        node.op_type = rng.choice(OPERATORS)
    else:
        node.domain = rng.choice(("ai.onnx", "ai.onnx.ml", "com.microsoft", "x", "../x"))


def _attribute(rng: random.Random, body: onnx.GraphProto) -> None:
    """A number of an attribute, its count, its type; absurd pads, strides, kernels, axes."""
    with_some = [node for node in body.node if node.attribute]
    node = rng.choice(with_some) if with_some and rng.random() < 0.7 else _node(rng, body)
    kind = rng.randrange(5)
    if kind == 0 and node.attribute:
        one = rng.choice(node.attribute)
        if one.ints:
            one.ints[rng.randrange(len(one.ints))] = _number(rng)
        elif rng.random() < 0.5:
            one.i = _number(rng)
        else:
            one.f = rng.choice((0.0, -1.0, 1e38, float("nan"), float("inf")))
    elif kind == 1 and node.attribute:
        one = rng.choice(node.attribute)
        del one.ints[rng.randrange(len(one.ints) + 1) :]
        one.ints.extend([_number(rng)] * rng.choice((0, 1, 2, 5, 1000)))
    elif kind == 2 and node.attribute:
        del node.attribute[rng.randrange(len(node.attribute))]
    elif kind == 3 and node.attribute:
        one = rng.choice(node.attribute)
        one.type = rng.randrange(0, 15)
    else:
        names = "pads strides kernel_shape dilations group axis perm size blocksize auto_pad ceil_mode epsilon transB alpha"
        name = rng.choice(names.split())
        value = rng.choice((_number(rng), [_number(rng) for _ in range(rng.choice((1, 2, 4, 8)))], "SAME_UPPER", "x", 0.5))
        kept = [a for a in node.attribute if a.name != name or rng.random() < 0.2]
        del node.attribute[:]
        node.attribute.extend([onnx.AttributeProto.FromString(a.SerializeToString()) for a in kept])
        node.attribute.append(helper.make_attribute(name, value))


def _weight(rng: random.Random, body: onnx.GraphProto) -> None:
    """A weight's shape, type, length, place; or it is gone."""
    if not body.initializer:
        return
    place = rng.randrange(len(body.initializer))
    one = body.initializer[place]
    kind = rng.randrange(8)
    if kind == 0 and one.dims:
        one.dims[rng.randrange(len(one.dims))] = _number(rng)
    elif kind == 1:
        one.dims.extend([rng.choice((0, 1, 1, _number(rng)))] * rng.choice((1, 1, 2, 60)))
    elif kind == 2 and one.dims:
        del one.dims[rng.randrange(len(one.dims))]
    elif kind == 3:
        one.data_type = rng.choice((*range(24), -1, 999, 2**31 - 1))
    elif kind == 4:
        one.raw_data = one.raw_data[: rng.randrange(len(one.raw_data) + 1)] + bytes(rng.choice((0, 0, 1, 3, 4, 1000)))
    elif kind == 5:
        del body.initializer[place]
    elif kind == 6:
        one.data_location = TensorProto.EXTERNAL
        del one.external_data[:]
        for key in ("location", *rng.sample(("offset", "length", "checksum", "x"), 2)):
            text = rng.choice(LOCATIONS) if key == "location" else rng.choice((str(_number(rng)), "-1", "x", ""))
            one.external_data.add(key=key, value=text)
        one.ClearField("raw_data")
    else:
        shapes = [t for t in body.initializer if t.data_type == TensorProto.INT64]
        if shapes:
            one = rng.choice(shapes)
            values = [_number(rng) for _ in range(rng.choice((0, 1, 2, 4, 9)))]
            one.CopyFrom(numpy_helper.from_array(np.array(values, np.int64), one.name))


def _ends(rng: random.Random, body: onnx.GraphProto) -> None:
    """The graph's inputs and outputs."""
    side = body.input if rng.random() < 0.6 else body.output
    kind = rng.randrange(5)
    if kind == 0 and side:
        dims = rng.choice(side).type.tensor_type.shape.dim
        if dims:
            rng.choice(dims).dim_value = rng.choice((_number(rng), 1, 2, 7, 15, 16, 33, 2047, 2048, 2049))
        if rng.random() < 0.3:
            dims.add(dim_value=_number(rng))
    elif kind == 1 and side:
        del side[rng.randrange(len(side))]
    elif kind == 2:
        info = helper.make_tensor_value_info(_tensor_name(rng, body), rng.choice((0, 1, 7, 8, 10, 16)), [1, 3, _number(rng), 8])
        side.append(info)
    elif kind == 3 and side:
        rng.choice(side).name = _tensor_name(rng, body)
    elif side:
        rng.choice(side).type.Clear()


def _names(rng: random.Random, body: onnx.GraphProto) -> None:
    """A name, everywhere that it stands."""
    old, new = _tensor_name(rng, body), rng.choice(NAMES)
    for node in body.node:
        for side in (node.input, node.output):
            for place, name in enumerate(side):
                if name == old:
                    side[place] = new
    for one in (*body.initializer, *body.input, *body.output):
        if one.name == old:
            one.name = new
    if rng.random() < 0.3:
        _node(rng, body).name = rng.choice(NAMES)


def _nested(rng: random.Random, body: onnx.GraphProto) -> None:
    """Graphs in the attributes of nodes, deep ones."""
    inner = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "inner", [], [])
    for _ in range(rng.choice((1, 3, 10, 25))):
        wrap = helper.make_node(rng.choice(("If", "Loop", "Scan")), ["x"], ["y"])
        wrap.attribute.append(helper.make_attribute("body", inner))
        inner = helper.make_graph([wrap], "inner", [], [])
    node = _node(rng, body)
    if rng.random() < 0.5:
        node.op_type = rng.choice(("If", "Loop"))
    node.attribute.append(helper.make_attribute(rng.choice(("body", "then_branch", "kernel_shape")), inner))


def _huge(rng: random.Random, body: onnx.GraphProto) -> None:
    """Very many of something, or something very large that takes few bytes."""
    kind = rng.randrange(8)
    value = body.node[-1].output[0] if body.node and body.node[-1].output else "x"
    count = rng.choice((1000, 4500, 20000))
    if kind == 0:
        for n in range(count):
            body.node.add(op_type="Relu", input=[value if n == 0 else f"h{n - 1}"], output=[f"h{n}"])
    elif kind == 1:
        for n in range(count):
            above = [value, value] if n < 2 else [f"h{n - 1}", f"h{n - 2}"]
            body.node.add(op_type="Add", input=above, output=[f"h{n}"])
    elif kind == 2:
        _node(rng, body).input.extend([value] * count)
    elif kind == 3:
        _node(rng, body).attribute.append(helper.make_attribute("pads", [1] * count * 20))
    elif kind == 4:
        shape = rng.choice(([2**31], [2**14, 2**14], [1, 3, 2**13, 2**13], [2**10] * 9, [2**27], [2, 3, 0, 5]))
        dtype = rng.choice((np.float32, np.int64))
        for n in range(rng.choice((1, 4))):
            body.initializer.append(numpy_helper.from_array(np.array(shape, np.int64), f"huge{n}"))
            made = helper.make_node("ConstantOfShape", [f"huge{n}"], [f"made{n}"])
            made.attribute.append(helper.make_attribute("value", numpy_helper.from_array(np.ones(1, dtype))))
            use = helper.make_node(
                rng.choice(("Add", "Mul", "Concat", "Gemm", "MatMul", "Conv", "Reshape")), ["x", f"made{n}"], ["u"]
            )
            for node in (use, made):
                body.node.insert(0, node)
    elif kind == 5:
        body.initializer.extend(numpy_helper.from_array(np.zeros(1, np.float32), f"i{n}") for n in range(count))
    elif kind == 6:
        body.input.extend(helper.make_tensor_value_info(f"i{n}", 1, [1, 3, 8, 8]) for n in range(count))
    else:
        node = _node(rng, body)
        node.op_type = "Concat"
        node.input.extend([value] * 50)


def _versions(rng: random.Random, model: onnx.ModelProto) -> None:
    if rng.random() < 0.3:
        del model.opset_import[:]
    for _ in range(rng.choice((1, 1, 2))):
        model.opset_import.add(domain=rng.choice(("", "ai.onnx", "x")), version=rng.choice((*range(-1, 26), 999, 2**40)))
    model.ir_version = rng.choice((0, 1, 3, 8, 99, 2**40))


CHANGES: tuple[Callable[[random.Random, onnx.GraphProto], None], ...] = (
    *(_wire, _wire, _order, _operator, _attribute, _attribute, _attribute, _weight, _weight, _ends, _names, _nested, _huge),
)


def _bytes(rng: random.Random, data: bytes) -> bytes:
    """Bits turned, the end cut off, pieces moved, names that are no UTF-8, or nothing but noise."""
    kind = rng.randrange(6)
    if kind == 0:
        changed = bytearray(data)
        for _ in range(rng.choice((1, 1, 3, 20, 200))):
            # Near the start, and in small files, is what says something; most of the rest are weights.
            place = rng.randrange(min(len(changed), rng.choice((100, 3000, 10**8))))
            changed[place] ^= 1 << rng.randrange(8)
        return bytes(changed)
    if kind == 1:
        return data[: rng.randrange(len(data))]
    if kind == 2:
        start, end = sorted(rng.randrange(len(data)) for _ in range(2))
        return data[:start] + data[end:] if rng.random() < 0.5 else data[:end] + data[start:]
    if kind == 3:
        found = [word for word in (b"x", b"conv", b"data", b"weight", b"c0", b"Relu", b"Conv", b"pads") if word in data]
        word = rng.choice(found or [b"x"])
        return data.replace(word, b"\xff" * len(word), rng.choice((1, -1)))
    if kind == 4:
        return rng.randbytes(rng.choice((0, 1, 10, 1000, 10**5)))
    place = rng.randrange(len(data))
    return data[:place] + rng.randbytes(rng.choice((1, 4, 50))) + data[place:]


def mutated(rng: random.Random) -> bytes:
    """A file that no exporter writes."""
    data = rng.choice(sources())
    if rng.random() < 0.03:
        return data
    if rng.random() < 0.75:
        model = onnx.ModelProto.FromString(data)
        for _ in range(rng.choice((1, 1, 1, 1, 2, 5))):
            rng.choice(CHANGES)(rng, model.graph)
        if rng.random() < 0.1:
            _versions(rng, model)
        data = model.SerializeToString()
    return _bytes(rng, data) if data and rng.random() < 0.3 else data


def write(rng: random.Random, folder: Path) -> Path:
    """A mutated file, beside what its external data may name."""
    home = folder / "model"
    if not home.is_dir():
        home.mkdir()
        (folder / "outside.bin").write_bytes(bytes(10**6))
        (home / "beside.bin").write_bytes(bytes(10**6))
        (home / "link.bin").symlink_to("/etc/passwd")
        os.mkfifo(home / "pipe")
    path = home / "network.onnx"
    path.write_bytes(mutated(rng))
    return path


def case(rng: random.Random, folder: Path) -> str:
    """One file, through all that its graph goes through before onnx2tf."""
    path = write(rng, folder)
    whole = path.read_bytes() in sources()
    layers = rng.choice(
        ((), (), (), (), (), (), (), ("conv1",), ("scores",), ("last",), ("res1", "conv1"), ("conv1_1",), ("c0",), ("x",))
    )
    size = rng.choice((None, None, (64, 64), (224, 224), (16, 2048)))
    request = convert.Request(None, str(path), "0" * 64, "pretrained", layers, size, rng.choice(("avg", "max")), "torch")
    try:
        part, found = convert.cut_graph(request)
    except InputError as error:
        if whole and not layers and not size:
            raise AssertionError("nothing is wrong with this file") from error
        raise
    graph.geometry(part)
    graph.operations(part)
    zoo.training(part)
    folded = graph.numbered(graph.fold(part))
    folded.shapes()
    folded.proto(weightless=frozenset(name for name, array in folded.weights.items() if array.dtype == np.float32))
    assert found
    json.dumps(found)
    return "accepted"
