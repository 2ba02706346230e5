"""The benchmark's own parts: what it says without a GPU, the tables that it writes, and the port to JAX."""

import importlib.util

import numpy as np
import pytest
import tensorflow as tf

from tests.bench import __main__ as bench
from tests.bench import tables


@pytest.mark.skipif(bool(tf.config.list_physical_devices("GPU")), reason="there is a GPU")
def test_without_a_gpu_its_table_is_refused_in_one_line(capsys):
    assert bench.main(["gpu"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == "tests.bench gpu needs a GPU, and TensorFlow sees none; run it on a machine that has one\n"


def test_the_tables_are_written_between_their_comments(tmp_path):
    def side(rate, faster):
        return {"steps/s": rate, "TensorFlow is faster by": faster, "GFLOP/s": 2 * rate}

    product = {"matrix product float32": {"GFLOP/s": 40.0}}
    case = {
        "TensorFlow float32": side(12.345, 1.0),
        "PyTorch eager float32": side(6.0, 2.1),
        "PyTorch compile float32": side(10.0, 1.25),
        "JAX float32": side(3.0, 4.0),
    }
    page = tmp_path / "page.md"
    page.write_text(f"before\n{tables.BEGIN}\nold\n{tables.END}\nafter\n")
    for _ in range(2):  # what is written is written over
        tables.write_page({"machine": "a processor", "load": 0.1, "quick": {"arithmetic": product, "net conv1": case}}, page)
    written = page.read_text()
    assert written.startswith("before\n")
    assert written.endswith("after\n")
    assert "old" not in written
    assert "a processor; the load was 0.10 when the measurement began." in written
    names = "|  | TensorFlow | PyTorch eager | PyTorch compile | JAX | beside the best PyTorch | of a matrix product |"
    assert f"{names}\n" in written
    assert "| net conv1 | 12.3 | 6 | 10 | 3 | 1.25 | 62 % |\n" in written
    assert "bfloat16" not in written
    page.write_text("a page without the comments\n")
    with pytest.raises(ValueError, match="does not have the comments"):
        tables.write_page({"machine": "", "load": 0.0, "quick": {"arithmetic": {}}}, page)


def test_the_page_has_the_comments():
    text = tables.PAGE.read_text(encoding="utf-8")
    assert text.index(tables.BEGIN) < text.index(tables.END)


@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="JAX is not installed")
@pytest.mark.parametrize(("model", "layer"), [("resnet18", "res1"), ("alexnet", "conv2"), ("squeezenet1.1", "fire2")])
def test_the_port_to_jax_computes_the_same_features(model, layer):
    from tests.bench import in_jax
    from tfinvert import images
    from tfinvert.networks.conversion.request_graph import cut_graph, folded, with_weights
    from tfinvert.networks.conversion.verify import reference
    from tfinvert.networks.load import load
    from tfinvert.networks.preprocessing import network_input, parse

    network = load(model, weights="random", size=64)
    request = network.request
    part, tensors = cut_graph(type(request)(**{**vars(request), "layers": (layer,)}))
    part = with_weights(request, part)
    graph, preparation = folded(request, part)
    image = images.load("astronaut", (64, 64))
    expected = reference(part, network_input(image, parse(request.preprocessing)))[tensors[layer]].transpose(0, 2, 3, 1)
    actual = np.asarray(in_jax.function(graph, preparation)(image)[tensors[layer]])
    np.testing.assert_allclose(actual, expected, atol=1e-4 * np.abs(expected).max())
