"""Files as exporters write them, from reading to the proof, with Keras layers: converted in this process."""

import numpy as np
import onnx
import pytest

from tests.conftest import SHARED
from tests.networks.keras_builder.conftest import graph, node, numbers
from tfinvert.networks import onnx as graphs
from tfinvert.networks.conversion import cache, request_graph, verify, work
from tfinvert.networks.conversion.request import request as make_request
from tfinvert.system.errors import InputError

CASES = SHARED.parent / "cases" / "onnx"
FILES = sorted(path for path in (*CASES.glob("*.onnx"), *CASES.glob("*/net.onnx")) if path.name[:2] not in ("07", "08"))
SHAPES = {"15_view_dynamic_batch": (10,), "20_ssd_head": (2688, 2), "09_unsupported_above": (128, 128, 8)}


def request(path, layers, **changes):
    settings = {"weights": "auto", "size": None, "pool": "max", "converter": "keras", "preprocessing": "torch"}
    return make_request(model="vgg16-bn", onnx=str(path), layers=tuple(layers), **{**settings, **changes})


def converted(wanted, folder):
    work.convert(wanted, folder, lambda event: None)
    return cache.read_entry(folder, wanted)


def write(whole, path):
    graphs.write(whole, path)
    return path


@pytest.mark.skipif(not CASES.is_dir(), reason="needs ../shared/cases/onnx, which is not there")
@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_every_case_is_right(path, tmp_path):
    outputs = graphs.read(path).outputs
    made = converted(request(path, outputs), tmp_path / "entry")
    for layer in made.layers:
        assert layer.error < 1e-4
        assert layer.shape == SHAPES.get(path.stem, layer.shape)


def head(kind="Hardmax"):
    """A residual block, a pool, and a head that cannot be converted."""
    return graph(
        node("Relu", "f", "r"), node("Conv", "r k", "c", pads=[1] * 4), node("Relu", "c", "d"),
        node("Add", "d r", "sum"), node("Relu", "sum", "block"), node("GlobalAveragePool", "block", "p"),
        node(kind, "p", "odd"), node("Flatten", "odd", "flat"), node("Gemm", "flat m", "y"),
        k=numbers(6, 6, 3, 3) / 5, m=numbers(6, 5), opset=13,
    )  # fmt: skip


def test_what_is_refused_names_the_node_and_the_deepest_layers_that_work(tmp_path):
    path = write(head(), tmp_path / "net.onnx")
    with pytest.raises(InputError, match=r"node 'odd' uses the operator Hardmax, .* the deepest layers that work: .*avgpool"):
        request_graph.cut_graph(request(path, ["y"]))
    part, _ = request_graph.cut_graph(request(path, ["res1"]))
    assert [n.op_type for n in part.nodes][-1] == "Relu"
    part, layers = request_graph.cut_graph(request(path, []))
    assert "avgpool" in layers
    assert "fc" not in layers


def test_an_unknown_node_with_an_empty_list_is_refused_as_others_are(tmp_path):
    whole = head("StatefulPartitionedCall")  # as tf2onnx leaves it behind
    (call,) = (n for n in whole.nodes if n.op_type == "StatefulPartitionedCall")
    call.attribute.append(onnx.AttributeProto(name="_collective_manager_ids", type=onnx.AttributeProto.INTS))
    with pytest.raises(InputError, match="node 'odd' uses the operator StatefulPartitionedCall"):
        request_graph.cut_graph(request(write(whole, tmp_path / "net.onnx"), ["y"]))


def test_a_layer_below_what_is_unknown_is_converted(tmp_path):
    made = converted(request(write(head(), tmp_path / "net.onnx"), ["res1"]), tmp_path / "entry")
    assert made.layers[0].error < 1e-5
    assert made.converter == "keras"


def test_a_plain_request_keeps_the_kernels(tmp_path):
    import keras

    whole = graph(node("Relu", "f", "y"), size=(16, 16))
    path = write(whole, tmp_path / "net.onnx")
    plain, fast = (converted(request(path, ["f"], plain=p), tmp_path / str(p)) for p in (True, False))
    kernel = keras.models.load_model(plain.folder / "model.keras", compile=False).get_layer("f").kernel
    np.testing.assert_array_equal(np.asarray(kernel).transpose(3, 2, 0, 1), whole.weights["first"])
    assert keras.models.load_model(fast.folder / "model.keras", compile=False).get_layer("f").kernel.shape != kernel.shape


def deep(layers, gain):
    """A network that makes differences larger, layer by layer, as rounding does in deep networks."""
    nodes, weights, last = [], {}, "f"
    for number in range(layers):
        weights[f"k{number}"] = gain * numbers(6, 6, 1, 1, seed=number)
        nodes += [node("Conv", f"{last} k{number}", f"c{number}"), node("Sin", f"c{number}", f"s{number}")]
        last = f"s{number}"
    return graph(*nodes, outputs=(last,), size=(16, 16), **weights)


def test_a_layer_that_rounding_moves_far_is_accepted_for_what_it_is(tmp_path):
    """Chaotic on purpose: single precision is far from double precision in onnxruntime, too."""
    whole = deep(5, 1.6)
    path = write(whole, tmp_path / "net.onnx")
    made = converted(request(path, whole.outputs), tmp_path / "entry")
    assert 1e-4 < made.layers[0].error < verify.LARGEST_ROUNDING


def test_a_wrong_network_is_not_excused_by_rounding(tmp_path, monkeypatch):
    whole = graph(node("Sin", "f", "y"), size=(16, 16))
    path = write(whole, tmp_path / "net.onnx")
    reference = verify.reference
    monkeypatch.setattr(verify, "reference", lambda *a: {k: v + 5e-4 for k, v in reference(*a).items()})
    with pytest.raises(InputError, match=r"differs from onnxruntime by .*e-04 .* cannot be trusted"):
        converted(request(path, ["y"]), tmp_path / "entry")
