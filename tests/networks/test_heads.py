"""Which output of a graph holds the class scores, and what the graph makes of them."""

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from tfinvert.networks.heads import find_head
from tfinvert.networks.load import load
from tfinvert.networks.names import last_features, scores
from tfinvert.networks.onnx import Graph, from_proto, tidy, with_output
from tfinvert.system.errors import InputError

RNG = np.random.default_rng(0)


def graph(*ends, outputs, count=10):
    """A convolution and a pool, whose values `flat` [5] the given nodes (operator, inputs, output) read."""
    weights = {
        "k": RNG.standard_normal((5, 3, 3, 3)).astype(np.float32),
        "w": RNG.standard_normal((count, 5)).astype(np.float32),
        "m": RNG.standard_normal((5, count)).astype(np.float32),
        "b": RNG.standard_normal(count).astype(np.float32),
        "k1": RNG.standard_normal((count, 5, 1, 1)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["x", "k"], ["conv"], kernel_shape=[3, 3]),
        helper.make_node("Relu", ["conv"], ["relu"]),
        helper.make_node("GlobalAveragePool", ["relu"], ["pool"]),
        helper.make_node("Flatten", ["pool"], ["flat"]),
    ]
    for operator, inputs, output in ends:
        options = {"transB": 1} if operator == "Gemm" else {"axis": 1} if "Softmax" in operator else {}
        nodes.append(helper.make_node(operator, inputs, [output], **options))
    return tidy(Graph(tuple(nodes), weights, "x", (16, 16), tuple(outputs), 13))


LOGITS = ("Gemm", ["flat", "w", "b"], "logits")
# What the network ends with -> the tensor of the scores, what is made of them, and their number.
ENDS = {
    "plain scores": ([LOGITS], "logits", "softmax", 10),
    "softmax": ([LOGITS, ("Softmax", ["logits"], "y")], "logits", "softmax", 10),
    "log-softmax": ([LOGITS, ("LogSoftmax", ["logits"], "y")], "logits", "softmax", 10),
    "logarithm of a softmax": ([LOGITS, ("Softmax", ["logits"], "p"), ("Log", ["p"], "y")], "logits", "softmax", 10),
    "several labels": ([LOGITS, ("Sigmoid", ["logits"], "y")], "logits", "sigmoid", 10),
    "one score": ([LOGITS], "logits", "sigmoid", 1),
    "one probability": ([LOGITS, ("Sigmoid", ["logits"], "y")], "logits", "sigmoid", 1),
    "index of the class": ([LOGITS, ("Softmax", ["logits"], "p"), ("ArgMax", ["p"], "y")], "logits", "softmax", 10),
    "bias apart": (
        [("MatMul", ["flat", "m"], "mm"), ("Add", ["mm", "b"], "sum"), ("Sigmoid", ["sum"], "y")],
        "sum",
        "sigmoid",
        10,
    ),
    "temperature": ([LOGITS, ("Mul", ["logits", "b"], "scaled"), ("Softmax", ["scaled"], "y")], "scaled", "softmax", 10),
    "convolution at one place": ([("Conv", ["pool", "k1"], "c"), ("Flatten", ["c"], "y")], "y", "softmax", 10),
    "softmax over it": ([("Conv", ["pool", "k1"], "c"), ("Softmax", ["c"], "p"), ("Flatten", ["p"], "y")], "c", "softmax", 10),
    "pool": ([("Conv", ["relu", "k1"], "c"), ("GlobalAveragePool", ["c"], "y")], "y", "softmax", 10),
}


@pytest.mark.parametrize("name", ENDS)
def test_scores_are_found_behind_what_is_made_of_them(name):
    ends, tensor, activation, count = ENDS[name]
    network = graph(*ends, outputs=(ends[-1][2],), count=count)
    if count > 1 and name != "index of the class":
        assert scores(network) == tensor
    head = find_head(network)
    assert (head.tensor, head.activation, head.count, head.others) == (tensor, activation, count, ())
    assert head.output == ends[-1][2]


