"""The names of PyTorch's modules and Keras' layers, as three exporters write them into a file."""

import pytest
from onnx import helper

from tests.networks.nets import Net
from tfinvert.networks.module_names import module_outputs
from tfinvert.networks.names import resolve_layers
from tfinvert.networks.onnx import from_proto, tidy
from tfinvert.system.errors import InputError


class Exported(Net):
    """A network whose nodes are named as an exporter names them."""

    def __init__(self, style):
        super().__init__(size=16)
        self.style = style
        self.scopes = {}

    def at(self, path, operator, *inputs, **options):
        """Adds a node in a module, such as "layer1.0.conv1"; "" is the network itself."""
        made = self(operator, *inputs, **options)
        self.scopes[made] = path
        return made

    def read(self, *outputs):
        model = self.graph(*outputs).proto(batch=1)
        for node in model.graph.node:
            path = self.scopes[node.output[0]]
            parts = path.split(".") if path else []
            prefixes = [".".join(parts[: count + 1]) for count in range(len(parts))]
            node.name = ""
            if self.style == "new":
                entry = node.metadata_props.add()
                entry.key, entry.value = "pkg.torch.onnx.name_scopes", str(["", *prefixes, "operation"])
            elif self.style == "old":
                node.name = "/" + "/".join([*legacy(parts), node.op_type])
            else:
                copied = "_1" if self.style == "keras3" else ""
                node.name = "/".join(f"{part}{copied}" for part in ("model", *parts)) + f"/{node.op_type}"
        return tidy(from_proto(model, "net.onnx"))


def legacy(parts):
    """["layer1", "0", "conv"] as ["layer1", "layer1.0", "conv"]: an index repeats the name of its container."""
    made = []
    for part in parts:
        made.append(f"{made[-1]}.{part}" if part.isdigit() else part)
    return made


def residual(style):
    net = Exported(style)
    value = net.at("relu", "Relu", net.at("conv1", "Conv", "x", net.normal(4, 3, 3, 3), pads=[1] * 4))
    expected = {"conv1": "t0", "relu": value}
    for block in (0, 1):
        here = f"layer1.{block}"
        inner = net.at(f"{here}.conv1", "Conv", value, net.normal(4, 4, 3, 3), pads=[1] * 4)
        bent = net.at(f"{here}.act.1.fn", "Relu", inner)
        last = net.at(f"{here}.conv2", "Conv", bent, net.normal(4, 4, 3, 3), pads=[1] * 4)
        value = net.at(here, "Relu", net.at(here, "Add", last, value))
        expected |= {f"{here}.conv1": inner, f"{here}.conv2": last, here: value, f"{here}.act.1.fn": bent}
    expected["layer1"] = value
    flat = net.at("", "Flatten", net.at("pool", "GlobalAveragePool", value))
    expected["fc"] = net.at("fc", "Gemm", flat, net.normal(5, 4), net.normal(5), transB=1)
    return net.read(expected["fc"]), expected


@pytest.mark.parametrize("style", ["old", "new"])
def test_a_module_of_pytorch_means_what_it_returns(style):
    graph, expected = residual(style)
    actual = module_outputs(graph)
    assert {name: actual.get(name) for name in expected} == expected
    wanted = [name for name in expected if name not in ("conv1", "fc")]  # which are names of the field
    assert resolve_layers(graph, wanted) == {name: expected[name] for name in wanted}
    assert resolve_layers(graph, ["conv1"]) == {"conv1": "t1"}  # after its ReLU


def test_branches_that_join_outside_of_the_module_that_reads_them():
    """What a dense block returns is read by what follows, and what its layers return by the layers after them."""
    net = Exported("new")
    start = net.at("features.conv0", "Conv", "x", net.normal(4, 3, 1, 1))
    one = net.at("features.block1.layer1.conv", "Conv", start, net.normal(2, 4, 1, 1))
    both = net.at("features.block1.layer2.cat", "Concat", start, one, axis=1)
    two = net.at("features.block1.layer2.conv", "Conv", both, net.normal(2, 6, 1, 1))
    whole = net.at("features.block1", "Concat", start, one, two, axis=1)
    end = net.at("features.norm", "Relu", whole)
    actual = module_outputs(net.read(end))
    assert actual["features.block1"] == whole
    assert actual["features.block1.layer1"] == one
    assert actual["features.block1.layer2"] == two
    assert actual["features"] == end


