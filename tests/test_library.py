"""The library takes what users have, says what does not fit by its name, and gives results that can be used further."""

import dataclasses
import pathlib
import pickle
import signal

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import tfinvert
from tfinvert import experiments, terms
from tfinvert.networks.conversion.process import Conversion
from tfinvert.system.errors import InputError, NonFiniteLossError
from tfinvert.system.signals import Interrupted

FAST = {"steps": 3, "save_every": 1, "progress": False}


@pytest.fixture(scope="module")
def network(small_file):
    return tfinvert.load(small_file, preprocessing="none")


@pytest.fixture
def no_conversion(monkeypatch):
    """A conversion that starts is an error."""

    def start(conversion, *arguments, **options):
        raise AssertionError("a conversion has been started")

    monkeypatch.setattr(Conversion, "__init__", start)


def keras_model(size=32):
    """A classifier of ten classes."""
    image = keras.Input((size, size, 3))
    features = keras.layers.Conv2D(4, 3, padding="same", activation="relu", name="conv")(image)
    scores = keras.layers.Dense(10, name="fc")(keras.layers.Flatten()(features))
    return keras.Model(image, scores, name="mine")


def torch_module():
    """The same in PyTorch."""
    nn = pytest.importorskip("torch").nn
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 32 * 32, 10))


def test_a_network_comes_in_every_form(small_file, network):
    model = keras_model()
    for source in (str(small_file), small_file, network):
        values = {} if source is network else {"preprocessing": "none"}
        assert tfinvert.invert("astronaut", source, "conv2_1", **values, **FAST).image.shape == (32, 32, 3)
    for source in (model, tfinvert.load(model)):
        assert tfinvert.invert("astronaut", source, "conv", **FAST).image.shape == (32, 32, 3)


def test_a_torch_module_is_a_network():
    module = torch_module()
    result = tfinvert.invert("astronaut", module, "conv1", size=32, **FAST)
    assert result.image.shape == (32, 32, 3)
    assert result.settings["onnx"].endswith("Sequential.onnx")


def test_a_file_in_the_home_directory_is_a_network(small_file, monkeypatch):
    monkeypatch.setenv("HOME", str(small_file.parent))
    for source in (f"~/{small_file.name}", pathlib.Path("~") / small_file.name):
        assert tfinvert.layers(source, "pool1").rows[0].name == "pool1"


