"""The graphs of the ONNX model zoo's networks without their weights, node for node as the zoo's exporters wrote them.

The weights are placeholders that take no memory (zero-stride arrays). `random_weights` fills those that are needed.
"""

import numpy as np
from onnx import helper

from tfinvert.networks.onnx import Graph


def vgg16_bn() -> Graph:
    """Builds vgg16-bn-7 (Simonyan & Zisserman 2014, arXiv 1409.1556).

    It has thirteen 3x3 convolutions with bias, each with batch norm and ReLU, five pools and three dense layers.
    """
    build = _Builder("data", "vgg0")
    value, channels = "data", 3
    convolution = 0
    for block, (width, depth) in enumerate(((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))):
        for _ in range(depth):
            value = build.convolution(value, f"conv{convolution}", channels, width, 3, pad=1)
            value = build.batch_norm(value, f"batchnorm{convolution}", width)
            value = build.node("Relu", f"relu{convolution}_fwd", [value])
            channels = width
            convolution += 1
        value = build.pool(value, f"pool{block}_fwd", 2, 2)
    value = build.node("Flatten", "flatten0_reshape0", [value])
    value = build.dense(value, "dense0", 25088, 4096)
    value = build.node("Relu", "dense0_relu_fwd", [value])
    value = build.node("Dropout", "dropout0_fwd", [value], ratio=0.5)
    value = build.node("Flatten", "flatten1_reshape0", [value])
    value = build.dense(value, "dense1", 4096, 4096)
    value = build.node("Relu", "dense1_relu_fwd", [value])
    value = build.node("Dropout", "dropout1_fwd", [value], ratio=0.5)
    value = build.node("Flatten", "flatten2_reshape0", [value])
    return build.graph(build.dense(value, "dense2", 4096, 1000), opset=8)


def resnet18() -> Graph:
    """Builds resnet18-v1-7 (He et al. 2015, arXiv 1512.03385).

    It has a 7x7 stem of stride 2, a max pool, eight residual blocks of two 3x3 convolutions and a dense layer.
    """
    build = _Builder("data", "resnetv15")
    value = build.convolution("data", "conv0", 3, 64, 7, stride=2, pad=3, bias=False)
    value = build.batch_norm(value, "batchnorm0", 64)
    value = build.node("Relu", "relu0_fwd", [value])
    value = build.pool(value, "pool0_fwd", 3, 2, pad=1)
    channels = 64
    for stage, width in enumerate((64, 128, 256, 512), start=1):
        convolution = 0
        for block in range(2):
            stride = 2 if block == 0 and stage > 1 else 1
            branch = value
            for position in range(2):
                here = stride if position == 0 else 1
                name = f"stage{stage}_conv{convolution}"
                branch = build.convolution(
                    branch, name, channels if position == 0 else width, width, 3, stride=here, pad=1, bias=False
                )
                branch = build.batch_norm(branch, f"stage{stage}_batchnorm{convolution}", width)
                if position == 0:
                    branch = build.node("Relu", f"stage{stage}_relu{block}_fwd", [branch])
                convolution += 1
            if stride == 2:
                name = f"stage{stage}_conv{convolution}"
                value = build.convolution(value, name, channels, width, 1, stride=2, bias=False)
                value = build.batch_norm(value, f"stage{stage}_batchnorm{convolution}", width)
                convolution += 1
            value = build.node("Add", f"stage{stage}__plus{block}", [branch, value])
            value = build.node("Relu", f"stage{stage}_activation{block}", [value])
            channels = width
    value = build.node("GlobalAveragePool", "pool1_fwd", [value])
    value = build.node("Flatten", "flatten0_reshape0", [value])
    return build.graph(build.dense(value, "dense0", 512, 1000), opset=8)


def squeezenet1_1() -> Graph:
    """Builds squeezenet1.1-7 (Iandola et al. 2016, arXiv 1602.07360).

    It has a 3x3 stem of stride 2, eight fire modules with three pools between them and a 1x1 classifier.
    """
    build = _Builder("data", "squeezenet0")
    counter = 0

    def convolution(value: str, channels: int, width: int, kernel: int, **options) -> str:
        nonlocal counter
        value = build.convolution(value, f"conv{counter}", channels, width, kernel, **options)
        value = build.node("Relu", f"relu{counter}_fwd", [value])
        counter += 1
        return value

    value = convolution("data", 3, 64, 3, stride=2)
    value = build.pool(value, "pool0_fwd", 3, 2)
    channels, pools = 64, 1
    for fire, (squeeze, expand) in enumerate(
        ((16, 64), (16, 64), (32, 128), (32, 128), (48, 192), (48, 192), (64, 256), (64, 256))
    ):
        if fire in (2, 4):
            value = build.pool(value, f"pool{pools}_fwd", 3, 2)
            pools += 1
        squeezed = convolution(value, channels, squeeze, 1)
        left = convolution(squeezed, squeeze, expand, 1)
        right = convolution(squeezed, squeeze, expand, 3, pad=1)
        value = build.node("Concat", f"concat{fire}", [left, right], axis=1)
        channels = 2 * expand
    value = build.node("Dropout", "dropout0_fwd", [value], ratio=0.5)
    value = convolution(value, channels, 1000, 1)
    value = build.node("AveragePool", f"pool{pools}_fwd", [value], kernel_shape=[13, 13], strides=[13, 13], pads=[0] * 4)
    return build.graph(build.node("Flatten", "flatten0_reshape0", [value]), opset=7)


