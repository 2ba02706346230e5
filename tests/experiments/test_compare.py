"""TensorFlow beside PyTorch: the same features, gradients and losses for every kind of setting."""

import dataclasses
import json
import subprocess
import sys

import pytest
from onnx import helper

from tests.bench import orders
from tests.bench.cases import Case
from tests.conftest import ROOT, run_program, tiny_graph, write_onnx
from tfinvert import cli
from tfinvert.comparison import process, sides
from tfinvert.experiments import compare
from tfinvert.networks import onnx as graphs
from tfinvert.networks.conversion.request_graph import cut_graph, folded, with_weights
from tfinvert.networks.load import from_settings, load
from tfinvert.objectives.terms import Term
from tfinvert.optimization import inversion
from tfinvert.settings.inversion import InversionSettings
from tfinvert.settings.presets import PRESETS
from tfinvert.system.errors import InputError, NonFiniteLossError

FAST = {"model": "resnet18", "weights": "random", "layers": ("res1",), "size": (64, 64), "steps": 40}
HOMEWORK = {"learning_rate": 0.01, "schedule": "constant", "feature_loss": "mse", "parameterization": "free", "init": "noise"}
DEFAULTS = {name: getattr(InversionSettings(), name) for name in HOMEWORK}
SCHEDULES = [
    {"schedule": "constant"},
    {"schedule": "exponential", "decay_rate": 0.3, "decay_steps": 7},
    {"schedule": "piecewise", "decay_boundaries": (10, 20), "decay_factors": (0.5, 0.1)},
    {"schedule": "cosine", "final_fraction": 0.1},
    {"schedule": "warmup_cosine", "warmup_steps": 8},
]


def compared(folder, measure=sides.measure, **values):
    """The result of a comparison, whose sides are run by `measure`."""
    pytest.importorskip("torch", reason="needs the extra 'torch'")
    values = {**FAST, **HOMEWORK, "torch_variants": ("channels_last",), **values, "output_dir": str(folder)}
    settings = compare.Settings(**values)
    return compare.compare(settings, from_settings(settings), measure)


# Run by `make test-all` only: each takes several seconds.
MORE = [
    {"tv_weight": 0.1, "tv_reduction": "mean"},
    {"tv_weight": 1e-5, "tv_kind": "l2", "tv_reduction": "sum"},
    {"layers": ("res1", "conv1"), "layer_weights": (1.0, 0.5), "feature_loss": "normalized"},
    {"parameterization": "clip"},
    {"optimizer": "sgd", "learning_rate": 10.0, "schedule": "cosine"},
    {"pool": "max"},
    {"model": "vgg16-bn", "layers": ("conv2_1",), "steps": 20},
    {"model": "alexnet", "layers": ("conv2",)},
    *SCHEDULES[1:],
    # With a sigmoid. From an even grey, where max pools have ties, rounding grows tenfold in every few steps.
    {**DEFAULTS, "layers": ("res3",), "schedule": "cosine", "steps": 12},
    {**DEFAULTS, "layers": ("res3",), "steps": 12},  # and a rate that is held
    {**DEFAULTS, "alpha_weight": 700.0, "backoff": True},
    {
        **DEFAULTS,
        **PRESETS["mv2015"],
        "preset": "mv2015",
        "learning_rate": 1.0,
        "steps": 40,
        "decay_boundaries": (10, 30),
    },
    {
        **DEFAULTS,
        **PRESETS["mv2016"],
        "preset": "mv2016",
        "steps": 40,
        "decay_boundaries": (30,),
        "jitter_steps": 20,
    },
    {"tv_kind": "beta", "tv_beta": 1.5, "tv_weight": 0.1},
    {"optimizer": "sgd", "learning_rate": 3000.0, "backoff": True, "steps": 20},  # diverges
]


