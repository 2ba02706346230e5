"""Families of ONNX operators, each by what tfinvert does with its nodes."""

SUPPORTED = frozenset(
    "Abs Add And AveragePool BatchNormalization Cast Ceil Celu Clip Concat Conv ConvTranspose Cos DepthToSpace Div "
    "Einsum Elu Equal Erf Exp Expand Flatten Floor Gather Gelu Gemm GlobalAveragePool GlobalMaxPool Greater "
    "GreaterOrEqual GroupNormalization HardSigmoid HardSwish InstanceNormalization LRN LayerNormalization LeakyRelu "
    "Less LessOrEqual Log LogSoftmax LpNormalization MatMul Max MaxPool Mean Min Mish Mul Neg Not Or PRelu Pad Pow "
    "Reciprocal ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum "
    "ReduceSumSquare Relu Reshape Resize Round Selu Sigmoid Sign Sin Slice Softmax Softplus Softsign SpaceToDepth "
    "Split Sqrt Squeeze Sub Sum Tanh ThresholdedRelu Tile Transpose Unsqueeze Upsample Where Xor".split()
)
CONSTANTS = frozenset(("Constant", "ConstantOfShape"))  # become weights
REMOVED = frozenset(("Identity", "Dropout"))  # become aliases
MEASURES = frozenset(("Shape", "Size"))  # known from the size of the images

ACTIVATIONS = frozenset("Relu LeakyRelu Clip Elu Selu Sigmoid HardSwish HardSigmoid Tanh Softplus".split())
POOLS = frozenset("MaxPool AveragePool GlobalAveragePool GlobalMaxPool ReduceMean".split())
DENSE = frozenset(("Gemm", "MatMul"))
RESHAPING = frozenset("Flatten Reshape Squeeze Unsqueeze".split())
