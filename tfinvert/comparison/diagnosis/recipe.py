"""A run as the list of everything that a port decides, which can be changed one by one and computed again."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfinvert.comparison.diagnosis import updates
from tfinvert.comparison.diagnosis.bundle import Bundle, kind
from tfinvert.comparison.diagnosis.updates import Update
from tfinvert.networks import keras_builder
from tfinvert.networks import onnx as graphs
from tfinvert.networks.conversion.request_graph import cut_graph, with_weights
from tfinvert.networks.names import layer_names
from tfinvert.networks.network import Network
from tfinvert.networks.onnx import Graph
from tfinvert.networks.preprocessing import Preprocessing, parse
from tfinvert.objectives.terms import Term
from tfinvert.optimization import inversion
from tfinvert.optimization.schedules import build_schedule
from tfinvert.settings.inversion import Resolved
from tfinvert.system.errors import InputError

TRACED = 3  # steps up to which tracing takes longer than it saves
PLAIN = Preprocessing((0, 1, 2), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0))


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Everything that a run on pixels is made of.

    Attributes:
      settings: the loss, with a value for everything.
      graph: the network with its batch norms, which computes the layers and some of their neighbors.
      layers: layer name -> tensor of the graph.
      places: likewise for every layer that has a name and is in the graph, in its order.
      preprocessing: from an image to the network's input.
      arrange: what is done to the input's axes, a key of `ARRANGEMENTS`.
      target, start: images [1, H, W, 3].
      feature_factor, tv_factor: what a port multiplies the terms of features, and of total variation, with.
      update: the update rule.
      rates: the learning rate of each update.
      clip: whether pixels are clipped to [0, 1] after each update.
      rounded: the number type that weights and features are rounded to; empty for none.
    """

    settings: Resolved
    graph: Graph
    layers: Mapping[str, str]
    places: Mapping[str, str]
    preprocessing: Preprocessing
    target: np.ndarray
    start: np.ndarray
    update: Update
    rates: np.ndarray
    clip: bool
    arrange: str = ""
    feature_factor: float = 1.0
    tv_factor: float = 1.0
    rounded: str = ""

    def change(self, **changes: Any) -> Recipe:
        """The same with some fields changed; names of settings are changed there."""
        own = {field.name for field in dataclasses.fields(self)}
        inner = {name: changes.pop(name) for name in list(changes) if name not in own}
        settings = dataclasses.replace(self.settings, **inner) if inner else self.settings
        return dataclasses.replace(self, settings=settings, **changes)


# Key -> what a port that confuses the order of axes makes of its input [1, H, W, channels].
ARRANGEMENTS: dict[str, Callable[[Any], Any]] = {
    "": lambda image: image,
    "nchw_as_nhwc": lambda image: tf.reshape(tf.transpose(image, (0, 3, 1, 2)), image.shape),
    "nhwc_as_nchw": lambda image: tf.transpose(tf.reshape(image, (1, image.shape[3], *image.shape[1:3])), (0, 2, 3, 1)),
    "transposed": lambda image: tf.transpose(image, (0, 2, 1, 3)),
    "flipped": lambda image: tf.reverse(image, [1]),
}


def from_settings(settings: Resolved, network: Network, target: np.ndarray, start: np.ndarray, updates: int) -> Recipe:
    """The recipe of a run of ours.

    Args:
      settings: with the numbers that the preset has chosen (`presets.resolve`).
      network: the network.
      target, start: images [1, H, W, 3].
      updates: how many updates are looked at.

    Raises:
      InputError: the run has a part that recipes do not have.
    """
    _check(settings)
    names = list(network.layers)
    near = [names[n + 1] for n, name in enumerate(names[:-1]) if name in settings.layers]
    request = dataclasses.replace(network.request, layers=tuple(dict.fromkeys((*settings.layers, *near))))
    part, tensors = cut_graph(request)
    schedule = build_schedule(settings)
    rates = [float(schedule(step)) if callable(schedule) else float(schedule) for step in range(updates + 1)]
    update = {
        "adam": Update("adam", epsilon=settings.epsilon),
        "sgd": Update("momentum", momentum=settings.momentum),
    }[settings.optimizer]
    return Recipe(
        settings,
        with_weights(request, part),
        {name: tensors[name] for name in settings.layers},
        {name: tensor for name, tensor in layer_names(part).items() if tensor in part.producers()},
        parse(request.preprocessing),
        target,
        start,
        update,
        np.array(rates),
        settings.parameterization == "clip",
    )


def _check(settings: Resolved) -> None:
    """Raises InputError for a run that recipes cannot describe."""
    expected = {"parameterization": ("free", "clip"), "optimizer": ("adam", "sgd"), "backoff": (False,), "seeds": (1,)}
    expected |= {"momentum_reset": (False,), "jitter": (None, 1)}
    for name, values in expected.items():
        if getattr(settings, name) not in values:
            words = " or ".join(str(value) for value in values if value is not None)
            raise InputError(
                f"the reference has --{name}={getattr(settings, name)}; --experiment=diagnose expects {words}, as in the "
                "homework's flagfiles"
            )


