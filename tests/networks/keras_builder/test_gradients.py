"""Gradients to the pixels against PyTorch's, for what transformers, gates and upsampling are made of."""

import numpy as np
import pytest
import tensorflow as tf

from tests.networks.keras_builder.conftest import NONE
from tfinvert.networks import keras_builder
from tfinvert.networks import onnx as graphs

torch = pytest.importorskip("torch", reason="needs the extra 'torch'")
nn, functional = torch.nn, torch.nn.functional


class Gate(nn.Module):
    """Squeeze and excitation with SiLU, as in EfficientNet."""

    def __init__(self):
        super().__init__()
        self.first, self.down, self.up = nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.Conv2d(8, 4, 1), nn.Conv2d(4, 8, 1)
        self.deep = nn.Conv2d(8, 8, 3, padding=1, groups=8)

    def forward(self, image):
        value = functional.silu(self.first(image))
        gate = torch.sigmoid(self.up(functional.silu(self.down(functional.adaptive_avg_pool2d(value, 1)))))
        return functional.hardswish(self.deep(gate * value))


class Transformer(nn.Module):
    """Patches, a class token, a position, and a block of attention and a dense layer with GELU."""

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, 12, 4, stride=4)
        self.token, self.position = nn.Parameter(torch.randn(1, 1, 12)), nn.Parameter(torch.randn(1, 17, 12))
        self.before, self.after = nn.LayerNorm(12), nn.LayerNorm(12)
        self.attention = nn.MultiheadAttention(12, 3, batch_first=True)
        self.dense = nn.Sequential(nn.Linear(12, 24), nn.GELU(), nn.Linear(24, 12))

    def forward(self, image):
        value = self.patches(image).flatten(2).transpose(1, 2)
        value = torch.cat([self.token.expand(value.shape[0], -1, -1), value], 1) + self.position
        normed = self.before(value)
        value = value + self.attention(normed, normed, normed, need_weights=False)[0]
        return value + self.dense(self.after(value))


class Shuffle(nn.Module):
    """Channels that are split, shuffled and joined, with max pools whose windows overlap, and PReLU."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.slope = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1), nn.PReLU(8)
        self.norm = nn.GroupNorm(2, 8)

    def forward(self, image):
        value = functional.max_pool2d(self.slope(self.first(image)), 3, 2, 1)
        left, right = value.chunk(2, 1)
        value = torch.cat([left, functional.relu6(self.second(right))], 1)
        batch, channels, height, width = value.shape
        value = value.view(batch, 2, channels // 2, height, width).transpose(1, 2).reshape(batch, channels, height, width)
        value = functional.interpolate(self.norm(value), scale_factor=2, mode="bilinear", align_corners=False)
        return functional.log_softmax(functional.avg_pool2d(value, 3, 2, 1), 1)


class Upward(nn.Module):
    """A transposed convolution, a pixel shuffle, a norm of the values, and a dilated convolution."""

    def __init__(self):
        super().__init__()
        self.first, self.up = nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.ConvTranspose2d(8, 8, 3, 2, 1, 1)
        self.last, self.norm = nn.Conv2d(2, 4, 3, padding=2, dilation=2), nn.InstanceNorm2d(8, affine=True)

    def forward(self, image):
        value = functional.elu(self.norm(self.up(functional.leaky_relu(self.first(image), 0.1))))
        value = functional.normalize(self.last(functional.pixel_shuffle(value, 2)), dim=1)
        return torch.exp(value[:, 1:, ::2]).clamp(0.5, 1.5) ** 2


@pytest.mark.parametrize("kind", [Gate, Transformer, Shuffle, Upward])
@pytest.mark.filterwarnings("ignore")
def test_features_and_the_gradient_to_the_pixels_are_those_of_pytorch(kind, tmp_path):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = kind().eval()
        pixels = torch.rand(2, 3, 16, 16, requires_grad=True)
    torch.onnx.export(module, (pixels[:1],), str(tmp_path / "net.onnx"), dynamo=False, input_names=["image"])
    whole = graphs.tidy(graphs.read(tmp_path / "net.onnx"))
    part = graphs.fold(graphs.settle(graphs.cut(whole, whole.outputs)))
    model = keras_builder.build(part, NONE, {"y": part.outputs[0]})

    wanted = module(pixels)
    weights = torch.linspace(-1, 1, wanted.numel()).reshape(wanted.shape)
    (wanted * weights).sum().backward()

    def last(value):
        value = value.detach().numpy()
        return value.transpose(0, 2, 3, 1) if value.ndim == 4 else value

    image = tf.constant(last(pixels))
    with tf.GradientTape() as tape:
        tape.watch(image)
        features = model(image)["y"]
        loss = tf.reduce_sum(features * last(weights))
    np.testing.assert_allclose(features, last(wanted), rtol=1e-4, atol=1e-4)
    gradient, exact = tape.gradient(loss, image).numpy(), last(pixels.grad)
    assert np.linalg.norm(gradient - exact) < 1e-3 * np.linalg.norm(exact)