@pytest.mark.parametrize(
    "settings",
    [
        {"tv_weight": 0.0},
        {"tv_weight": 1.0, "tv_reduction": "mean", "alpha_weight": 9.0, "regularizer_final": 0.01, "backoff": True},
        {"parameterization": "sigmoid"},
        {"model": "squeezenet1.1", "layers": ("fire2",)},
        {**DEFAULTS, "layers": ("res1",)},  # a pyramid, clipped
        *(pytest.param(settings, marks=pytest.mark.slow) for settings in MORE),
    ],
    ids=lambda settings: "-".join(f"{k}={v}" for k, v in settings.items())[:40],
)
def test_both_sides_run_the_same_thing(settings, tmp_path):
    result = compared(tmp_path, **settings)
    assert max(result.feature_difference.values()) < 1e-5
    assert result.gradient_relative_error < 1e-4
    assert result.loss_gap < 5e-3
    assert abs(result.tensorflow["psnr"] - result.pytorch["psnr"]) < 0.3
    assert result.tensorflow["loss"][-1] < result.tensorflow["loss"][0]


@pytest.mark.slow
def test_bfloat16_on_both_sides(tmp_path):
    result = compared(tmp_path, precision="bfloat16")
    assert 1e-6 < result.loss_gap < 0.1
    assert abs(result.tensorflow["psnr"] - result.pytorch["psnr"]) < 0.3


def test_each_side_in_a_process_of_its_own(tmp_path, capfd):
    pytest.importorskip("torch", reason="needs the extra 'torch'")
    network = ("--model=resnet18", "--weights=random", "--layers=res1", "--size=64")
    variants = ("eager", "channels_last")
    flags = (*network, "--steps=6", f"--torch_variants={','.join(variants)}", f"--output_dir={tmp_path}")
    assert cli.main(["tfinvert", "compare", *flags]) == 0
    printed = capfd.readouterr().out
    figures = json.loads((tmp_path / "compare.json").read_text())
    assert figures["steps"] == 6
    assert figures["loss_gap"] < 5e-3
    assert list(figures["pytorch"]["variants"]) == list(variants)
    assert figures["fastest_pytorch"] in variants
    for name, side in (("TensorFlow", figures["tensorflow"]), *figures["pytorch"]["variants"].items()):
        assert side["steps_per_second"] > 0
        assert side["seconds_to_first_step"] > 0
        assert 50 < side["peak_memory_mb"] < 20_000
        assert name in printed
    assert f"page: {tmp_path / 'report.html'}; images: {tmp_path / 'compare.png'}" in printed


def test_an_error_of_a_process_is_one_of_the_program(tmp_path):
    with pytest.raises(NonFiniteLossError, match="at step"):
        compared(tmp_path, process.measure, steps=6, learning_rate=1e30, optimizer="sgd")


def test_files_and_table(tmp_path):
    result = compared(tmp_path, steps=3)
    assert json.loads((tmp_path / "compare.json").read_text()) == json.loads(json.dumps(result.figures()))
    assert sorted(path.name for path in tmp_path.glob("*.png")) == sorted(
        f"{name}.png" for name in ("compare", "curves", "target", "tensorflow", "pytorch", "difference")
    )
    assert {name: image.shape for name, image in result.images.items()} == dict.fromkeys(
        ("target", "tensorflow", "pytorch"), (1, 64, 64, 3)
    )
    table = result.summary()
    assert f"features of res1 at the start {result.feature_difference['res1']:.1e}" in " ".join(table.split())
    assert "\nPyTorch, channels_last " in table


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"cannot write to .*file/run: "):
        compared(tmp_path / "file" / "run", steps=2)


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
    assert result.loss_gap > 5e-3


def test_without_pytorch_it_says_how_to_get_it(tmp_path, monkeypatch, capfd):
    monkeypatch.setitem(sys.modules, "torch", None)
    code = cli.main(
        ["tfinvert", "compare", "--model=resnet18", "--layers=res1", "--weights=random", f"--output_dir={tmp_path}"]
    )
    assert (code, "needs PyTorch: pip install torch" in capfd.readouterr().err) == (2, True)
    assert not (tmp_path / "run").exists()


def never(task):
    raise AssertionError("nothing may run")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"optimizer": "lbfgs"}, "--optimizer is lbfgs; --experiment=compare expects adam or sgd or mv2016"),
        ({"parameterization": "fourier"}, "--parameterization is fourier; --experiment=compare expects free or clip"),
        ({"parameterization": "deep_prior"}, "--parameterization is deep_prior; --experiment=compare expects free or clip"),
        ({"seeds": 2}, "--seeds is 2; --experiment=compare expects 1"),
    ],
)
def test_settings_that_the_port_does_not_know_are_refused(settings, message, tmp_path):
    with pytest.raises(InputError, match=message):
        compared(tmp_path, never, **settings)