@pytest.mark.parametrize("style", ["keras2", "keras3"])
def test_layers_of_keras_are_found_without_the_model_and_the_number_of_the_copy(style):
    net = Exported(style)
    conv = net.at("block_6_expand", "Conv", "x", net.normal(4, 3, 1, 1))
    relu = net.at("block_6_expand_relu", "Clip", conv, 0.0, 6.0)
    add = net.at("block_6_add", "Add", net.at("block_6_project", "Conv", relu, net.normal(3, 4, 1, 1)), "x")
    out = net.at("conv4_block6_out", "Relu", add)
    graph = net.read(out)
    names = {"block_6_expand_relu": relu, "block_6_add": add, "conv4_block6_out": out, "model/block_6_expand": conv}
    assert resolve_layers(graph, names) == names


def test_a_layer_s_own_number_is_no_number_of_a_copy():
    net = Exported("keras2")
    first = net.at("conv2d", "Conv", "x", net.normal(4, 3, 1, 1))
    second = net.at("conv2d_1", "Conv", first, net.normal(4, 4, 1, 1))
    assert resolve_layers(net.read(second), ["conv2d", "conv2d_1"]) == {"conv2d": first, "conv2d_1": second}


def test_a_module_that_only_dropped_values_is_what_it_read():
    net = Exported("old")
    relu = net.at("features.0", "Relu", "x")
    drop = net.at("features.1", "Dropout", relu)
    end = net.at("features.2", "Relu", drop)
    assert module_outputs(net.read(end))["features.1"] == relu


def test_the_end_of_a_path_is_enough_where_only_one_module_has_it():
    net = Exported("old")
    first = net.at("backbone.body.layer1", "Relu", "x")
    second = net.at("backbone.head.layer2", "Relu", first)
    graph = net.read(second)
    assert resolve_layers(graph, ["body.layer1", "layer2"]) == {"body.layer1": first, "layer2": second}


def test_a_module_whose_weights_took_in_a_batch_norm_is_found_by_them():
    net = Net(size=16)
    net.weights["features.0.conv.weight"] = net.normal(4, 3, 1, 1)
    net.nodes.append(helper.make_node("Conv", ["x", "features.0.conv.weight"], ["getitem"]))
    net.channels["getitem"] = 4
    graph = tidy(net.graph(net("Relu", "getitem", name="relu")))
    assert resolve_layers(graph, ["features.0.conv"]) == {"features.0.conv": "getitem"}


@pytest.mark.parametrize("text", ["[1, 2]", "{'a': 1}", "[" * 4000, "__import__('os')", "['', 'a'", "x" * 10**5])
def test_other_metadata_says_nothing(text):
    net = Net(size=16)
    model = net.graph(net("Relu", "x", name="relu")).proto(batch=1)
    entry = model.graph.node[0].metadata_props.add()
    entry.key, entry.value = "pkg.torch.onnx.name_scopes", text
    assert from_proto(model, "net.onnx").modules == {}


def test_names_of_nodes_work_and_a_wrong_name_is_answered_with_the_nearest():
    graph, _ = residual("old")
    assert resolve_layers(graph, ["/layer1/layer1.0/Add"]) == {"/layer1/layer1.0/Add": "t5"}
    with pytest.raises(
        InputError, match=r"unknown layer 'layer1\.2'; expected one of: layer1[^;]*; the names of the file's"
    ) as e:
        resolve_layers(graph, ["layer1.2"])
    assert "\n" not in str(e.value)


def test_without_names_of_the_field_all_modules_are_layers():
    net = Exported("new")
    graph = net.read(net.at("b", "Relu", net.at("a", "Relu", "x")))
    assert resolve_layers(graph) == {"a": "t0", "b": "t1"}
