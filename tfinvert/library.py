"""The functions of the library: each experiment as a Python function, made from its settings."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import inspect
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tfinvert import experiments, images, runner, worker
from tfinvert.networks import zoo
from tfinvert.networks.load import OWN_WEIGHTS, load
from tfinvert.networks.network import Network
from tfinvert.runs.result import OptimizationResult
from tfinvert.settings.fields import spec
from tfinvert.settings.flags import USUAL_NAMES
from tfinvert.settings.groups import ImageFileSettings, NetworkSettings, ResumableSettings, array_names
from tfinvert.settings.help_text import docstring
from tfinvert.settings.inversion import STARTS, InversionSettings, Resolved
from tfinvert.system.errors import InputError, shown

# Settings with which a network is loaded.
NETWORK_OPTIONS = ("weights", "preprocessing", "size", "pool", "output", "class_names", "converter", "winograd")

_LOCK = threading.RLock()


def _one_at_a_time(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function whose calls by several threads follow one another: a run changes what the whole process has, and traces."""

    @functools.wraps(function)
    def locked(*values: Any, **named: Any) -> Any:
        with _LOCK:
            return function(*values, **named)

    return locked


def function(name: str) -> Callable[..., Any]:
    """An experiment as a function, with the signature and the docstring that its settings give it.

    Args:
      name: an experiment of the package, or the path of a Python file with one.
    """
    experiment = experiments.find(name)
    kind = experiment.settings
    fields = {field.name: field for field in dataclasses.fields(kind) if spec(field).doc}
    defaults: dict[str, Any] = {name: fields[name].default for name in fields}
    if issubclass(kind, NetworkSettings):
        defaults["network"] = defaults.pop("model")
        defaults.pop("onnx")
    extras = {"progress": True, "on_step": None}
    takes = inspect.signature(experiment.module.run).parameters
    defaults |= {name: value for name, value in extras.items() if name in takes}
    positional = inspect.Parameter.POSITIONAL_OR_KEYWORD
    first = kind.positional or tuple(name for name in ("image", "network") if name in defaults)
    parameters = [inspect.Parameter(name, positional, default=defaults[name]) for name in first]
    parameters += [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=value)
        for name, value in defaults.items()
        if name not in first
    ]
    signature = inspect.Signature(parameters)

    def call(*values: Any, **named: Any) -> Any:
        unknown = [name for name in named if name not in defaults]
        if unknown:
            usual = {**USUAL_NAMES, "model": "network", "onnx": "network"}.get(unknown[0])
            near = [usual] if usual in defaults else difflib.get_close_matches(unknown[0], defaults, n=2)
            hint = f"; did you mean {' or '.join(near)}?" if near else f"; its settings: {', '.join(sorted(defaults))}"
            raise InputError(f"tfinvert.{Path(name).stem} has no setting {unknown[0]!r}{hint}")
        return _call(experiment, signature.bind(*values, **named).arguments)

    call.__name__ = call.__qualname__ = Path(name).stem
    call.__signature__ = signature  # type: ignore[attr-defined]
    call.__doc__ = docstring(experiment.module, list(signature.parameters), fields)
    return call


@_one_at_a_time
def _call(experiment: experiments.Experiment, arguments: dict[str, Any]) -> Any:
    """Runs an experiment with a user's values; returns its result, or raises what ended it early."""
    kind = experiment.settings
    # What can be read once only is read here.
    values = {name: tuple(value) if isinstance(value, Iterator) else value for name, value in arguments.items()}
    takes = inspect.signature(experiment.module.run).parameters
    objects: dict[str, Any] = {name: values.pop(name) for name in ("progress", "on_step") if name in values}
    _check_callback(objects.get("on_step"))
    if "image" in values and issubclass(kind, ImageFileSettings):
        objects |= _image(values, takes)
    if "initial" in takes and not isinstance(init := values.get("init", ""), (str, os.PathLike)):
        images.as_images(init, None, "init")  # what is wrong is said before a network is converted
        objects["initial"], values["init"] = init, array_names(1)[0]
    source = values.pop("network", None)
    if isinstance(source, (str, os.PathLike)) and (name := zoo.setting(source)):
        values[name] = os.path.expanduser(source)
    elif source is not None:
        checked = kind(**kind.complete(values))  # what is wrong is said before a module is exported
        options = {name: getattr(checked, name) for name in NETWORK_OPTIONS if values.get(name) is not None}
        objects["network"] = network = _network(source, options)
        if "network" not in takes and "onnx" not in network.settings():
            raise InputError("network is a Keras model; expected a name or an .onnx file, for runs in processes of their own")
        own = {field.name for field in dataclasses.fields(kind) if spec(field).doc}
        values.update({name: value for name, value in network.settings().items() if name in own})
    settings = kind(**kind.complete(values))
    write = getattr(settings, "output_dir", None) is not None
    return _result(runner.execute(experiment, settings, runner.Given(**objects), write=write, work=worker.work))