def test_an_image_comes_in_every_form(network, tmp_path, monkeypatch):
    pixels = np.random.default_rng(0).integers(0, 255, (40, 30, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "x.png")
    monkeypatch.setenv("HOME", str(tmp_path))
    frozen = pixels.copy()
    frozen.setflags(write=False)
    forms = [
        str(tmp_path / "x.png"),
        pathlib.Path("~/x.png"),
        Image.fromarray(pixels),
        frozen,
        pixels / 255,
        tf.constant(pixels),
    ]
    results = [tfinvert.invert(form, network, "conv2_1", **FAST) for form in forms]
    for result in results[1:]:
        np.testing.assert_array_equal(result.image, results[0].image)
    several = tfinvert.invert(np.stack([pixels, 255 - pixels]), network, "conv2_1", **FAST)
    assert several.images.shape == several.targets.shape == (2, 32, 32, 3)
    assert several.psnr.shape == (2,)
    folder = tfinvert.invert(tmp_path, network, "conv2_1", **FAST)
    np.testing.assert_array_equal(folder.image, results[0].image)


def test_a_result_is_the_argument_of_the_next_call(network):
    first = tfinvert.invert("astronaut", network, "conv2_1", **FAST)
    assert tfinvert.invert(first, network, "conv2_1", **FAST).target.shape == (32, 32, 3)
    assert len(tfinvert.invert([first, "chelsea"], network, "conv2_1", **FAST).images) == 2
    features = network.features(first, "conv2_1")
    assert tfinvert.invert(features, network, **FAST).targets is None
    assert tfinvert.optimize(network, [terms.match(features)], init=first, **FAST).image.shape == (32, 32, 3)
    arrays = {name: np.asarray(value)[[0, 0]] for name, value in features.items()}
    assert len(tfinvert.invert(arrays, network, **FAST).images) == 2


def test_what_a_step_does_not_depend_on_is_not_traced_again(network):
    def image(**values):
        return tfinvert.invert("chelsea", network, "conv2_1", **{**FAST, **values}).image

    def solver():
        return network.kept["solver"][1]

    image()
    first = solver()
    reused = [image(seed=7), image(init="mv2015")]
    assert solver() is first
    for values in ({"jitter": 4}, {"jitter": 4, "seed": 7}, {"steps": 4}):
        before = solver()
        image(**values)
        assert solver() is not before
    for expected, values in zip(reused, ({"seed": 7}, {"init": "mv2015"}), strict=True):
        network.kept.clear()
        np.testing.assert_array_equal(image(**values), expected)


def test_values_come_as_users_write_them(network):
    result = tfinvert.invert("astronaut", network, np.array(["conv2_1"]), size=np.int64(32), layer_weights=2, **FAST)
    assert result.settings["layers"] == ("conv2_1",)
    assert result.settings["layer_weights"] == (2.0,)
    result = tfinvert.invert("astronaut", network, (name for name in ["conv2_1"]), learning_rate=tf.constant(0.5), **FAST)
    assert (result.settings["layers"], result.settings["learning_rate"]) == (("conv2_1",), 0.5)
    assert len(tfinvert.saliency("astronaut", keras_model(), methods="gradient", classes=np.int64(3)).images) >= 1


CALLS = {
    "steps": ({"steps": "many"}, "--steps is 'many'; expected a whole number"),
    "steps above 0": ({"steps": 0}, "--steps is 0; expected a finite number at least 1"),
    "unknown": ({"stepz": 3}, r"tfinvert.invert has no setting 'stepz'; did you mean steps or on_step\?"),
    "usual name": ({"lr": 0.1}, r"has no setting 'lr'; did you mean learning_rate\?"),
    "model for network": ({"model": "alexnet"}, r"has no setting 'model'; did you mean network\?"),
    "init": ({"init": "gray"}, "--init is 'gray'; did you mean grey"),
    "size": ({"size": 8}, "--size is 8; expected 16 to 2048 pixels"),
    "layers": ({"layers": ()}, "--layers is empty"),
    "layer": ({"layers": "res9"}, "unknown layer 'res9'; expected one of: res"),
    "pool": ({"pool": "mean"}, "unknown --pool 'mean'; expected one of: "),
    "model": ({"network": "resnt18"}, "unknown network 'resnt18'; expected one of: resnet18"),
    "network": ({"network": 3}, "a network cannot be loaded from a value of type int"),
    "file": ({"network": "missing.onnx"}, "missing.onnx"),
    "image": ({"image": "missing.png"}, "missing.png"),
    "shape": ({"image": np.zeros((2, 3, 4, 5, 6))}, r"image has the shape \[2, 3, 4, 5, 6\]"),
    "range": ({"image": np.full((64, 64, 3), 2.0)}, "image has values from 2 to 2; expected floats from 0 to 1"),
    "type": ({"image": {1, 2}}, "image is {1, 2}"),
    "none": ({"image": None}, "image is None"),
    "start": ({"init": np.zeros((64, 64, 7))}, "init .*7"),
    "starts": ({"init": np.zeros((2, 32, 32, 3))}, "init has 2 images; expected 1, or one for each of the 1 restarts"),
    "callback": ({"on_step": 3}, "on_step is 3; expected a function"),
    "term": ({"term": "missing.py:f"}, "missing.py"),
}


@pytest.mark.parametrize("name", CALLS)
def test_what_does_not_fit_is_named_before_anything_starts(name, no_conversion):
    values, message = CALLS[name]
    with pytest.raises(InputError, match=message) as caught:
        tfinvert.invert(**{"network": "resnet18", "layers": "res1", "weights": "random", **values})
    assert len(str(caught.value).splitlines()) == 1


def test_a_setting_is_checked_before_a_module_is_exported(monkeypatch):
    def export(module, size):
        raise AssertionError("the module is exported")

    monkeypatch.setattr("tfinvert.networks.torch_modules.export", export)
    with pytest.raises(InputError, match="--steps is 'many'"):
        tfinvert.invert("astronaut", torch_module(), "conv1", steps="many")


def test_what_a_loaded_network_cannot_change_is_refused(network):
    for values in ({"size": 64}, {"preprocessing": "torch"}, {"pool": "avg"}):
        with pytest.raises(InputError, match=f"{next(iter(values))} is .*, but the network was loaded with"):
            tfinvert.invert("astronaut", network, "conv2_1", **values)
    for source in (keras_model(), tfinvert.load(keras_model())):
        with pytest.raises(InputError, match="weights is 'random'"):
            tfinvert.invert("astronaut", source, "conv", weights="random")


def test_an_inversion_starts_from_an_image_of_any_form(network):
    first = np.random.default_rng(0).integers(0, 255, (32, 32, 3), np.uint8)
    values = {"steps": 1, "learning_rate": 1e-6, "parameterization": "clip", "progress": False}
    for init in (first, Image.fromarray(first), tf.constant(first / 255)):
        result = tfinvert.invert("astronaut", network, "conv2_1", init=init, **values)
        np.testing.assert_allclose(result.image, first / 255, atol=1e-4)
    both = np.stack([first, 255 - first])
    result = tfinvert.invert("astronaut", network, "conv2_1", init=both, seeds=2, **values)
    assert len(result.restarts) == 2
    assert min(abs(result.image - image / 255).max() for image in both) < 1e-4


def test_objects_are_refused_where_processes_need_files(small_file):
    for call in (lambda model: tfinvert.suite("q1", network=model), lambda model: tfinvert.sweep("astronaut", model)):
        with pytest.raises(InputError, match=r"expected a name or an \.onnx file"):
            call(keras_model())
    with pytest.raises(InputError, match="image is of the type ndarray; expected the name of an image file"):
        tfinvert.sweep(np.zeros((32, 32, 3)), small_file)
    with pytest.raises(InputError, match="image is a dictionary of features; expected an image"):
        tfinvert.fool({"conv2_1": np.zeros((1, 8, 8, 5))}, small_file)


@pytest.mark.parametrize("name", experiments.names())
def test_every_experiment_is_a_documented_function(name):
    function = getattr(tfinvert, name)
    assert function.__name__ == name
    for argument in function.__signature__.parameters:
        assert f"\n  {argument}: " in function.__doc__
    assert name in dir(tfinvert)
    with pytest.raises(InputError, match=f"tfinvert.{name} has no setting 'nonsense'"):
        function(nonsense=1)


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        tfinvert.nonsense  # noqa: B018


def test_a_result_is_shown_saved_and_pickled(network, tmp_path, monkeypatch):
    result = tfinvert.invert("astronaut", network, "conv2_1", **FAST)
    assert repr(result) == f"InversionResult({result.psnr:.1f} dB, 32x32, 3 steps)"
    assert result.save(tmp_path / "x.png") == [tmp_path / "x.png"]
    assert result._repr_png_().startswith(b"\x89PNG")
    shown = []
    monkeypatch.setattr(Image.Image, "show", lambda image: shown.append(image))
    result.show()
    assert [image.size for image in shown] == [(32, 32)]
    copy = pickle.loads(pickle.dumps(result))
    for field in dataclasses.fields(result):
        np.testing.assert_equal(getattr(copy, field.name), getattr(result, field.name))


def test_a_finished_run_directory_gives_its_result_again(network, tmp_path):
    first = tfinvert.invert("astronaut", network, "conv2_1", output_dir=tmp_path / "run", **FAST)
    again = tfinvert.invert("astronaut", network, "conv2_1", output_dir=tmp_path / "run", resume=True, **FAST)
    np.testing.assert_array_equal(again.image, first.image)
    assert again.history == first.history


def interrupt(snapshot):
    """Ctrl-C in the first image's third step."""
    if snapshot.step == 2 and not INTERRUPTED:
        INTERRUPTED.append(snapshot)
        signal.raise_signal(signal.SIGINT)


INTERRUPTED: list = []
CALLS_OF_TWO = {
    "invert": lambda network, values: tfinvert.invert(["astronaut", "chelsea"], network, "conv2_1", **values),
    "optimize": lambda network, values: tfinvert.optimize(
        network, [terms.total_variation(1.0)], init=np.full((2, 32, 32, 3), 0.5), **values
    ),
}


@pytest.mark.parametrize("name", CALLS_OF_TWO)
def test_an_interruption_carries_the_images_so_far(name, network):
    INTERRUPTED.clear()
    with pytest.raises(KeyboardInterrupt) as caught:
        CALLS_OF_TWO[name](network, {"on_step": interrupt, "save_every": 1, "steps": 50, "progress": False})
    result = caught.value.result
    assert len(result.images) == 2
    assert result.history[-1]["step"] == 2
    assert len(pickle.loads(pickle.dumps(result)).images) == 2


def test_what_ends_a_run_can_be_pickled():
    assert pickle.loads(pickle.dumps(Interrupted(signal.SIGTERM))).number == signal.SIGTERM
    error = pickle.loads(pickle.dumps(NonFiniteLossError(3, float("inf"))))
    assert (error.step, error.loss) == (3, float("inf"))


def test_a_callback_ends_a_run_early(network):
    for truth in (np.bool_, tf.constant):
        result = tfinvert.invert(
            "astronaut", network, "conv2_1", on_step=lambda snapshot, t=truth: t(snapshot.step == 2), **{**FAST, "steps": 50}
        )
        assert [line["step"] for line in result.history] == [0, 1, 2]