def alexnet() -> Graph:
    """Builds bvlcalexnet-12 (Krizhevsky, Sutskever & Hinton 2012), in which Caffe's grouped convolutions are kept.

    It has five convolutions, two local response normalizations, three max pools and three dense layers.
    """
    build = _Builder("data_0", "")
    value = "data_0"
    counter = 0

    def step(operator: str, inputs: list[str], **options) -> str:
        nonlocal counter
        counter += 1
        return build.node(operator, f"r{counter - 1}", inputs, **options)

    layers = (
        (3, 96, 11, 4, 0, 1),
        (96, 256, 5, 1, 2, 2),
        (256, 384, 3, 1, 1, 1),
        (384, 384, 3, 1, 1, 2),
        (384, 256, 3, 1, 1, 2),
    )
    for index, (channels, width, kernel, stride, pad, group) in enumerate(layers, start=1):
        weights = build.weight(f"conv{index}_w_0", width, channels // group, kernel, kernel)
        value = step(
            "Conv",
            [value, weights, build.weight(f"conv{index}_b_0", width)],
            kernel_shape=[kernel] * 2,
            strides=[stride] * 2,
            pads=[pad] * 4,
            group=group,
        )
        value = step("Relu", [value])
        if index in (1, 2):
            value = step("LRN", [value], size=5, alpha=1e-4, beta=0.75, bias=1.0)
        if index in (1, 2, 5):
            # The last pool's extra pixel at the end is Caffe's rounding up.
            pads = [0, 0, 1, 1] if index == 5 else [0] * 4
            value = step("MaxPool", [value], kernel_shape=[3, 3], strides=[2, 2], pads=pads)
    shape = build.constant("OC2_DUMMY_1", np.array([1, 9216], np.int64))
    value = step("Reshape", [value, shape])
    for index, (width_in, width) in enumerate(((9216, 4096), (4096, 4096), (4096, 1000)), start=6):
        weights = build.weight(f"fc{index}_w_0", width, width_in)
        value = step("Gemm", [value, weights, build.weight(f"fc{index}_b_0", width)], transB=1)
        if index < 8:
            value = step("Relu", [value])
            value = step("Dropout", [value], ratio=0.5)
    return build.graph(build.node("Softmax", "prob_1", [value]), opset=9)


class _Builder:
    """Collects nodes and placeholder weights under a common name prefix, in MXNet's spelling."""

    def __init__(self, image: str, prefix: str):
        self.image = image
        self.prefix = f"{prefix}_" if prefix else ""
        self.nodes: list = []
        self.weights: dict[str, np.ndarray] = {}

    def weight(self, name: str, *shape: int) -> str:
        return self.constant(name, np.broadcast_to(np.float32(0), shape))

    def constant(self, name: str, value: np.ndarray) -> str:
        self.weights[self.prefix + name] = value
        return self.prefix + name

    def node(self, operator: str, name: str, inputs: list[str], **attributes) -> str:
        output = self.prefix + name
        self.nodes.append(helper.make_node(operator, inputs, [output], name=output, **attributes))
        return output

    def convolution(
        self, value: str, name: str, channels: int, width: int, kernel: int, *, stride: int = 1, pad: int = 0, bias: bool = True
    ) -> str:
        inputs = [value, self.weight(f"{name}_weight", width, channels, kernel, kernel)]
        if bias:
            inputs.append(self.weight(f"{name}_bias", width))
        return self.node(
            "Conv",
            f"{name}_fwd",
            inputs,
            dilations=[1, 1],
            group=1,
            kernel_shape=[kernel] * 2,
            pads=[pad] * 4,
            strides=[stride] * 2,
        )

    def batch_norm(self, value: str, name: str, width: int) -> str:
        parts = [self.weight(f"{name}_{part}", width) for part in ("gamma", "beta", "running_mean", "running_var")]
        return self.node("BatchNormalization", f"{name}_fwd", [value, *parts], epsilon=1e-5, momentum=0.9)

    def pool(self, value: str, name: str, kernel: int, stride: int, *, pad: int = 0) -> str:
        return self.node("MaxPool", name, [value], kernel_shape=[kernel] * 2, pads=[pad] * 4, strides=[stride] * 2)

    def dense(self, value: str, name: str, width_in: int, width: int) -> str:
        inputs = [value, self.weight(f"{name}_weight", width, width_in), self.weight(f"{name}_bias", width)]
        return self.node("Gemm", f"{name}_fwd", inputs, alpha=1.0, beta=1.0, transA=0, transB=1)

    def graph(self, output: str, *, opset: int) -> Graph:
        return Graph(
            nodes=tuple(self.nodes), weights=self.weights, image=self.image, size=(224, 224), outputs=(output,), opset=opset
        )
