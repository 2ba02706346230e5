"""A recipe, computed: each array of a reference when it is asked for, and nothing twice."""

from __future__ import annotations

import dataclasses
import itertools
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfinvert.comparison.diagnosis import updates
from tfinvert.comparison.diagnosis.bundle import Bundle, kind
from tfinvert.comparison.diagnosis.recipe import ARRANGEMENTS, Recipe
from tfinvert.networks import keras_builder
from tfinvert.networks import onnx as graphs
from tfinvert.networks.preprocessing import Preprocessing
from tfinvert.objectives.features import mean_square, mean_squared_error, normalized_squared_error
from tfinvert.objectives.terms import Term
from tfinvert.optimization import inversion

TRACED = 3  # steps up to which tracing takes longer than it saves
GLANCES = 2  # updates after which most recipes are given up; up to then no gradient is computed before it is asked for
MOST_GRADIENTS, MOST_MODELS, FEATURE_BYTES = 8, 64, 2**27  # that are kept
ERRORS = {"mse": mean_squared_error, "normalized": normalized_squared_error}
PLAIN = Preprocessing((0, 1, 2), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0))


class Recent:
    """The values that were used last, by what they were made from: numbers and texts, or the identity of anything else.

    Args:
      room: the largest sum of the sizes of the values that are kept.
      size: the size of a value; by default 1.
    """

    def __init__(self, room: int, size: Callable[[Any], int] = lambda value: 1):
        self._room, self._size, self._used = room, size, 0
        self._values: OrderedDict[tuple, tuple[tuple, Any]] = OrderedDict()

    def get(self, parts: tuple, make: Callable[[], Any]) -> Any:
        """The value that these parts make."""
        key = tuple(part if isinstance(part, str | int | float | tuple) else id(part) for part in parts)
        if key not in self._values:
            self._values[key] = (parts, make())  # the parts are kept, so that nothing else gets their identity
            self._used += self._size(self._values[key][1])
        self._values.move_to_end(key)
        while self._used > self._room and len(self._values) > 1:
            _, (_, oldest) = self._values.popitem(last=False)
            self._used -= self._size(oldest)
        return self._values[key][1]


def _bytes(features: Mapping[str, tf.Tensor]) -> int:
    return sum(4 * int(np.prod(value.shape)) for value in features.values())


class Memory:
    """What the simulations of recipes share, where these have parts in common."""

    def __init__(self) -> None:
        self.models, self.features = Recent(MOST_MODELS), Recent(FEATURE_BYTES, _bytes)
        self.points, self.gradients = Recent(MOST_MODELS), Recent(MOST_GRADIENTS)