def _check_callback(on_step: Any) -> None:
    if on_step is not None and not callable(on_step):
        raise InputError(f"on_step is {shown(on_step)}; expected a function of a Snapshot")


def _image(values: dict[str, Any], takes: Mapping[str, Any]) -> dict[str, Any]:
    """The image as an object for `Given`; in `values` stands its file, or a name for it."""
    image = values["image"]
    if isinstance(image, Mapping):
        if "targets" not in takes:
            raise InputError("image is a dictionary of features; expected an image")
        first = next(iter(image.values()), ())
        values["image"] = array_names(max(1, len(first)) if np.ndim(first) else 1)
        values.setdefault("layers", tuple(image))
        return {"targets": image}
    if _are_files(image):
        return {}
    if "images" not in takes:
        raise InputError(f"image is of the type {type(image).__name__}; expected the name of an image file")
    values["image"] = array_names(len(images.as_images(image, None, "image")))
    return {"images": image}


def _are_files(image: Any) -> bool:
    several = image if isinstance(image, (list, tuple)) and image else [image]
    return all(isinstance(item, (str, os.PathLike)) for item in several)


def _network(source: Any, options: Mapping[str, Any]) -> Network:
    """The network that is handed over as an object; raises InputError where it was loaded with other options."""
    if not isinstance(source, Network):
        return load(source, **options)
    actual = {**source.settings(), "size": source.size, "preprocessing": source.preprocessing}
    if "weights" not in actual and options.get("weights") == "random":
        raise InputError(OWN_WEIGHTS)
    for name, value in options.items():
        if value != actual.get(name, value):
            raise InputError(f"{name} is {value!r}, but the network was loaded with {actual[name]!r}; give it to tfinvert.load")
    return source


def _result(runs: list[runner.Run]) -> Any:
    results = [run.result for run in runs]
    result = results[0] if len(results) == 1 else results[0].joined(results)
    for error in (getattr(one, "error", None) for one in results):
        if error is not None:
            error.result = result
            raise error
    return result


