"""One step of optimizations that go through their network together, as functions of their problems and states.

The images of all problems are one batch for the network. Each optimization stays what it is alone: only the last digits of its
features depend on the others. The functions change states in place, and a `Solver` traces them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import tensorflow as tf

from tfinvert.objectives.features import sum_of_squares
from tfinvert.objectives.terms import Term
from tfinvert.optimization.backoff import back_off, per_image
from tfinvert.optimization.optimizers import apply_gradients
from tfinvert.optimization.state import Problem, State, image_tensor


class Point(NamedTuple):
    """The loss where a state is.

    Attributes:
      losses: of each image with the final weights, [batch]; by them the best image is chosen.
      values: sums over the batch: `loss` as it is lowered, and each term without its weight.
      gradients: of the loss with respect to each variable.
    """

    losses: tf.Tensor
    values: dict[str, tf.Tensor]
    gradients: list[tf.Tensor]


def evaluate(problems: Sequence[Problem], states: Sequence[State]) -> list[tuple[tf.Tensor, dict[str, tf.Tensor]]]:
    """`losses` and `values` of each state's `Point`."""
    return [
        _losses(problem, state, {term.name: term.value(image, features) for term in problem.terms})
        for problem, state, (image, features) in zip(problems, states, _features(problems, states), strict=True)
    ]


def differentiate(problems: Sequence[Problem], states: Sequence[State]) -> list[Point]:
    """The `Point` of each state. Nothing is updated."""
    variables = [state.variables for state in states]
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        for variable in tf.nest.flatten(variables):
            tape.watch(variable)
        pulls = [
            _pull(problem, state, image, features, tape)
            for problem, state, (image, features) in zip(problems, states, _features(problems, states), strict=True)
        ]
    # No loss depends on the variables of another state, so that the sum has the gradients of each.
    outputs = [output for pull in pulls for output in pull.outputs]
    raw = tape.gradient(
        outputs,
        variables,
        output_gradients=[gradient for pull in pulls for gradient in pull.gradients],
        unconnected_gradients=tf.UnconnectedGradients.ZERO,
    )
    return [
        Point(
            *_losses(problem, state, pull.values),
            gradients if pull.factor is None else [pull.factor * part for part in gradients],
        )
        for problem, state, pull, gradients in zip(problems, states, pulls, raw, strict=True)
    ]


def update(problems: Sequence[Problem], states: Sequence[State]) -> list[tuple[dict[str, tf.Tensor], tf.Tensor]]:
    """Makes one update of each state; gives the `values` before it, and the learning rate with which it was made."""
    points = differentiate(problems, states)
    return [
        (point.values, _descend(problem, state, point)) for problem, state, point in zip(problems, states, points, strict=True)
    ]


def keep_best(state: State, losses: tf.Tensor) -> None:
    """Remembers the current values of those images whose losses, [batch], are the lowest so far."""
    better = losses < state.best_losses  # False for NaN

    def keep() -> tf.Tensor:
        for best, variable in zip(state.best, state.variables, strict=True):
            # Choosing between two images takes as long as ten copies of one.
            best.assign(variable if losses.shape[0] == 1 else tf.where(per_image(better, variable), variable, best))
        state.best_losses.assign(tf.where(better, losses, state.best_losses))
        return tf.constant(True)

    tf.cond(tf.reduce_any(better), keep, lambda: tf.constant(False))


def _features(problems: Sequence[Problem], states: Sequence[State]) -> list[tuple[tf.Tensor, dict[str, tf.Tensor]]]:
    """The image of each state and its features, by layer name."""
    images = [image_tensor(problem, state) for problem, state in zip(problems, states, strict=True)]
    seen = [
        image if problem.transform is None else problem.transform(image, state.step)
        for problem, state, image in zip(problems, states, images, strict=True)
    ]
    features = problems[0].model(seen[0] if len(seen) == 1 else tf.concat(seen, axis=0), training=False)
    if len(seen) == 1:
        return [(images[0], features)]
    sizes = [image.shape[0] for image in images]
    parts = {name: tf.split(value, sizes) for name, value in features.items()}
    return [(image, {name: part[number] for name, part in parts.items()}) for number, image in enumerate(images)]


def _weight(term: Term, state: State) -> float | tf.Tensor:
    return term.weight(state.step) if callable(term.weight) else term.weight


def _squares(term: Term) -> Callable[[Mapping[str, tf.Tensor]], tuple[tf.Tensor, tf.Tensor]] | None:
    """`squares`, unless the weight changes: it may be 0 in some step, and the gradients are divided by it."""
    return None if callable(term.weight) else term.squares


def _losses(problem: Problem, state: State, values: Mapping[str, tf.Tensor]) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
    """`losses` and `values` of a `Point`, from the values of the terms [batch]."""
    losses = tf.add_n([_weight(term, state) * values[term.name] for term in problem.terms])
    finals = losses
    if any(callable(term.weight) for term in problem.terms):
        last = {term.name: _weight(term, state) if term.final_weight is None else term.final_weight for term in problem.terms}
        finals = tf.add_n([last[name] * value for name, value in values.items()])
    return finals, {"loss": tf.reduce_sum(losses), **{name: tf.reduce_sum(value) for name, value in values.items()}}


@dataclasses.dataclass
class _Pull:
    """What draws an image.

    Attributes:
      values: the values of the terms, [batch].
      outputs: the tensors that are differentiated.
      gradients: the loss' gradients with respect to them, divided by `factor`.
      factor: a scalar; None for 1.
    """

    values: dict[str, tf.Tensor]
    outputs: list[tf.Tensor]
    gradients: list[tf.Tensor]
    factor: tf.Tensor | None


def _pull(problem: Problem, state: State, image: tf.Tensor, features: Mapping[str, tf.Tensor], tape: tf.GradientTape) -> _Pull:
    """What draws the image, with as few passes over the features as there can be.

    The difference of a term that is a sum of squares is its gradient but for a factor. The factor of the first such term is
    applied to the variables' gradient, which is smaller, and the rest is divided by it.
    """
    pull = _Pull({}, [], [], None)
    for term in problem.terms:
        squares = _squares(term)
        if squares is None or not term.weight:
            pull.values[term.name] = term.value(image, features)
            continue
        with tape.stop_recording():
            difference, scale = squares(features)
            pull.values[term.name] = scale * sum_of_squares(difference)
            factor = 2 * scale * _weight(term, state)
            pull.outputs.append(features[term.layers[0]])
            pull.gradients.append(difference if pull.factor is None else factor / pull.factor * difference)
            pull.factor = factor if pull.factor is None else pull.factor
    rest = [_weight(term, state) * pull.values[term.name] for term in problem.terms if _squares(term) is None]
    if rest:
        pull.outputs.append(tf.reduce_sum(tf.add_n(rest)))
        pull.gradients.append(tf.ones([]) if pull.factor is None else 1 / pull.factor)
    return pull


def _descend(problem: Problem, state: State, point: Point) -> tf.Tensor:
    """Updates the variables; gives the learning rate with which it did."""
    assert state.optimizer is not None
    before = [tf.identity(variable) for variable in state.variables] if problem.backoff else []
    lowest = tf.identity(state.best_losses)
    keep_best(state, point.losses)
    rate = tf.convert_to_tensor(state.optimizer.learning_rate)
    apply_gradients(state.optimizer, point.gradients, state.variables, rate)
    if problem.backoff:
        back_off(state, before, point.losses, lowest)
    if problem.parameterization.project is not None:
        for variable, value in zip(state.variables, problem.parameterization.project(state.variables), strict=True):
            variable.assign(value)
    state.step.assign_add(1)
    return rate