class Simulation:
    """A recipe, computed.

    Args:
      recipe: the run.
      memory: what simulations before have computed.
    """

    def __init__(self, recipe: Recipe, memory: Memory):
        self.recipe = recipe
        self._memory = memory
        self._terms: list[Term] = []

    def arrays(self, names: list[str], count: int) -> Bundle:
        """The arrays of these names, `losses` and `images` after at most so many updates."""
        recipe, found = self.recipe, Bundle()
        kinds = {kind(name) for name in names}
        found |= {"target": recipe.target, "start": recipe.start, "learning_rates": recipe.rates}
        if "input" in kinds:
            found["input"] = self._input(recipe.start).numpy()
        if "features" in kinds:
            found |= {f"features/{name}": value.numpy() for name, value in self._kept(recipe.start).items()}
            wanted = [name.partition("/")[2] for name in names if kind(name) == "features"]
            taps = {name: recipe.places[name] for name in wanted if name in recipe.places and name not in recipe.layers}
            if taps:
                tapped = self._computed(recipe.start, taps)
                found |= {f"features/{name}": value.numpy() for name, value in tapped.items()}
        if "target_features" in kinds:
            found |= {f"target_features/{name}": value.numpy() for name, value in self._kept(recipe.target).items()}
        if "terms" in kinds:
            found |= {f"terms/{name}": np.array(float(value)) for name, value in self._start_values().items()}
        if "gradient" in kinds:
            found["gradient"] = self._start_gradient()[0].numpy()
        if kinds & {"losses", "images"}:
            losses, images = zip(*itertools.islice(self.run(), count + 1), strict=True)
            found |= {"losses": np.array(losses), **{f"images/{step}": image for step, image in enumerate(images)}}
        return {name: found[name] for name in names if name in found}

    def run(self) -> Iterator[tuple[float, np.ndarray]]:
        """The loss before each update and the image, each computed when it is asked for, without end."""
        recipe = self.recipe
        image, target = recipe.start, recipe.target
        rule, other_rule = updates.build(recipe.update), updates.build(recipe.update)
        for step in itertools.count():
            gradients = None
            if step == 0:
                loss = self._loss(self._start_values(), step)
            elif step <= GLANCES:
                loss = self._total(tf.constant(image), tf.constant(target), tf.constant(step, tf.int64))
            else:
                loss, gradients = self._point(image, target, step)
            yield float(loss), image
            if gradients is None:
                gradients = self._start_gradient() if step == 0 else self._point(image, target, step)[1]
            rate = float(recipe.rates[min(step, len(recipe.rates) - 1)])
            image = self._updated(image, gradients[0], rule, rate)
            if recipe.target_moves:
                target = self._updated(target, gradients[1], other_rule, rate)

    def _updated(self, image: np.ndarray, gradient: tf.Tensor, rule: updates.Rule, rate: float) -> np.ndarray:
        change = rule(gradient.numpy() + np.float32(self.recipe.update.decay) * image, rate)
        image = (image + change).astype(np.float32)
        return np.clip(image, 0, 1) if self.recipe.clip else image

    def _parts(self) -> tuple:
        """What the loss is made of."""
        recipe = self.recipe
        parts = (*self._model_parts(), recipe.settings, recipe.target, recipe.target_moves, recipe.own_scale)
        return (*parts, recipe.feature_factor, recipe.tv_factor)

    def _model_parts(self) -> tuple:
        recipe = self.recipe
        preprocessing = dataclasses.astuple(recipe.preprocessing)
        return recipe.graph, tuple(recipe.layers.items()), recipe.rounded, preprocessing, recipe.arrange

    def _kept(self, image: np.ndarray) -> dict[str, tf.Tensor]:
        """The features of the start or the target, which many recipes have in common."""
        return self._memory.features.get((*self._model_parts(), image), lambda: self._features(image))

    def _start_values(self) -> dict[str, tf.Tensor]:
        return self._values(tf.constant(self.recipe.start), self._kept(self.recipe.start), self._kept(self.recipe.target))

    def _start_gradient(self) -> tuple[tf.Tensor, tf.Tensor]:
        recipe = self.recipe
        parts = (*self._parts(), recipe.start)
        return self._memory.gradients.get(parts, lambda: self._point(recipe.start, recipe.target, 0)[1])

    def _built(self) -> list[Term]:
        """The terms of the loss, from the target's features."""
        if not self._terms:
            height, width = self.recipe.target.shape[1:3]
            self._terms = inversion.build_terms(self.recipe.settings, self._kept(self.recipe.target), (height, width))
        return self._terms

    def _input(self, image: Any) -> tf.Tensor:
        about = self.recipe.preprocessing
        value = tf.gather(tf.convert_to_tensor(image), list(about.channels), axis=-1)
        value = value * tf.constant(about.scale, tf.float32) + tf.constant(about.shift, tf.float32)
        return ARRANGEMENTS[self.recipe.arrange](value)

    def _features(self, image: Any) -> dict[str, tf.Tensor]:
        return self._computed(image, self.recipe.layers)

    def _computed(self, image: Any, layers: Mapping[str, str]) -> dict[str, tf.Tensor]:
        recipe = self.recipe
        parts = (recipe.graph, tuple(layers.items()), recipe.rounded)
        model = self._memory.models.get(parts, lambda: _build(recipe, layers))
        features = model(_round(self._input(image), recipe.rounded), training=False)
        return {name: _round(value, recipe.rounded) for name, value in features.items()}

    def _values(self, pixels: tf.Tensor, features: Mapping[str, tf.Tensor], target: Mapping[str, tf.Tensor]) -> dict[str, Any]:
        """Each term without its weight."""
        recipe, values = self.recipe, {}
        for term in self._built():
            if term.name not in recipe.layers:
                factor = recipe.tv_factor if term.name == "tv" else 1.0
                values[term.name] = factor * term.value(pixels, features)[0]
                continue
            theirs = target[term.name]
            value = ERRORS[recipe.settings.feature_loss](features[term.name], theirs)
            if recipe.own_scale:
                value = value * mean_square(theirs) / mean_square(features[term.name])
            values[term.name] = recipe.feature_factor * value[0]
        return values

    def _loss(self, values: Mapping[str, Any], step: Any) -> Any:
        weights = [term.weight(step) if callable(term.weight) else term.weight for term in self._built()]
        return tf.add_n([weight * value for weight, value in zip(weights, values.values(), strict=True)])

    def _total(self, pixels: tf.Tensor, target: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
        moves = self.recipe.target_moves
        theirs = self._features(target) if moves else self._kept(self.recipe.target)
        return self._loss(self._values(pixels, self._features(pixels), theirs), step)

    def _total_and_gradients(self, pixels: tf.Tensor, target: tf.Tensor, step: tf.Tensor) -> tuple[tf.Tensor, list[tf.Tensor]]:
        sources = [pixels, target] if self.recipe.target_moves else [pixels]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(sources)
            loss = self._total(pixels, target, step)
        return loss, tape.gradient(loss, sources)

    def _point(self, image: np.ndarray, target: np.ndarray, step: int) -> tuple[tf.Tensor, Any]:
        """The loss and its gradients."""
        arguments = tf.constant(image), tf.constant(target), tf.constant(step, tf.int64)
        if step < TRACED:
            return self._total_and_gradients(*arguments)
        shape = tf.TensorSpec(image.shape)

        def make() -> Any:
            signature = [shape, shape, tf.TensorSpec([], tf.int64)]
            return tf.function(self._total_and_gradients, input_signature=signature, autograph=False)

        return self._memory.points.get(self._parts(), make)(*arguments)


def _round(value: tf.Tensor, dtype: str) -> tf.Tensor:
    return tf.cast(tf.cast(value, dtype), tf.float32) if dtype else value


def _build(recipe: Recipe, layers: Mapping[str, str]) -> keras.Model:
    """The network of a recipe in Keras, which takes its input as it is and gives the layers."""
    part = graphs.fold(graphs.cut(recipe.graph, tuple(layers.values())), stems=False)
    if recipe.rounded:
        weights = {
            name: _round(tf.constant(array), recipe.rounded).numpy() if array.dtype == np.float32 else array
            for name, array in part.weights.items()
        }
        part = dataclasses.replace(part, weights=weights)
    return keras_builder.build(part, PLAIN, layers)
