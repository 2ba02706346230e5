"""Small graphs for tests, written down node by node."""

import numpy as np
from onnx import helper

from tfinvert.networks.onnx import Graph


class Net:
    """Collects nodes and seeded weights; each method returns the name of the tensor that it makes.

    Example:
      >>> net = Net()
      >>> net.graph(net("Relu", net.conv("x", 8), name="y")).outputs
      ('y',)
    """

    def __init__(self, channels: int = 3, size: int = 32):
        self.nodes: list = []
        self.weights: dict[str, np.ndarray] = {}
        self.channels = {"x": channels}
        self.size = size
        self.random = np.random.default_rng(0)

    def __call__(self, operator: str, *inputs, name: str | None = None, outputs: int = 1, **options):
        """Adds a node; an input that is an array or a number becomes a constant."""
        made = [name or f"t{len(self.nodes)}"] if outputs == 1 else [f"t{len(self.nodes)}_{i}" for i in range(outputs)]
        read = [value if isinstance(value, str) else self.constant(value) for value in inputs]
        self.nodes.append(helper.make_node(operator, read, made, name=made[0], **options))
        total = sum(self.channels.get(i, 0) for i in read) if operator == "Concat" else self.channels.get(read[0], 0)
        self.channels |= dict.fromkeys(made, total)
        return made[0] if outputs == 1 else made

    def constant(self, value) -> str:
        array = np.asarray(value)
        name = f"w{len(self.weights)}"
        self.weights[name] = array.astype(np.float32) if array.dtype.kind == "f" else array.astype(np.int64)
        return name

    def normal(self, *shape: int) -> np.ndarray:
        """Draws an array from N(0, 0.3^2)."""
        return (0.3 * self.random.standard_normal(shape)).astype(np.float32)

    def conv(self, value: str, width: int, side: int | tuple[int, int] = 1, stride: int = 1, group: int = 1, **options) -> str:
        """Adds a convolution that keeps the size of the image, divided by its stride."""
        sides = (side, side) if isinstance(side, int) else side
        kernel = self.normal(width, self.channels[value] // group, *sides)
        pads = options.pop("pads", [sides[0] // 2, sides[1] // 2] * 2)
        made = self("Conv", value, kernel, pads=pads, strides=[stride] * 2, group=group, **options)
        self.channels[made] = width
        return made

    def relu_conv(self, *arguments, **options) -> str:
        """Adds a convolution, as `conv` does, and a ReLU."""
        return self("Relu", self.conv(*arguments, **options))

    def classifier(self, value: str, classes: int = 10) -> str:
        """Adds the mean of the image and a dense layer."""
        flat = self("Flatten", self("GlobalAveragePool", value), axis=1)
        return self("Gemm", flat, self.normal(classes, self.channels[value]), self.normal(classes), transB=1)

    def graph(self, *outputs: str, opset: int = 17) -> Graph:
        return Graph(tuple(self.nodes), self.weights, "x", (self.size, self.size), outputs, opset)