@_one_at_a_time
def optimize(
    network: Any,
    terms: Any,
    *,
    init: Any = "grey",
    parameterization: Any = None,
    optimizer: Any = "adam",
    learning_rate: float | None = None,
    schedule: Any = None,
    steps: int | None = None,
    transform: Callable[[Any, Any], Any] | None = None,
    seed: int = 12345,
    save_every: int = 10,
    on_step: Callable[..., Any] | None = None,
    progress: bool = True,
) -> OptimizationResult:
    """Finds the image that makes a sum of terms small, by gradient descent.

    What is not given is chosen from the stride of the shallowest layer that the terms read (docs/benchmark.md).

    Args:
      network: what `tfinvert.load` returned or takes.
      terms: what is minimized: a list of terms from `tfinvert.terms`, and of functions (image [n, height, width, 3] in [0, 1],
        features by layer [n, ...]) -> [n].
      init: the first image: noise, grey, mv2015, mv2016, or one or several images as `network.features` takes them.
      parameterization: the name of one (`--parameterization`), or a `Parameterization`.
      optimizer: adam, sgd, mv2016 or lbfgs, or a keras.optimizers.Optimizer, which keeps its own learning rate.
      learning_rate: the rate at the first step.
      schedule: constant, exponential or cosine, or a keras.optimizers.schedules.LearningRateSchedule.
      steps: number of steps.
      transform: (image, step) -> image as the network sees it in that step; see `tfinvert.images.transforms`. It is traced
        once: its random numbers must be TensorFlow's, such as `tf.random.stateless_uniform` of the step.
      seed: seed of the noise of `init`.
      save_every: number of steps between lines of the history, and calls of `on_step`.
      on_step: a function of each Snapshot (step, loss, terms, learning_rate, image). The optimization ends where it returns
        True.
      progress: whether a progress bar is shown.

    Returns:
      An OptimizationResult: images, history, losses.

    Raises:
      InputError: an argument cannot be used, or a term does not return [n].
      NonFiniteLossError: the loss became NaN or infinite.
      KeyboardInterrupt: Ctrl-C; its `result` is the OptimizationResult so far.

    Examples:
      >>> network = tfinvert.load("resnet18")
      >>> def dark(image, features):
      ...     return tf.reduce_mean(image, axis=[1, 2, 3])
      >>> target = network.features("astronaut", "res2")
      >>> result = tfinvert.optimize(network, [tfinvert.terms.match(target), dark], steps=50)
      >>> result.image.shape
      (224, 224, 3)
    """
    from tfinvert.images import transforms
    from tfinvert.images.parameterizations import Parameterization
    from tfinvert.objectives import own_terms
    from tfinvert.optimization import inversion, precision, state
    from tfinvert.optimization.optimizers import build_optimizer
    from tfinvert.optimization.solver import Solver
    from tfinvert.runs import recording

    # What is wrong is said before a network is converted.
    InversionSettings(init=init if isinstance(init, str) else "grey", learning_rate=learning_rate, steps=steps, seed=seed)
    ResumableSettings(save_every=save_every)
    _check_callback(on_step)
    transform = None if transform is None else transforms.own(transform)
    named = {"parameterization": parameterization, "optimizer": optimizer, "schedule": schedule}
    own = {name: value for name, value in named.items() if value is not None and not isinstance(value, str)}
    if (name := next((name for name in ("optimizer", "schedule") if name in own), "")) and learning_rate is not None:
        raise InputError(f"learning_rate is {learning_rate}, and the {name} is an object, which has its own; give one of them")
    if "optimizer" in own and schedule is not None:
        raise InputError("the optimizer is an object, which has its own schedule; give the schedule to it as its learning rate")
    if not isinstance(given := own.get("parameterization"), Parameterization | None):
        raise InputError(f"the parameterization is {shown(given)}; expected a name, or a Parameterization")
    network = network if isinstance(network, Network) else load(network)
    own_image = not (isinstance(init, str) and init in STARTS)
    first = images.as_images(init, network.size, "init") if own_image else images.initial_image(init, network.size, seed)
    count = max(len(first), own_terms.batch_size(terms))
    first = np.repeat(first, count, axis=0) if len(first) == 1 else first
    named_layers = {name: network.layer(name) for name in own_terms.layers_of(terms) if name not in network.layers}
    shapes = {name: layer.shape for name, layer in {**network.layers, **named_layers}.items()}
    made = own_terms.as_terms(terms, shapes, first.shape)
    layers = tuple(dict.fromkeys(layer for term in made for layer in term.layers))
    settings = _resolved(network, layers, learning_rate=learning_rate, steps=steps, seed=seed)
    settings = dataclasses.replace(settings, **{name: value for name, value in named.items() if isinstance(value, str)})
    problem = state.Problem(
        network.cut(layers) if layers else lambda image, training: {},
        tuple(made),
        (own.get("parameterization") or inversion.build_parameterization(settings, network.size)).autographed(),
        build_optimizer(settings, optimizer=own.get("optimizer"), schedule=own.get("schedule")),
        transform,
        settings.backoff,
    )
    variables = state.init(problem, first)
    with precision.arithmetic("float32", 0) as change_precision:
        (outcome,) = recording.record(
            Solver([problem], [variables]),
            [recording.Recording(on_step=on_step or (lambda snapshot: None))],
            settings.steps,
            save_every,
            change_precision=change_precision,
            progress=progress,
        )
    result = OptimizationResult(
        images=np.clip(state.best_image(problem, variables), 0, 1),
        history=outcome.lines,
        weights=network.weights,
        losses=state.best_losses(variables),
        terms={term.name: outcome.lines[-1][term.name] for term in made} if outcome.lines else {},
        settings=dataclasses.asdict(settings),
    )
    if outcome.error is not None:
        outcome.error.result = result
        raise outcome.error
    return result


def _resolved(network: Network, layers: tuple[str, ...], **given: Any) -> Resolved:
    """The settings that the preset `auto` chooses for layers, without regularizers."""
    from tfinvert.networks.layer import Layer
    from tfinvert.optimization import presets

    # Terms of the image alone need no preset for their depth: every pixel is a value.
    depths = {name: network.layer(name) for name in layers} or {"image": Layer("image", "", (*network.size, 3), (1, 1), (1, 1))}
    settings = InversionSettings(layers=tuple(depths), tv_weight=0, alpha_weight=0, **given)
    return presets.resolve(settings, depths, network.size)
