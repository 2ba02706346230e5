"""TensorFlow beside PyTorch: the same features, gradients and losses for every kind of setting."""

import json
import sys

import pytest

from tests import bench
from tfinvert.errors import InputError, NonFiniteLossError
from tfinvert.experiments import compare
from tfinvert.networks.conversion import convert
from tfinvert.networks.onnx import graph
from tfinvert.optimization import schedules
from tfinvert.settings.config import PRESETS, Config

FAST = {"model": "resnet18", "weights": "random", "layers": ("res1",), "size": (64, 64), "steps": 40}
HOMEWORK = {"learning_rate": 0.01, "schedule": "constant", "feature_loss": "mse", "parameterization": "free", "init": "noise"}
DEFAULTS = {name: getattr(Config(), name) for name in HOMEWORK}
SCHEDULES = [
    {"schedule": "constant"},
    {"schedule": "exponential", "decay_rate": 0.3, "decay_steps": 7},
    {"schedule": "piecewise", "decay_boundaries": (10, 20), "decay_factors": (0.5, 0.1)},
    {"schedule": "cosine", "final_fraction": 0.1},
    {"schedule": "warmup_cosine", "warmup_steps": 8},
]


def compared(folder, launch=compare.measure, **settings):
    pytest.importorskip("torch", reason="needs the extra 'torch'")
    settings = {**FAST, **HOMEWORK, "torch_variants": ("channels_last",), **settings, "output_dir": str(folder)}
    config = Config(**settings)
    with convert.Conversion(convert.request_for(config, config.layers)) as conversion:
        return compare.run(config, conversion, launch)


@pytest.mark.parametrize(
    "settings",
    [
        {"tv_weight": 0.0},
        {"tv_weight": 0.1, "tv_reduction": "mean"},
        {"tv_weight": 1.0, "tv_reduction": "mean", "alpha_weight": 9.0, "regularizer_final": 0.01, "backoff": True},
        {"tv_weight": 1e-5, "tv_kind": "l2", "tv_reduction": "sum"},
        {"layers": ("res1", "conv1"), "layer_weights": (1.0, 0.5), "feature_loss": "normalized"},
        {"parameterization": "clip"},
        {"parameterization": "sigmoid"},
        {"optimizer": "sgd", "learning_rate": 10.0, "schedule": "cosine"},
        {"pool": "max"},
        {"model": "squeezenet1.1", "layers": ("fire2",)},
        {"model": "vgg16-bn", "layers": ("conv2_1",), "steps": 20},
        {"model": "alexnet", "layers": ("conv2",)},
        *SCHEDULES[1:],
        {**DEFAULTS, "layers": ("res1",)},  # a pyramid, clipped
        # With a sigmoid. From an even grey, where max pools have ties, rounding grows tenfold in every few steps.
        {**DEFAULTS, "layers": ("res3",), "schedule": "cosine", "steps": 12},
        {**DEFAULTS, "layers": ("res3",), "steps": 12},  # and a rate that is held
        {**DEFAULTS, "alpha_weight": 700.0, "backoff": True},
        {**DEFAULTS, **PRESETS["mv2015"], "preset": "mv2015", "learning_rate": 1.0, "steps": 40, "decay_boundaries": (10, 30)},
        {**DEFAULTS, **PRESETS["mv2016"], "preset": "mv2016", "steps": 40, "decay_boundaries": (30,), "jitter_steps": 20},
        {"tv_kind": "beta", "tv_beta": 1.5, "tv_weight": 0.1},
        {"optimizer": "sgd", "learning_rate": 3000.0, "backoff": True, "steps": 20},  # diverges
    ],
    ids=lambda settings: "-".join(f"{k}={v}" for k, v in settings.items())[:40],
)
def test_both_sides_run_the_same_thing(settings, tmp_path):
    result = compared(tmp_path, **settings)
    assert max(result["feature_difference"].values()) < 1e-5
    assert result["gradient_relative_error"] < 1e-4
    assert result["loss_gap"] < 5e-3
    assert abs(result["tensorflow"]["psnr"] - result["pytorch"]["psnr"]) < 0.3
    assert result["tensorflow"]["loss"][-1] < result["tensorflow"]["loss"][0]
    assert json.loads((tmp_path / "compare.json").read_text()) == json.loads(json.dumps(result))
    assert (tmp_path / "compare.png").exists()
    assert (tmp_path / "curves.png").exists()


