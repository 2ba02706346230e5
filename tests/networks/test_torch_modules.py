"""PyTorch modules as networks: the same values as PyTorch's, and the module left as it was."""

import warnings

import numpy as np
import pytest

from tfinvert import invert
from tfinvert.networks.load import load
from tfinvert.system.errors import InputError

torch = pytest.importorskip("torch", reason="needs the extra 'torch'")
IMAGE = np.random.default_rng(1).uniform(0, 1, (2, 32, 32, 3)).astype(np.float32)


class Small(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.features = torch.nn.Sequential(
            torch.nn.Conv2d(3, 4, 3, padding=1),
            torch.nn.BatchNorm2d(4),
            torch.nn.ReLU(),
            torch.nn.MaxPool2d(2),
            torch.nn.Conv2d(4, 8, 3),
            torch.nn.ReLU(),
            torch.nn.AdaptiveAvgPool2d(1),
        )
        self.classifier = torch.nn.Linear(8, 6)

    def forward(self, image):
        return self.classifier(torch.flatten(self.features(image), 1))


class CumulativeSum(torch.nn.Module):
    """What no converter takes, before any layer that has a name."""

    def forward(self, image):
        return torch.cumsum(image, 1)


@pytest.fixture(scope="module")
def module():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = Small()
        made.features[1].running_mean.normal_()
        made.features[1].running_var.uniform_(0.5, 2)
    made.train()
    made.features[1].eval()  # frozen, as in fine-tuning
    return made


def test_the_features_are_those_of_the_module(module):
    network = load(module, size=32, preprocessing="none")
    assert (network.name, network.size) == ("Small", (32, 32))
    names = ["conv1", "pool1", "conv2", "pool2", "fc3"]
    assert list(network.layers) == names
    features = network.features(IMAGE, [*names[:3], "scores"])
    in_torch = {"conv1": module.features[:3], "pool1": module.features[:4], "conv2": module.features[:6]}
    modes = [part.training for part in module.modules()]
    module.eval()
    with torch.no_grad():
        value = torch.tensor(IMAGE.transpose(0, 3, 1, 2))
        for name, part in in_torch.items():
            np.testing.assert_allclose(features[name], part(value).permute(0, 2, 3, 1), rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(features["scores"], module(value), rtol=1e-5, atol=1e-5)
    for part, training in zip(module.modules(), modes, strict=True):
        part.training = training
    assert network.layers["conv2"].receptive_field == (8, 8)
    assert len(network.classify(IMAGE[0])) == 5


def test_another_size_is_exported_again(module):
    assert load(module).size == (224, 224)
    network = load(module, size=32).at_size((48, 40))
    assert (network.size, network.layers["conv2"].shape) == ((48, 40), (22, 18, 8))


def test_the_module_and_the_process_are_left_as_they_were(module):
    def state():
        return {
            "modes": [part.training for part in module.modules()],
            "weights": [value.numpy().tobytes() for value in module.state_dict().values()],
            "needs gradients": [value.requires_grad for value in module.parameters()],
            "gradients": torch.is_grad_enabled(),
            "generator": torch.random.get_rng_state().numpy().tolist(),
            "warnings": list(warnings.filters),
        }

    before = state()
    first = load(module, size=32)
    assert state() == before
    assert len({part.training for part in module.modules()}) == 2
    second = load(module, size=32)
    assert first.provenance() == second.provenance()
    assert first.weights == f"Small.onnx (SHA-256 {first.provenance()['onnx_sha256'][:12]})"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: torch.nn.Linear(5, 2), "the torch.nn.Module Linear cannot be exported for images of 64x64 pixels"),
        (
            lambda: torch.nn.Conv2d(3, 4, 3).half(),
            r"the torch.nn.Module Conv2d has weights of torch.float16; .*module.float\(\)",
        ),
        (lambda: CumulativeSum(), "uses the operator CumSum, which tfinvert does not convert"),
    ],
)
def test_a_module_that_cannot_be_used(make, message):
    module = make()
    with pytest.raises(InputError, match=message) as caught:
        load(module, size=64)
    assert "\n" not in str(caught.value)
    assert module.training


