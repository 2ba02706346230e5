"""Families of ONNX operators, each by what tfinvert does with its nodes."""

SUPPORTED = frozenset(
    "Add AveragePool BatchNormalization Clip Concat Conv Elu Flatten Gemm GlobalAveragePool GlobalMaxPool HardSigmoid"
    " HardSwish LRN LeakyRelu MatMul MaxPool Mul Pad ReduceMean Relu Reshape Sigmoid Softmax Squeeze Sub Sum Tanh"
    " SpaceToDepth Transpose Unsqueeze Div Selu Softplus".split()
)
CONSTANTS = frozenset(("Constant", "ConstantOfShape"))  # become weights
REMOVED = frozenset(("Identity", "Dropout"))  # become aliases
WINDOWED = frozenset(("Conv", "MaxPool", "AveragePool", "SpaceToDepth"))  # read a window of values around each place
# Each value sees the whole image.
GLOBAL = frozenset("Gemm MatMul GlobalAveragePool GlobalMaxPool ReduceMean Flatten Reshape".split())

ACTIVATIONS = frozenset("Relu LeakyRelu Clip Elu Selu Sigmoid HardSwish HardSigmoid Tanh Softplus".split())
POOLS = frozenset("MaxPool AveragePool GlobalAveragePool GlobalMaxPool ReduceMean".split())
DENSE = frozenset(("Gemm", "MatMul"))
RESHAPING = frozenset("Flatten Reshape Squeeze Unsqueeze".split())