class Simulation:
    """A recipe, computed: each array of a reference on demand.

    Args:
      recipe: the run.
      models: networks that were built before, by the identity of their graph and layers.
    """

    def __init__(self, recipe: Recipe, models: dict[Any, Any]):
        self.recipe = recipe
        self._models = models
        self._targets: dict[str, tf.Tensor] = {}
        self._terms: list[Term] = []

    def arrays(self, names: list[str], updates: int) -> Bundle:
        """The arrays of these names, `losses` and `images` after at most so many updates."""
        recipe, found = self.recipe, Bundle()
        kinds = {kind(name) for name in names}
        found |= {"target": recipe.target, "start": recipe.start, "learning_rates": recipe.rates}
        if "input" in kinds:
            found["input"] = self._input(recipe.start).numpy()
        if "features" in kinds:
            wanted = [name.partition("/")[2] for name in names if kind(name) == "features"]
            taps = {name: recipe.places[name] for name in wanted if name in recipe.places and name not in recipe.layers}
            model = _model(recipe, self._models, taps)
            found |= {f"features/{name}": value.numpy() for name, value in self._features(recipe.start, model).items()}
        if "target_features" in kinds:
            self._build()
            found |= {f"target_features/{name}": value.numpy() for name, value in self._targets.items()}
        if kinds & {"terms", "gradient", "losses", "images"}:
            self._build()
            found |= self._run(kinds, updates)
        return {name: found[name] for name in names if name in found}

    def _build(self) -> None:
        """Makes the target features, and the terms of the loss from them."""
        if not self._terms:
            self._targets = self._features(self.recipe.target)
            height, width = self.recipe.target.shape[1:3]
            self._terms = inversion.build_terms(self.recipe.settings, self._targets, (height, width))

    def _input(self, image: Any) -> tf.Tensor:
        about = self.recipe.preprocessing
        value = tf.gather(tf.convert_to_tensor(image), list(about.channels), axis=-1)
        value = value * tf.constant(about.scale, tf.float32) + tf.constant(about.shift, tf.float32)
        return ARRANGEMENTS[self.recipe.arrange](value)

    def _features(self, image: Any, model: keras.Model | None = None) -> dict[str, tf.Tensor]:
        model = model or _model(self.recipe, self._models)
        features = model(_round(self._input(image), self.recipe.rounded), training=False)
        return {name: _round(value, self.recipe.rounded) for name, value in features.items()}

    def _factor(self, term: Term) -> float:
        if term.name in self.recipe.layers:
            return self.recipe.feature_factor
        return self.recipe.tv_factor if term.name == "tv" else 1.0

    def _point(self, pixels: tf.Tensor, step: tf.Tensor) -> tuple[tf.Tensor, dict[str, tf.Tensor], tf.Tensor]:
        """The loss, each term without its weight, and the gradient, at an image."""
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(pixels)
            features = self._features(pixels)
            values = {term.name: self._factor(term) * term.value(pixels, features)[0] for term in self._terms}
            weights = [term.weight(step) if callable(term.weight) else term.weight for term in self._terms]
            loss = tf.add_n([weight * value for weight, value in zip(weights, values.values(), strict=True)])
        return loss, values, tape.gradient(loss, pixels)

    def _traced_point(self) -> Any:
        """`_point` as a TensorFlow function, shared by recipes that differ in their updates alone."""
        recipe = self.recipe
        own = (recipe.graph, recipe.settings, recipe.target, recipe.preprocessing, recipe.layers)
        numbers = (recipe.arrange, recipe.feature_factor, recipe.tv_factor, recipe.rounded)
        key = ("point", *map(id, own), *numbers)
        if key not in self._models:
            # What the key names by its identity is kept with the function, so that nothing else gets that identity.
            signature = [tf.TensorSpec(recipe.start.shape), tf.TensorSpec([], tf.int64)]
            self._models[key] = (tf.function(self._point, input_signature=signature, autograph=False), own)
        return self._models[key][0]

    def _run(self, kinds: set[str], count: int) -> Bundle:
        found: Bundle = {}
        image, rule, losses = self.recipe.start, updates.build(self.recipe.update), []
        count = count + 1 if kinds & {"losses", "images"} else 1
        point = self._traced_point() if count > TRACED else self._point
        for step in range(count):
            loss, values, tensor = point(tf.constant(image), tf.constant(step, tf.int64))
            gradient = tensor.numpy()
            losses.append(float(loss))
            if step == 0:
                found |= {f"terms/{name}": np.array(float(value)) for name, value in values.items()}
                found["gradient"] = gradient
            found[f"images/{step}"] = image
            gradient = gradient + np.float32(self.recipe.update.decay) * image
            image = (image + rule(gradient, float(self.recipe.rates[step]))).astype(np.float32)
            image = np.clip(image, 0, 1) if self.recipe.clip else image
        found["losses"] = np.array(losses)
        return found


def _round(value: tf.Tensor, dtype: str) -> tf.Tensor:
    return tf.cast(tf.cast(value, dtype), tf.float32) if dtype else value


def _model(recipe: Recipe, models: dict[Any, Any], taps: Mapping[str, str] | None = None) -> keras.Model:
    """The network of a recipe in Keras, which takes its input as it is and gives the layers and the taps."""
    layers = {**recipe.layers, **(taps or {})}
    tensors = tuple(layers.values())
    key = (id(recipe.graph), tuple(layers.items()), recipe.rounded)
    if key not in models:
        part = graphs.fold(graphs.cut(recipe.graph, tensors), stems=False)
        if recipe.rounded:
            weights = {
                name: _round(tf.constant(array), recipe.rounded).numpy() if array.dtype == np.float32 else array
                for name, array in part.weights.items()
            }
            part = dataclasses.replace(part, weights=weights)
        # The graph is kept with its model, so that no other graph gets its identity.
        models[key] = (keras_builder.build(part, PLAIN, layers), recipe.graph)
    return models[key][0]