MASK = ("Conv", ["relu", "k1"], "mask")
PROBABILITIES = ("Softmax", ["logits"], "p")
# Outputs -> the one that holds the class scores.
SEVERAL = {
    "mask and scores": ([MASK, LOGITS], ("mask", "logits"), "logits"),
    "scores and mask": ([MASK, LOGITS], ("logits", "mask"), "logits"),
    "features and scores": ([LOGITS], ("flat", "logits"), "logits"),
    "scores and their probabilities": ([LOGITS, PROBABILITIES], ("logits", "p"), "p"),
    "scores and their sigmoid": ([LOGITS, ("Sigmoid", ["logits"], "p")], ("logits", "p"), "p"),
    "class and probabilities": ([LOGITS, PROBABILITIES, ("ArgMax", ["p"], "class")], ("class", "p"), "p"),
    "box and probabilities": ([("Gemm", ["flat", "w"], "box"), LOGITS, PROBABILITIES], ("box", "p"), "p"),
    "segmentation by softmax and scores": ([MASK, ("Softmax", ["mask"], "s"), LOGITS], ("s", "logits"), "logits"),
}


@pytest.mark.parametrize("name", SEVERAL)
def test_a_lone_classifier_among_several_outputs_is_found(name):
    ends, outputs, expected = SEVERAL[name]
    head = find_head(graph(*ends, outputs=outputs))
    assert head.output == expected
    assert sorted((*head.others, head.output)) == sorted(outputs)
    assert head.activation == ("sigmoid" if "sigmoid" in name else "softmax")


def test_several_classifiers_are_told_apart_by_name():
    network = graph(LOGITS, ("Gemm", ["flat", "w"], "aux"), MASK, outputs=("aux", "mask", "logits"))
    with pytest.raises(InputError, match=r"aux \(10\), logits \(10\); choose one with --output=NAME"):
        find_head(network)
    assert find_head(with_output(network, "aux")).tensor == "aux"
    assert find_head(with_output(network, "logits")).tensor == "logits"
    with pytest.raises(InputError, match="unknown --output 'fc'; expected one of: "):
        with_output(network, "fc")
    with pytest.raises(InputError, match=r"it ends with 'mask' \(Conv\), not with a classifier"):
        find_head(with_output(network, "mask"))


def test_outputs_without_a_classifier_are_listed():
    network = graph(MASK, ("Sigmoid", ["mask"], "s"), outputs=("mask", "s"))
    with pytest.raises(InputError, match=r"none of its outputs mask \(10x14x14\), s \(10x14x14\) ends with a classifier"):
        find_head(network)


def test_the_last_features_are_those_below_the_chosen_output():
    other = [("Conv", ["conv", "k1"], "c"), ("GlobalAveragePool", ["c"], "other")]
    network = graph(LOGITS, *other, outputs=("other", "logits"))
    assert last_features(network) == "relu"
    assert last_features(with_output(network, "other")) == "c"


def test_without_a_pool_the_last_features_are_those_with_a_place():
    nodes = (
        helper.make_node("Conv", ["x", "k"], ["conv"], kernel_shape=[3, 3], strides=[2, 2]),
        helper.make_node("Relu", ["conv"], ["relu"]),
        helper.make_node("Flatten", ["relu"], ["flat"], axis=1),
        helper.make_node("Gemm", ["flat", "w"], ["hidden"]),
        helper.make_node("Relu", ["hidden"], ["on"]),
        helper.make_node("Gemm", ["on", "v"], ["scores"]),
    )
    shapes = {"k": (5, 3, 3, 3), "w": (5 * 49, 6), "v": (6, 4)}
    weights = {name: RNG.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    assert last_features(Graph(nodes, weights, "x", (16, 16), ("scores",), 13)) == "relu"


def test_an_output_keeps_the_name_that_the_file_gives_it():
    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["pool"]),
        helper.make_node("Flatten", ["pool"], ["flat"]),
        helper.make_node("Gemm", ["flat", "w"], ["fc"]),
        helper.make_node("Identity", ["fc"], ["digits"]),
        helper.make_node("Identity", ["pool"], ["features"]),
    ]
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (("x", [1, 3, 32, 32]), ("digits", [1, 7]), ("features", [1, 3, 1, 1]))
    ]
    weight = numpy_helper.from_array(RNG.standard_normal((3, 7)).astype(np.float32), "w")
    model = helper.make_model(
        helper.make_graph(nodes, "net", values[:1], values[1:], [weight]), opset_imports=[helper.make_opsetid("", 13)]
    )
    read = from_proto(model, "net")
    assert find_head(tidy(with_output(read, "digits")), ("digits",)).output == "digits"
    assert find_head(tidy(read), read.outputs).output == "digits"


@pytest.mark.parametrize("model", ["vgg16-bn", "resnet18", "squeezenet1.1", "alexnet"])
def test_the_zoo_s_networks_have_the_classes_of_imagenet(model):
    classes = load(model, weights="random").classes
    assert (classes.count, classes.exclusive, classes.is_imagenet, classes.name(366)) == (1000, True, True, "gorilla")
