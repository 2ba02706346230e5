"""From the settings of an inversion to its problem: which terms, which image, which optimizer, which transform."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfinvert.images import initial_image
from tfinvert.images.parameterizations import PARAMETERIZATIONS, Parameterization, parameterization
from tfinvert.images.transforms import jittering
from tfinvert.networks.layer import Layer
from tfinvert.networks.network import Network
from tfinvert.objectives import own_terms, terms
from tfinvert.objectives.regularizers import REGULARIZERS, Regularizer
from tfinvert.objectives.terms import Term
from tfinvert.optimization.optimizers import build_optimizer
from tfinvert.optimization.solver import Solver
from tfinvert.optimization.state import Problem, init, reset
from tfinvert.settings.fields import spec
from tfinvert.settings.inversion import Resolved
from tfinvert.system.arrays import to_numpy
from tfinvert.system.errors import InputError
from tfinvert.system.functions import load_function


def build_problem(
    settings: Resolved, model: Callable[..., dict[str, tf.Tensor]], targets: Mapping[str, Any], size: tuple[int, int]
) -> Problem:
    """The problem of inverting features.

    Args:
      settings: with the numbers that the preset has chosen for these layers (`presets.resolve`).
      model: image [batch, H, W, 3] -> features by layer name.
      targets: layer name -> target features, [1, ...].
      size: (height, width) of the image.
    """
    return Problem(
        model,
        tuple(build_terms(settings, targets, size)),
        build_parameterization(settings, size),
        build_optimizer(settings),
        build_transform(settings),
        settings.backoff,
    )


def build_terms(settings: Resolved, targets: Mapping[str, Any], size: tuple[int, int]) -> list[Term]:
    """The terms of an inversion: each layer's features, drawn to their target, and the regularizers that have a weight.

    Args:
      settings: `layers`, `layer_weights`, `feature_loss`, and the weights and kinds of the regularizers, which fall to
        `regularizer_final` times their weight over `steps`.
      targets: layer name -> target features, [1, ...].
      size: (height, width) of the image.
    """
    features = {layer: targets[layer] for layer in settings.layers}
    matched = terms.match(features, loss=settings.feature_loss, layer_weights=settings.layer_weights or None)
    regularizers = [
        _regularizer_term(name, regularizer, settings)
        for name, regularizer in REGULARIZERS.items()
        if getattr(settings, regularizer.weight)
    ]
    if settings.regularizer_final != 1:
        regularizers = [terms.annealed(term, settings.steps, settings.regularizer_final) for term in regularizers]
    return matched + regularizers + (_own_terms(settings, features, size) if settings.term else [])


def _regularizer_term(name: str, regularizer: Regularizer, settings: Resolved) -> Term:
    options = {argument: getattr(settings, setting) for argument, setting in regularizer.options.items()}
    return Term(name, getattr(settings, regularizer.weight), lambda image, features: regularizer.formula(image, **options))


def _own_terms(settings: Resolved, features: Mapping[str, Any], size: tuple[int, int]) -> list[Term]:
    """The terms of `--term`, checked."""
    weights = settings.term_weights or (1.0,) * len(settings.term)
    named = [
        Term(text.rpartition(":")[2], weight, load_function("--term", text))
        for text, weight in zip(settings.term, weights, strict=True)
    ]
    shapes = {layer: tuple(target.shape[1:]) for layer, target in features.items()}
    return own_terms.as_terms(named, shapes, (settings.seeds, *size, 3))


def build_parameterization(settings: Resolved, size: tuple[int, int]) -> Parameterization:
    """The parameterization that the settings name, for an image of (height, width)."""
    return parameterization(settings.parameterization, size, settings.seed, settings.pyramid_levels)


def build_transform(settings: Resolved) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor] | None:
    """What is done to the image on its way into the network: jitter in the first `jitter_steps` steps, or nothing."""
    if settings.jitter <= 1:
        return None
    return jittering(settings.jitter, settings.seed, settings.jitter_steps or settings.steps)


def target_features(
    model: Callable[..., dict[str, tf.Tensor]], layers: Mapping[str, Layer], images: Any, targets: Mapping[str, Any] | None
) -> list[dict[str, tf.Tensor]]:
    """The target features of each image: layer -> [1, ...].

    Args:
      model: image [n, H, W, 3] -> features by layer.
      layers: the layers that are matched.
      images: [n, H, W, 3] in [0, 1], or None where there are `targets`.
      targets: layer -> target features [n, ...], or None.

    Raises:
      InputError: the targets do not have the shape of their layers.
    """
    if targets is None:
        features = [model(tf.constant(image[None]), training=False) for image in images]
        return [{name: value[name] for name in layers} for value in features]
    arrays = {name: _checked_target(name, targets.get(name), layer) for name, layer in layers.items()}
    counts = {name: len(value) for name, value in arrays.items()}
    if len(set(counts.values())) > 1:
        raise InputError(f"the target features have different numbers of images: {counts}; expected the same for each layer")
    count = next(iter(counts.values()))
    return [{name: tf.constant(value[number : number + 1]) for name, value in arrays.items()} for number in range(count)]


def _checked_target(name: str, value: Any, layer: Layer) -> np.ndarray:
    """Target features as float32 [n, ...]; raises InputError."""
    if value is None:
        raise InputError(f"there are no target features for the layer {name!r}; give layers that have some")
    array = to_numpy(value)
    if array.dtype.kind not in "fiu" or array.shape[1:] != tuple(layer.shape) or not len(array):
        raise InputError(
            f"the target features of {name!r} are {array.dtype} {list(array.shape)}; expected numbers of the shape "
            f"[n, {', '.join(map(str, layer.shape))}]"
        )
    if not np.isfinite(array).all():
        raise InputError(f"the target features of {name!r} hold NaN or infinite values; expected finite numbers")
    return array.astype(np.float32)


def initial_images(settings: Resolved, size: tuple[int, int], resize: str) -> np.ndarray:
    """The first image of each restart, [seeds, H, W, 3]; an image file is made to fit as `--resize` says."""
    starts = [initial_image(settings.init, size, settings.seed + number, resize) for number in range(settings.seeds)]
    return np.concatenate(starts)


def build_solver(
    settings: Resolved, network: Network, features: Sequence[Mapping[str, tf.Tensor]], initial: np.ndarray
) -> Solver:
    """The solver that inverts target features, one problem for each image.

    A network keeps the solver of its last inversion: where only images, target features, the first image, or a seed that is for
    nothing but the first image differ, nothing is traced again.

    Args:
      settings: with a value for everything (`presets.resolve`).
      network: the network.
      features: the target features of each image, layer -> [1, ...].
      initial: the first image of each restart, [restarts, H, W, 3].
    """
    key = (_traced(settings), len(features))
    kept_key, solver = network.kept.get("solver", (None, None))
    if kept_key == key:
        for problem, state, targets in zip(solver.problems, solver.states, features, strict=True):
            terms.retarget(problem.terms, targets)
            reset(problem, state, initial)
        return solver
    model = network.cut(settings.layers)
    problems = [build_problem(settings, model, targets, network.size) for targets in features]
    solver = Solver(problems, [init(problem, initial) for problem in problems])
    network.kept["solver"] = (key, solver)
    return solver


def _traced(settings: Resolved) -> Resolved:
    """The settings with defaults for those that a step does not depend on."""
    others = {field.name: field.default for field in dataclasses.fields(settings) if spec(field).placement}
    others |= {"init": "grey"} | ({"image": ("",)} if hasattr(settings, "image") else {})
    if settings.jitter <= 1 and settings.parameterization in PARAMETERIZATIONS and settings.parameterization != "deep_prior":
        others["seed"] = 0
    return dataclasses.replace(settings, **others)
