"""Changes that make hostile .onnx files of good ones: in what the graph says, or in the bytes.

Each change draws from a random generator; the same draws make the same file.
"""

import random
from collections.abc import Callable

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.soak.onnx_sources import sources
from tfinvert.networks.onnx.operators import SUPPORTED

NUMBERS = (0, 1, -1, 2, 3, 5, 7, 255, 2**16, 2**31 - 1, 2**31, -(2**31), 2**62, 2**63 - 1, -(2**63))
NAMES = (
    *("", "x", "../../x", "/etc/passwd", "a/b", "a\0b", "a\nb", "\x1b[2J", "." * 9000),
    *("名", "x" * 499, "{{7*7}}", "%s%n", "t0"),
)
LOCATIONS = ("../outside.bin", "/etc/passwd", "..", ".", "", "a\0b", "link.bin", "pipe", "beside.bin", "/dev/zero", "x" * 9000)
OPERATORS = (
    *sorted(SUPPORTED),
    *("Identity", "Dropout", "Constant", "ConstantOfShape", "If", "Loop", "Scan", "Gru"),
)


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
    """Gives a node other inputs or outputs: another node's, its own, later ones (cycles), none, too many."""
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
    """Removes, repeats or exchanges nodes."""
    nodes = list(body.node)
    if not nodes:
        return
    first, second = rng.randrange(len(nodes)), rng.randrange(len(nodes))
    kind = rng.randrange(3)
    if kind == 0:
        low, high = sorted((first, second))
        del nodes[low : high if rng.random() < 0.2 else low + 1]
    elif kind == 1:
        nodes.insert(second, nodes[first])
    else:
        nodes[first], nodes[second] = nodes[second], nodes[first]
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
    """Changes an attribute's numbers, their count or its type, or sets absurd pads, strides, kernels or axes."""
    with_some = [node for node in body.node if node.attribute]
    node = rng.choice(with_some) if with_some and rng.random() < 0.7 else _node(rng, body)
    kind = rng.randrange(5)
    if kind == 0 and node.attribute:
        attribute = rng.choice(node.attribute)
        if attribute.ints:
            attribute.ints[rng.randrange(len(attribute.ints))] = _number(rng)
        elif rng.random() < 0.5:
            attribute.i = _number(rng)
        else:
            attribute.f = rng.choice((0.0, -1.0, 1e38, float("nan"), float("inf")))
    elif kind == 1 and node.attribute:
        attribute = rng.choice(node.attribute)
        del attribute.ints[rng.randrange(len(attribute.ints) + 1) :]
        attribute.ints.extend([_number(rng)] * rng.choice((0, 1, 2, 5, 1000)))
    elif kind == 2 and node.attribute:
        del node.attribute[rng.randrange(len(node.attribute))]
    elif kind == 3 and node.attribute:
        attribute = rng.choice(node.attribute)
        attribute.type = rng.randrange(0, 15)
    else:
        names = "pads strides kernel_shape dilations group axis perm size blocksize auto_pad ceil_mode epsilon transB alpha"
        name = rng.choice(names.split())
        value = rng.choice((_number(rng), [_number(rng) for _ in range(rng.choice((1, 2, 4, 8)))], "SAME_UPPER", "x", 0.5))
        kept = [a for a in node.attribute if a.name != name or rng.random() < 0.2]
        del node.attribute[:]
        node.attribute.extend([onnx.AttributeProto.FromString(a.SerializeToString()) for a in kept])
        node.attribute.append(helper.make_attribute(name, value))


def _weight(rng: random.Random, body: onnx.GraphProto) -> None:
    """Changes a weight's shape, type, length or place, or removes it."""
    if not body.initializer:
        return
    place = rng.randrange(len(body.initializer))
    tensor = body.initializer[place]
    kind = rng.randrange(8)
    if kind == 0 and tensor.dims:
        tensor.dims[rng.randrange(len(tensor.dims))] = _number(rng)
    elif kind == 1:
        tensor.dims.extend([rng.choice((0, 1, 1, _number(rng)))] * rng.choice((1, 1, 2, 60)))
    elif kind == 2 and tensor.dims:
        del tensor.dims[rng.randrange(len(tensor.dims))]
    elif kind == 3:
        tensor.data_type = rng.choice((*range(24), -1, 999, 2**31 - 1))
    elif kind == 4:
        tensor.raw_data = tensor.raw_data[: rng.randrange(len(tensor.raw_data) + 1)] + bytes(rng.choice((0, 0, 1, 3, 4, 1000)))
    elif kind == 5:
        del body.initializer[place]
    elif kind == 6:
        tensor.data_location = TensorProto.EXTERNAL
        del tensor.external_data[:]
        for key in ("location", *rng.sample(("offset", "length", "checksum", "x"), 2)):
            text = rng.choice(LOCATIONS) if key == "location" else rng.choice((str(_number(rng)), "-1", "x", ""))
            tensor.external_data.add(key=key, value=text)
        tensor.ClearField("raw_data")
    else:
        shapes = [t for t in body.initializer if t.data_type == TensorProto.INT64]
        if shapes:
            tensor = rng.choice(shapes)
            values = [_number(rng) for _ in range(rng.choice((0, 1, 2, 4, 9)))]
            tensor.CopyFrom(numpy_helper.from_array(np.array(values, np.int64), tensor.name))


def _ends(rng: random.Random, body: onnx.GraphProto) -> None:
    """Changes the graph's inputs and outputs."""
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
    """Changes a name in all its places."""
    old, new = _tensor_name(rng, body), rng.choice(NAMES)
    for node in body.node:
        for side in (node.input, node.output):
            for place, name in enumerate(side):
                if name == old:
                    side[place] = new
    for value in (*body.initializer, *body.input, *body.output):
        if value.name == old:
            value.name = new
    if rng.random() < 0.3:
        _node(rng, body).name = rng.choice(NAMES)


def _nested(rng: random.Random, body: onnx.GraphProto) -> None:
    """Puts deeply nested graphs into the attributes of a node."""
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
    """Adds very many of something, or something very large that takes few bytes."""
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
    """Flips bits, cuts off the end, moves pieces, makes names that are no UTF-8, or leaves nothing but noise."""
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
        words = [word for word in (b"x", b"conv", b"data", b"weight", b"c0", b"Relu", b"Conv", b"pads") if word in data]
        word = rng.choice(words or [b"x"])
        return data.replace(word, b"\xff" * len(word), rng.choice((1, -1)))
    if kind == 4:
        return rng.randbytes(rng.choice((0, 1, 10, 1000, 10**5)))
    place = rng.randrange(len(data))
    return data[:place] + rng.randbytes(rng.choice((1, 4, 50))) + data[place:]


def mutated(rng: random.Random) -> bytes:
    """Makes the content of a file that no exporter writes."""
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