def test_bfloat16_on_both_sides(tmp_path):
    result = compared(tmp_path, precision="bfloat16")
    assert 1e-6 < result["loss_gap"] < 0.1
    assert abs(result["tensorflow"]["psnr"] - result["pytorch"]["psnr"]) < 0.3


def test_each_side_in_a_process_of_its_own(tmp_path):
    variants = ("eager", "channels_last")
    result = compared(tmp_path, launch=None, steps=6, torch_variants=variants)
    assert result["loss_gap"] < 5e-3
    assert list(result["pytorch"]["variants"]) == list(variants)
    assert result["fastest_pytorch"] in variants
    for side in (result["tensorflow"], *result["pytorch"]["variants"].values()):
        assert side["steps_per_second"] > 0
        assert side["seconds_to_first_step"] > 0
        assert 50 < side["peak_memory_mb"] < 20_000


def test_an_error_of_a_process_is_one_of_the_program(tmp_path):
    with pytest.raises(NonFiniteLossError, match="at step"):
        compared(tmp_path, launch=None, steps=6, learning_rate=1e30, optimizer="sgd")


def test_another_epsilon_is_seen(tmp_path):
    """The comparison can fail: PyTorch's own way with epsilon is another optimizer where gradients are as small as it."""
    torch = pytest.importorskip("torch", reason="needs the extra 'torch'")
    step = torch.optim.Adam.step

    def with_its_own_epsilon(self, *arguments):
        self.param_groups[0]["eps"] = 1e-5
        return step(self, *arguments)

    torch.optim.Adam.step = with_its_own_epsilon
    try:
        result = compared(tmp_path, learning_rate=0.001, epsilon=1e-5, tv_weight=0.0)
    finally:
        torch.optim.Adam.step = step
    assert result["loss_gap"] > 5e-3


@pytest.mark.parametrize("settings", SCHEDULES, ids=lambda settings: settings["schedule"])
def test_the_port_s_rates_are_those_of_keras(settings):
    pytest.importorskip("torch", reason="needs the extra 'torch'")
    from tfinvert.comparison import pytorch as torch_port

    config = Config(steps=30, learning_rate=0.2, **settings)
    made = schedules.schedule(config)
    for step in range(30):
        expected = float(made(step)) if callable(made) else made
        assert torch_port.learning_rate(config, step) == pytest.approx(expected, rel=1e-5, abs=1e-8)


def test_without_pytorch_it_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "tfinvert.comparison.pytorch", raising=False)
    config = Config(**FAST, **HOMEWORK, output_dir=str(tmp_path))
    with (
        convert.Conversion(convert.request_for(config, config.layers)) as conversion,
        pytest.raises(InputError, match="pip install"),
    ):
        compare.run(config, conversion)


@pytest.mark.parametrize("side", ["tensorflow", "pytorch"])
def test_what_the_benchmark_measures_runs(side, tmp_path):
    if side == "pytorch":
        pytest.importorskip("torch", reason="needs the extra 'torch'")
    layer = {"model": "resnet18", "layer": "conv1", "pool": "max", "size": 64}
    request = convert.request(model="resnet18", onnx=None, weights="random", layers=("conv1",), size=(64, 64), pool="max")
    part, layers = convert.cut_graph(request)
    graph.write(convert.with_weights(request, part), tmp_path / "port.onnx")
    port = {"graph": str(tmp_path / "port.onnx"), "layers": layers, "variant": "eager", "stems": True}
    steps = bench.inversion({"side": side, "precision": "float32", **layer, **(port if side == "pytorch" else {})})
    for _ in range(3):
        next(steps)
    steps.close()