class Attention(torch.nn.Module):
    """Whose fast path, which PyTorch takes where no weight is trained, no exporter knows."""

    def __init__(self):
        super().__init__()
        self.patches = torch.nn.Conv2d(3, 8, 8, 8)
        self.attention = torch.nn.MultiheadAttention(8, 2, batch_first=True)
        self.head = torch.nn.Linear(8, 5)
        self.requires_grad_(False)

    def forward(self, image):
        tokens = self.patches(image).flatten(2).transpose(1, 2)
        tokens = tokens + self.attention(tokens, tokens, tokens, need_weights=False)[0]
        return self.head(tokens.mean(1))


def test_attention_with_frozen_weights_and_the_inversion_of_its_tokens():
    module = Attention().eval()
    network = load(module, size=32, preprocessing="none", converter="keras")
    network.prepare(["block0", "scores"])  # once for both
    assert network.layers["block0"].shape == (16, 8)
    expected = module(torch.tensor(IMAGE.transpose(0, 3, 1, 2)))
    np.testing.assert_allclose(network.features(IMAGE, "scores")["scores"], expected, rtol=1e-4, atol=1e-5)
    losses = [line["loss"] for line in invert("astronaut", network, layers="block0", steps=30, progress=False).history]
    assert losses[-1] < losses[0]


def test_what_the_newer_exporter_alone_takes(module, monkeypatch):
    pytest.importorskip("onnxscript", reason="needs the extra 'torch'")
    export, calls = torch.onnx.export, []

    def older_refuses(*arguments, dynamo, **options):
        calls.append(dynamo)
        if not dynamo:
            raise RuntimeError("no such operator")
        return export(*arguments, dynamo=True, **options)

    monkeypatch.setattr(torch.onnx, "export", older_refuses)
    network = load(module, size=32, preprocessing="none")
    assert (list(network.layers), calls) == (["conv1", "pool1", "conv2", "pool2", "fc3"], [False, True])
    module.eval()
    expected = module(torch.tensor(IMAGE.transpose(0, 3, 1, 2)))
    np.testing.assert_allclose(network.features(IMAGE, "scores")["scores"], expected.detach(), rtol=1e-4, atol=1e-5)


def test_an_exported_program(module):
    pytest.importorskip("onnxscript", reason="needs the extra 'torch'")
    module.eval()
    image = torch.tensor(IMAGE.transpose(0, 3, 1, 2))
    network = load(torch.export.export(module, (image[:1],)), preprocessing="none", converter="keras")
    assert (network.name, network.size) == ("ExportedProgram", (32, 32))
    np.testing.assert_allclose(network.features(IMAGE, "scores")["scores"], module(image).detach(), rtol=1e-4, atol=1e-5)
    assert network.layers["conv2"].stride == (2, 2)


class Brightness(torch.nn.Module):
    """What it does depends on the image, and it has another argument with a default."""

    def __init__(self, limit):
        super().__init__()
        self.convolution = torch.nn.Conv2d(3, 4, 3)
        self.limit = limit

    def forward(self, image, scale=2.0):
        value = torch.relu(scale * self.convolution(image))
        return {"features": value} if image.mean() <= self.limit else {"features": value.flip(1)}


@pytest.mark.slow
def test_a_module_that_does_something_else_with_another_image_is_not_taken_for_what_it_does_with_one():
    module = Brightness(limit=1e9)  # always the same
    network = load(module, size=32, preprocessing="none")
    expected = module.eval()(torch.tensor(IMAGE.transpose(0, 3, 1, 2)))["features"].detach().permute(0, 2, 3, 1)
    np.testing.assert_allclose(network.features(IMAGE, "conv1")["conv1"], expected, atol=1e-5)
    assert "forward" not in vars(module)
    with pytest.raises(InputError, match=r"Brightness cannot be exported .*it does something else with another image"):
        load(Brightness(limit=0.0), size=32)