def test_a_term_that_the_port_does_not_know_is_refused_before_a_step(tmp_path, monkeypatch):
    build_terms = inversion.build_terms

    def with_another(*arguments):
        return [*build_terms(*arguments), Term("sharpness", 1.0, lambda image, features: never(image))]

    monkeypatch.setattr(inversion, "build_terms", with_another)
    with pytest.raises(InputError, match="the loss has the term 'sharpness', which the PyTorch port does not know"):
        compared(tmp_path)


def test_an_own_term_is_refused(tmp_path):
    (tmp_path / "own.py").write_text("def sharpness(image, features): ...")
    with pytest.raises(InputError, match=r"own.py:sharpness is a term that the PyTorch port does not know"):
        compare.Settings(term=(f"{tmp_path}/own.py:sharpness",))


def test_an_operator_that_the_port_does_not_run_is_refused(tmp_path):
    pytest.importorskip("torch", reason="needs the extra 'torch'")
    leaky = helper.make_node("LeakyRelu", ["conv1"], ["y"])
    network = tiny_graph(32)
    network = dataclasses.replace(network, nodes=(*network.nodes[:1], leaky), outputs=("y",))
    path = write_onnx(network, tmp_path / "leaky.onnx")
    with pytest.raises(InputError, match="the network has the operator LeakyRelu, which the PyTorch port does not run"):
        compared(tmp_path, never, onnx=str(path), weights="auto", layers=("y",), size=(32, 32))


def test_it_is_imported_without_tensorflow_and_pytorch():
    code = "import sys, tfinvert.experiments.compare; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True).stdout.split()
    assert not {"tensorflow", "keras", "torch"} & set(loaded)


@pytest.mark.parametrize("side", ["tensorflow", "pytorch"])
def test_what_the_benchmark_measures_runs(side, tmp_path):
    if side == "pytorch":
        pytest.importorskip("torch", reason="needs the extra 'torch'")
    network = load("resnet18", weights="random", size=64)
    request = dataclasses.replace(network.request, layers=("conv1",))
    part, tensors = cut_graph(request)
    graph, preparation = folded(request, with_weights(request, part))
    graphs.write(graph, tmp_path / "port.onnx")
    port = {"graph": str(tmp_path / "port.onnx"), "preparation": vars(preparation), "layers": tensors, "variant": "eager"}
    settings = Case("resnet18", "conv1").order(network, "float32")
    steps = orders.steps({"side": side, "model": "resnet18", "pool": "max", "size": 64, "settings": settings, **port})
    for _ in range(3):
        next(steps)
    steps.close()


@pytest.mark.slow
def test_several_flagfiles_are_compared_one_by_one(tmp_path, small_file):
    pytest.importorskip("torch", reason="needs the extra 'torch'")
    for name, more in (("one", "--tv_weight=0.1"), ("two", "--optimizer=sgd"), ("bad", "--optimizer=lbfgs")):
        text = f"--onnx={small_file}\n--preprocessing=none\n--layers=conv1_1\n{more}\n"
        (tmp_path / f"{name}.flags").write_text(f"# The tiny network, {name}\n{text}")
    names = [str(tmp_path / f"{name}.flags") for name in ("one", "two")]
    flags = ("compare", "--steps=5", "--torch_variants=eager", f"--output_dir={tmp_path / 'out'}")
    done = run_program(*flags, f"--questions={','.join(names)}")
    assert done.returncode == 0, done.stderr
    figures = json.loads((tmp_path / "out" / "comparisons.json").read_text())
    assert {name: figures[name]["steps"] for name in figures} == {"one": 5, "two": 5}
    before = (tmp_path / "out" / "one" / "compare.json").stat().st_mtime_ns
    assert run_program(*flags, f"--questions={','.join(names)}").returncode == 0
    assert (tmp_path / "out" / "one" / "compare.json").stat().st_mtime_ns == before
    wrong = run_program(*flags, f"--questions={tmp_path / 'bad.flags'}")
    assert wrong.returncode == 2
    assert "lbfgs" in wrong.stderr
