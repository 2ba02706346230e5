"""Every operator against onnxruntime, for two images at once, which onnxruntime sees one after the other."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf
from onnx import helper

from tests.networks.keras_builder.conftest import build, compare, graph, images, node, numbers
from tfinvert.networks import keras_builder
from tfinvert.networks.keras_builder.rows import RowsDense
from tfinvert.networks.onnx.operators import REMOVED, SUPPORTED
from tfinvert.system.errors import InputError

I64 = np.int64


def ints(*values):
    return np.array(values, I64)


def one(kind, inputs="f", opset=17, outputs="y", weights=None, **options):
    """A graph whose last node is of one kind."""
    return graph(node(kind, inputs, outputs, **options), opset=opset, **(weights or {}))


ACTIVATIONS = {
    kind: one(kind)
    for kind in "Relu LeakyRelu Elu Selu Celu Sigmoid Tanh Softplus Softsign HardSigmoid HardSwish ThresholdedRelu Abs Exp Erf"
    " Sin Cos Floor Ceil Round Sign Neg".split()
}
ACTIVATIONS |= {
    "Mish": one("Mish", opset=18),
    "Gelu": one("Gelu", opset=20),
    "Gelu tanh": one("Gelu", opset=20, approximate="tanh"),
    "Celu 2": one("Celu", alpha=2.0),
    "Clip 0..6": one("Clip", "f low high", weights={"low": np.float32(0), "high": np.float32(6)}),
    "Clip -1..": one("Clip", "f low", weights={"low": np.float32(-1)}),
    "Clip ..1, attributes": one("Clip", opset=6, max=1.0),
    "PRelu": one("PRelu", "f s", weights={"s": numbers(6, 1, 1)}),
    "PRelu of one slope": one("PRelu", "f s", weights={"s": numbers(1)}),
    "PRelu of places": one("PRelu", "f s", weights={"s": numbers(1, 8, 6)}),
    "SiLU": graph(node("Sigmoid", "f", "s"), node("Mul", "f s", "y")),
    "Sqrt, Log, Reciprocal": graph(
        node("Abs", "f", "a"), node("Add", "a c", "b"), node("Sqrt", "b", "d"), node("Log", "d", "e"),
        node("Reciprocal", "b", "g"), node("Add", "e g", "y"), c=np.float32(0.5),
    ),
}  # fmt: skip
ARITHMETIC = {
    **{f"{kind} of two": graph(node("Tanh", "f", "t"), node(kind, "f t", "y")) for kind in "Add Sub Mul Max Min Sum".split()},
    "a constant of channels": one("Mul", "f c", weights={"c": numbers(6, 1, 1)}),
    "a constant of places first": one("Sub", "c f", weights={"c": numbers(8, 6)}),
    "a number first": one("Sub", "c f", weights={"c": np.float32(1)}),
    "Div by a constant": one("Div", "f c", weights={"c": 2 + numbers(1, 6, 1, 1) ** 2}),
    "a gate": graph(node("GlobalAveragePool", "f", "p"), node("Sigmoid", "p", "g"), node("Mul", "g f", "y")),
    "the same twice": one("Mul", "f f"),
    "Sum of three": graph(node("Tanh", "f", "t"), node("Sum", "f t c", "y"), c=numbers(6, 1, 1)),
    "Mean": graph(node("Tanh", "f", "t"), node("Mean", "f t c", "y"), c=numbers(6, 1, 1)),
    "Pow 2": one("Pow", "f c", weights={"c": np.float32(2)}),
    "Pow 3": one("Pow", "f c", weights={"c": np.float32(3)}),
    "Where": graph(node("Greater", "f zero", "m"), node("Where", "m f c", "y"), zero=np.float32(0), c=numbers(6, 1, 1)),
    "Where of a constant": graph(node("Where", "m f c", "y"), m=numbers(8, 6) > 0, c=np.float32(-3)),
    "Less, And, Not, Or, Xor": graph(
        node("Less", "f zero", "a"), node("GreaterOrEqual", "f one", "b"), node("LessOrEqual", "f one", "c"),
        node("Equal", "f one", "d"), node("Not", "a", "e"), node("And", "e c", "g"), node("Or", "g b", "h"),
        node("Xor", "h d", "i"), node("Where", "i f zero", "y"), zero=np.float32(0), one=np.float32(1),
    ),
    "Cast of truth": graph(node("Greater", "f zero", "m"), node("Cast", "m", "n", to=1), node("Mul", "n f", "y"),
                           zero=np.float32(0)),
    "Identity and Dropout": graph(node("Identity", "f", "i"), node("Dropout", "i", "d"), node("Relu", "d", "y")),
}  # fmt: skip
CONVOLUTIONS = {
    "groups": one("Conv", "f k b", weights={"k": numbers(4, 3, 3, 3), "b": numbers(4)}, group=2, pads=[1] * 4),
    "depthwise": one("Conv", "f k", weights={"k": numbers(6, 1, 3, 3)}, group=6, pads=[1] * 4, strides=[2, 2]),
    "depthwise, two for each": one("Conv", "f k", weights={"k": numbers(12, 1, 3, 2)}, group=6),
    "depthwise, dilated and strided": one("Conv", "f k", weights={"k": numbers(6, 1, 2, 2)}, group=6, strides=[2, 2],
                                          dilations=[2, 2]),
    "uneven strides": one("Conv", "f k", weights={"k": numbers(6, 1, 3, 3)}, group=6, strides=[2, 1], pads=[1] * 4),
    "dilated": one("Conv", "f k", weights={"k": numbers(4, 6, 3, 3)}, dilations=[2, 1], pads=[2, 1, 2, 1]),
    "uneven padding": one("Conv", "f k", weights={"k": numbers(4, 6, 2, 3)}, pads=[1, 0, 0, 2], strides=[2, 3]),
    "SAME_LOWER": one("Conv", "f k", weights={"k": numbers(4, 6, 2, 4)}, auto_pad="SAME_LOWER"),
    "VALID": one("Conv", "f k", weights={"k": numbers(4, 6, 2, 4)}, auto_pad="VALID", strides=[3, 2]),
    "transposed": one("ConvTranspose", "f k b", weights={"k": numbers(6, 4, 3, 3), "b": numbers(4)}, strides=[2, 2]),
    "transposed, padded": one("ConvTranspose", "f k b", weights={"k": numbers(6, 4, 3, 2), "b": numbers(4)}, strides=[2, 1],
                              pads=[1, 0, 0, 1], output_padding=[1, 0]),
    "transposed, grouped and dilated": one("ConvTranspose", "f k", weights={"k": numbers(6, 2, 2, 2)}, group=3,
                                           dilations=[2, 1]),
    "transposed to a shape": one("ConvTranspose", "f k", weights={"k": numbers(6, 4, 3, 3)}, strides=[2, 2],
                                 auto_pad="SAME_UPPER"),
}  # fmt: skip
POOLS = {
    "MaxPool": one("MaxPool", kernel_shape=[2, 2], strides=[2, 2]),
    "MaxPool, padded": one("MaxPool", kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4),
    "MaxPool, ceil": one("MaxPool", kernel_shape=[3, 2], strides=[2, 4], ceil_mode=1),
    "AveragePool, padding counted": one("AveragePool", kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4, count_include_pad=1),
    "AveragePool, padding left out": one("AveragePool", kernel_shape=[3, 3], strides=[1, 2], pads=[1, 0, 1, 1]),
    "AveragePool, SAME_UPPER": one("AveragePool", kernel_shape=[2, 3], strides=[1, 2], auto_pad="SAME_UPPER"),
    "AveragePool, ceil": one("AveragePool", kernel_shape=[3, 2], strides=[2, 2], ceil_mode=1),
    "GlobalAveragePool": one("GlobalAveragePool"),
    "GlobalMaxPool": one("GlobalMaxPool"),
    "GlobalMaxPool of a sequence": graph(
        node("Reshape", "f s", "r"), node("GlobalMaxPool", "r", "p"), node("Flatten", "p", "y"), s=ints(0, 6, 48)
    ),
}  # fmt: skip
REDUCTIONS = {
    **{
        kind: one(kind, axes=[2, 3], keepdims=0, opset=12)
        for kind in "ReduceMean ReduceMax ReduceMin ReduceL1 ReduceL2".split()
    },
    "ReduceSum": one("ReduceSum", "f a", weights={"a": ints(1)}),
    "ReduceProd": one("ReduceProd", axes=[-1], keepdims=0, opset=12),
    "ReduceSumSquare": one("ReduceSumSquare", axes=[1], opset=12),
    "ReduceLogSumExp": one("ReduceLogSumExp", axes=[1], opset=12),
    "ReduceLogSum": graph(node("Exp", "f", "e"), node("ReduceLogSum", "e", "y", axes=[1]), opset=12),
    "Softmax": one("Softmax", axis=1),
    "Softmax of old, over all that follows": one("Softmax", axis=1, opset=11),
    "LogSoftmax": one("LogSoftmax", axis=1),
    "BatchNormalization": one("BatchNormalization", "x a b c d", weights={
        "a": numbers(3), "b": numbers(3), "c": numbers(3), "d": numbers(3) ** 2 + 0.1}, epsilon=1e-3),
    "LayerNormalization of channels": graph(
        node("Transpose", "f", "t", perm=[0, 2, 3, 1]), node("LayerNormalization", "t s b", "n", axis=-1),
        node("Transpose", "n", "y", perm=[0, 3, 1, 2]), s=numbers(6), b=numbers(6),
    ),
    "LayerNormalization of all": one("LayerNormalization", "f s", axis=1, weights={"s": numbers(6, 8, 6)}),
    "InstanceNormalization": one("InstanceNormalization", "f s b", weights={"s": numbers(6), "b": numbers(6)}),
    "GroupNormalization as PyTorch writes it": graph(
        node("Reshape", "f s", "r"), node("InstanceNormalization", "r a b", "i"), node("Reshape", "i t", "y"),
        s=ints(0, 3, -1), t=ints(1, 6, 8, 6), a=numbers(3), b=numbers(3),
    ),
    "GroupNormalization": one("GroupNormalization", "f s b", opset=21, num_groups=2,
                              weights={"s": numbers(6), "b": numbers(6)}),
    "LRN": one("LRN", size=3, alpha=0.1, beta=0.75, bias=2.0),
    "LpNormalization": one("LpNormalization", axis=1),
}  # fmt: skip
SHAPES = {
    "Flatten": one("Flatten"),
    "Flatten of sides of 1": graph(node("GlobalAveragePool", "f", "p"), node("Flatten", "p", "y")),
    "Flatten before the batch": graph(node("Flatten", "f", "g", axis=0), node("Reshape", "g s", "y"), s=ints(-1, 6, 8, 6)),
    "channel shuffle": graph(
        node("Reshape", "f s", "r"), node("Transpose", "r", "t", perm=[0, 2, 1, 3, 4]), node("Reshape", "t u", "y"),
        s=ints(1, 2, 3, 8, 6), u=ints(1, 6, 8, 6),
    ),
    "tokens": graph(
        node("Reshape", "f s", "r"), node("Transpose", "r", "t", perm=[0, 2, 1]), node("MatMul", "t m", "y"),
        s=ints(0, 6, -1), m=numbers(6, 5),
    ),
    "windows": graph(
        node("Transpose", "f", "l", perm=[0, 2, 3, 1]), node("Reshape", "l a", "r"),
        node("Transpose", "r", "t", perm=[0, 1, 3, 2, 4, 5]), node("Reshape", "t b", "w"), node("MatMul", "w m", "p"),
        node("Reshape", "p a2", "q"), node("Transpose", "q", "u", perm=[0, 1, 3, 2, 4, 5]), node("Reshape", "u c", "y"),
        a=ints(1, 4, 2, 3, 2, 6), b=ints(-1, 4, 6), m=numbers(6, 6), a2=ints(1, 4, 3, 2, 2, 6), c=ints(1, 8, 6, 6),
    ),
    "Squeeze, Unsqueeze": graph(
        node("GlobalAveragePool", "f", "p"), node("Squeeze", "p a", "s"), node("Unsqueeze", "s b", "u"),
        node("Mul", "u f", "y"), a=ints(2, 3), b=ints(2, 3),
    ),
    "an axis before the batch": graph(
        node("Unsqueeze", "f a", "u"), node("Transpose", "u", "t", perm=[2, 0, 1, 3, 4]),
        node("ReduceMean", "t", "m", axes=[0], keepdims=0), node("Squeeze", "m a", "y"), a=ints(0), opset=13,
    ),
    "Slice": one("Slice", "f a b c d", weights={"a": ints(1, -3), "b": ints(9999, -1), "c": ints(1, 3), "d": ints(2, 1)}),
    "Slice backwards": one("Slice", "f a b c d", weights={"a": ints(-1), "b": ints(-9999), "c": ints(2), "d": ints(-2)}),
    "Slice of old": one("Slice", opset=9, starts=[1], ends=[4], axes=[1]),
    "Gather one": graph(node("Gather", "f i", "g", axis=1), node("Unsqueeze", "g a", "y"), i=np.array(-1, I64), a=ints(1)),
    "a view with other strides": graph(
        node("Reshape", "f m", "r"), node("Gather", "r i", "y", axis=0), m=ints(-1),
        i=np.random.default_rng(0).permutation(288).reshape(1, 8, 6, 6),
    ),
    "Gather several": one("Gather", "f i", axis=1, weights={"i": ints(2, 0, 0, 5)}),
    "Gather a table": one("Gather", "f i", axis=3, weights={"i": np.array([[0, 1], [5, 2]], I64)}),
    "Split": graph(node("Split", "f s", "a b", axis=1), node("Concat", "b a", "y", axis=1), s=ints(2, 4)),
    "Split evenly": graph(node("Split", "f", "a b c", axis=1), node("Concat", "c a b", "y", axis=1), opset=11),
    "Concat with a constant": one("Concat", "f c", axis=1, weights={"c": numbers(1, 2, 8, 6)}),
    "a class token": graph(
        node("Reshape", "f s", "r"), node("Transpose", "r", "t", perm=[0, 2, 1]), node("Concat", "k t", "y", axis=1),
        s=ints(1, 6, 48), k=numbers(1, 1, 6),
    ),
    "a class token for as many images as there are": graph(
        node("Shape", "x", "n"), node("Gather", "n z", "b", axis=0), node("Concat", "b o", "e", axis=0),
        node("Expand", "k e", "c"), node("Reshape", "f s", "r"), node("Transpose", "r", "t", perm=[0, 2, 1]),
        node("Concat", "c t", "y", axis=1), z=ints(0), o=ints(1, 6), k=numbers(1, 1, 6), s=ints(0, 6, -1),
    ),
    "Expand": graph(node("GlobalAveragePool", "f", "p"), node("Expand", "p s", "y"), s=ints(1, 1, 4, 3)),
    "Tile": one("Tile", "f r", weights={"r": ints(1, 2, 1, 3)}),
    "Pad": one("Pad", "f p v", weights={"p": ints(0, 1, 2, 0, 0, 0, 1, 3), "v": np.float32(0.5)}),
    "Pad that cuts": one("Pad", "f p", weights={"p": ints(0, 0, -1, 0, 0, 0, 2, -2)}),
    "Pad reflect": one("Pad", "f p", mode="reflect", weights={"p": ints(0, 0, 2, 1, 0, 0, 1, 3)}),
    "Pad edge": one("Pad", "f p", mode="edge", weights={"p": ints(0, 0, 2, 1, 0, 0, 1, 3)}),
    "SpaceToDepth": one("SpaceToDepth", blocksize=2),
    "DepthToSpace": graph(node("Conv", "f k", "c"), node("DepthToSpace", "c", "y", blocksize=2), k=numbers(8, 6, 1, 1)),
    "DepthToSpace CRD": graph(node("Conv", "f k", "c"), node("DepthToSpace", "c", "y", blocksize=2, mode="CRD"),
                              k=numbers(8, 6, 1, 1)),
    "view(x.size(0), -1)": graph(
        node("Shape", "f", "n"), node("Gather", "n z", "b", axis=0), node("Unsqueeze", "b a", "u"),
        node("Concat", "u m", "s", axis=0), node("Reshape", "f s", "r"), node("Gemm", "r w", "y"),
        z=np.array(0, I64), a=ints(0), m=ints(-1), w=numbers(288, 5),
    ),
}  # fmt: skip
SCALES = np.array([1, 1, 2, 3], np.float32)
RESIZES = {
    "nearest": one("Resize", "f r s", mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor",
                   weights={"r": np.zeros(0, np.float32), "s": SCALES}),
    "nearest, smaller": one("Resize", "f r s", mode="nearest", weights={
        "r": np.zeros(0, np.float32), "s": np.array([1, 1, 0.6, 1.7], np.float32)}),
    "linear": one("Resize", "f r s", mode="linear", weights={"r": np.zeros(0, np.float32), "s": SCALES}),
    "linear, corners aligned, to sizes": one("Resize", "f r s n", mode="linear", coordinate_transformation_mode="align_corners",
        weights={"r": np.zeros(0, np.float32), "s": np.zeros(0, np.float32), "n": ints(1, 6, 13, 5)}),
    "cubic": one("Resize", "f r s n", mode="cubic", weights={
        "r": np.zeros(0, np.float32), "s": np.zeros(0, np.float32), "n": ints(1, 6, 16, 9)}),
    "Upsample": one("Upsample", "f s", opset=9, mode="nearest", weights={"s": SCALES}),
    "to the shape of another": graph(
        node("MaxPool", "f", "p", kernel_shape=[2, 2], strides=[2, 2]), node("Shape", "f", "n"),
        node("Resize", "p r r n", "u", mode="linear"), node("Concat", "u f", "y", axis=1), r=np.zeros(0, np.float32),
    ),
}  # fmt: skip
HEADS = {"t": numbers(6, 12), "s": ints(1, 48, 2, 2, 3), "q0": np.array(0, I64), "q1": np.array(1, I64)}
MATRICES = {
    "Gemm": graph(node("Flatten", "f", "g"), node("Gemm", "g m b", "y", transB=1, alpha=0.5, beta=2.0), m=numbers(5, 288),
                  b=numbers(5)),
    "Gemm of one bias": graph(node("Flatten", "f", "g"), node("Gemm", "g m b", "y"), m=numbers(288, 5), b=numbers(1)),
    "MatMul along the last axis": one("MatMul", "f m", weights={"m": numbers(6, 4)}),
    "MatMul by a stack": one("MatMul", "f m", weights={"m": numbers(1, 6, 6, 4)}),
    "MatMul from the left": one("MatMul", "m f", weights={"m": numbers(3, 8)}),
    "Einsum": one("Einsum", "f m", equation="bchw,cd->bdhw", weights={"m": numbers(6, 4)}),
    "Einsum of large letters": one("Einsum", "f m", equation="bChW, C D -> bWhD", weights={"m": numbers(6, 4)}),
    "attention": graph(
        node("Reshape", "f a", "r"), node("Transpose", "r", "tokens", perm=[0, 2, 1]), node("MatMul", "tokens t", "qk"),
        node("Reshape", "qk s", "five"), node("Transpose", "five", "swapped", perm=[2, 0, 3, 1, 4]),
        node("Gather", "swapped q0", "q", axis=0), node("Gather", "swapped q1", "k", axis=0),
        node("Transpose", "k", "kt", perm=[0, 1, 3, 2]), node("MatMul", "q kt", "scores"),
        node("Softmax", "scores", "p", axis=-1),
        node("MatMul", "p q", "o"), node("Transpose", "o", "ot", perm=[0, 2, 1, 3]), node("Reshape", "ot e", "y"),
        a=ints(1, 6, 48), e=ints(1, 48, 6), **HEADS,
    ),
    "attention with the batch second, as in torch.nn.MultiheadAttention": graph(
        node("Reshape", "f a", "r"), node("Transpose", "r", "tokens", perm=[2, 0, 1]),
        node("Reshape", "tokens h", "heads"), node("Transpose", "heads", "q", perm=[1, 0, 2]),
        node("Transpose", "q", "k", perm=[0, 2, 1]), node("MatMul", "q k", "scores"), node("Softmax", "scores", "p", axis=-1),
        node("MatMul", "p q", "o"), node("Transpose", "o", "back", perm=[1, 0, 2]), node("Reshape", "back rows", "flat"),
        node("Gemm", "flat m b", "g"), node("Reshape", "g again", "third"), node("Transpose", "third", "y", perm=[1, 0, 2]),
        a=ints(1, 6, 48), h=ints(48, 2, 3), rows=ints(48, 6), again=ints(48, 1, 6), m=numbers(6, 6), b=numbers(6),
    ),
}  # fmt: skip
CASES = {**ACTIVATIONS, **ARITHMETIC, **CONVOLUTIONS, **POOLS, **REDUCTIONS, **SHAPES, **RESIZES, **MATRICES}


@pytest.mark.parametrize("name", CASES)
def test_an_operator_agrees_with_onnxruntime(name):
    model = compare(CASES[name])
    assert model.trainable_variables == []


def test_every_operator_that_is_supported_can_be_built():
    assert keras_builder.OPERATORS.keys() | {"GroupNormalization"} == SUPPORTED | REMOVED  # that becomes others
    tried = {n.op_type for whole in CASES.values() for n in whole.nodes}
    assert tried >= SUPPORTED


def test_a_layer_has_the_name_of_its_tensor_and_is_a_real_one():
    whole = graph(
        node("Relu", "f", "conv/1"), node("MaxPool", "conv/1", "pool1", kernel_shape=[2, 2]), outputs=("conv/1", "pool1", "f")
    )
    model = build(whole, fold=False)
    assert isinstance(model.get_layer("conv_1"), keras.layers.ReLU)
    assert isinstance(model.get_layer("pool1"), keras.layers.MaxPooling2D)
    assert isinstance(model.get_layer("f"), keras.layers.Conv2D)
    assert model.count_params() == 6 * 3 * 9
    assert set(model.output) == {"conv/1", "pool1", "f"}


@pytest.mark.parametrize("name", ["model/Relu6:0", "/layer1/Relu_output_0", "-1", "_", "größe", "a b", "x::y"])
def test_any_name_of_a_tensor_can_be_traced(name):
    whole = graph(outputs=("y",))
    pool = helper.make_node("MaxPool", [name], ["y"], kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    whole = dataclasses.replace(whole, nodes=(*whole.nodes, helper.make_node("Relu", ["f"], [name]), pool))
    model = build(whole)
    shape = (1, *whole.size, 3)
    traced = tf.function(lambda image: model(image), autograph=False).get_concrete_function(tf.TensorSpec(shape, tf.float32))
    assert traced.structured_outputs["y"].shape == (1, 4, 3, 6)


@pytest.mark.parametrize(("outputs", "has_bias"), [(("y",), True), (("p", "y"), False)])
def test_a_vector_that_is_added_to_a_product_is_a_bias_unless_the_product_is_wanted(outputs, has_bias):
    whole = graph(node("MatMul", "f w", "p"), node("Add", "b p", "y"), outputs=outputs, w=numbers(6, 5), b=numbers(5))
    (dense,) = (layer for layer in compare(whole).layers if isinstance(layer, RowsDense))
    assert dense.use_bias == has_bias


def test_an_order_of_axes_that_comes_to_the_same_moves_nothing():
    shuffle = build(CASES["channel shuffle"])
    assert sum(isinstance(layer, keras.layers.Permute) for layer in shuffle.layers) <= 1
    norm = build(CASES["LayerNormalization of channels"])
    assert not any("transposed" in layer.name for layer in norm.layers)
    flat = build(CASES["Flatten of sides of 1"])
    assert not any("transposed" in layer.name for layer in flat.layers)


@pytest.mark.parametrize(
    ("whole", "words"),
    [
        (one("MaxPool", kernel_shape=[2, 2], dilations=[2, 2]), "'y' \\(MaxPool\\) cannot be built in Keras with dilations"),
        (graph(node("Cast", "f", "i", to=7), node("Cast", "i", "y", to=1)), "to INT64"),
        (one("Cast", to=7), "'y' is of type INT64; expected a layer of float32"),
        (one("LpNormalization", axis=1, p=1), "with p = 1"),
        (one("Gather", "f i", axis=0, weights={"i": ints(0)}), "along the batch"),
    ],
)
def test_what_cannot_be_built_is_named(whole, words):
    with pytest.raises(InputError, match=words):
        build(whole)


def test_double_precision_is_double_all_the_way():
    whole = graph(node("Tanh", "f", "t"), node("Mul", "t c", "y"), c=numbers(6, 1, 1))
    batch = images().astype(np.float64)
    single, double = build(whole)(batch)["y"], build(whole, "float64")(batch)["y"]
    assert keras.backend.standardize_dtype(double.dtype) == "float64"
    difference = float(np.abs(np.asarray(single) - np.asarray(double)).max())
    assert 0 < difference < 1e-5
