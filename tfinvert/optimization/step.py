"""The optimization: one tf.function step on tf.Variables. It knows no files and no flags."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfinvert.errors import NonFiniteLossError
from tfinvert.images.parameterizations import Parameterization, parameterization
from tfinvert.images.transforms import run_transform
from tfinvert.objectives.terms import Term, run_terms, sum_of_squares
from tfinvert.optimization.optimizers import Lbfgs, optimizer
from tfinvert.settings.config import Config

DIVERGED = 4.0  # times the lowest loss so far: then `backoff` returns to the image that had it


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """The state before an update.

    Attributes:
      step: number of updates so far.
      loss: the weighted sum of the terms, summed over the batch.
      terms: name -> value without its weight, summed over the batch.
      learning_rate: of the update that follows; 0 for L-BFGS, which has none.
      image: [batch, H, W, 3] as it is, not clipped; None where it was not asked for.
    """

    step: int
    loss: float
    terms: dict[str, float]
    learning_rate: float
    image: np.ndarray | None


class Optimization:
    """A batch of pictures on their way down the loss; owns variables, optimizer, step and the best images.

    Args:
      model: image [batch, H, W, 3] -> features by layer name.
      terms: summands of the loss.
      parameterization: how the variables make the image.
      initial: [batch, H, W, 3] in [0, 1].
      optimizer: a Keras optimizer with its schedule, or the settings of SciPy's L-BFGS.
      transform: (image, number of updates) -> image as the network sees it in that step; None for the image itself.
        Terms that look at the image see it untransformed.
      backoff: a picture whose loss is not finite, or more than four times its lowest so far, goes back to where it was lowest,
        and goes on at half the step size; else a loss that is not finite ends the run.

    Attributes:
      checkpoint: a tf.train.Checkpoint of all state; a restored optimization goes on to the same bytes.
    """

    def __init__(
        self,
        model: keras.Model,
        terms: Sequence[Term],
        parameterization: Parameterization,
        initial: np.ndarray,
        optimizer: keras.optimizers.Optimizer | Lbfgs,
        transform: Callable[[tf.Tensor, tf.Tensor], tf.Tensor] | None = None,
        backoff: bool = False,
    ):
        self._model = model
        self._terms = tuple(terms)
        self._parameterization = parameterization
        start = parameterization.start(initial)
        self._variables = [tf.Variable(value, name=f"variable_{number}") for number, value in enumerate(start)]
        self._optimizer = optimizer
        self._transform = transform
        self._backoff = backoff
        self._best = [tf.Variable(value, trainable=False, name=f"best_{number}") for number, value in enumerate(start)]
        self._best_losses = tf.Variable(tf.fill([len(initial)], np.float32(np.inf)), trainable=False, name="best_losses")
        self._step_count = tf.Variable(0, trainable=False, dtype=tf.int64, name="step")
        state = {
            "variables": self._variables,
            "best": self._best,
            "best_losses": self._best_losses,
            "step": self._step_count,
        }
        if not isinstance(optimizer, Lbfgs):
            optimizer.build(self._variables)
            state["optimizer"] = optimizer
        if backoff:
            # What the updates are multiplied by, for each picture.
            self._scale = tf.Variable(tf.ones([len(initial)]), trainable=False, name="scale")
            state["scale"] = self._scale
        self.checkpoint = tf.train.Checkpoint(**state)

    @functools.cached_property
    def _alone(self) -> Group:
        return Group([self])

    @property
    def step(self) -> int:
        """Number of updates so far."""
        return int(self._step_count)

    def image(self) -> np.ndarray:
        """The current image, [batch, H, W, 3], not clipped."""
        return self._image_tensor().numpy()

    def best_image(self) -> np.ndarray:
        """The image of the lowest loss so far, each picture of the batch by itself."""
        return self._parameterization.image([tf.convert_to_tensor(value) for value in self._best]).numpy()

    def forget_best(self) -> None:
        """Starts anew with the lowest loss, where losses of another precision are not comparable with those before."""
        self._best_losses.assign(tf.fill(self._best_losses.shape, np.float32(np.inf)))

    def best_losses(self) -> np.ndarray:
        """The lowest losses so far, [batch]; where weights are annealed, with the last ones."""
        return self._best_losses.numpy()

    def gradient(self) -> list[tf.Tensor]:
        """The loss' gradient with respect to each variable, where they are now; nothing is updated."""
        return self._alone.gradients()[0].gradients

    def run(self, steps: int, image_every: int = 1) -> Iterator[Snapshot]:
        """Updates until `steps` updates have been made in all, giving the state before each; then the last state.

        A consumer that stops between two snapshots finds the state of the updates made so far, ready to checkpoint. With
        L-BFGS the updates between two of its restarts are made at once: `step` is then ahead of the snapshot.

        Args:
          steps: in all, those before a restore included.
          image_every: snapshots whose step is a multiple of it, and the last, carry the image.

        Raises:
          NonFiniteLossError: at the first step whose loss is NaN or infinite.
        """
        for (found,) in self._alone.run(steps, image_every):
            if isinstance(found, NonFiniteLossError):
                raise found
            yield found

    def _run_lbfgs(self, settings: Lbfgs, steps: int, image_every: int) -> Iterator[Snapshot]:
        from scipy.optimize import minimize

        shapes = [value.shape for value in self._variables]
        splits = np.cumsum([math.prod(shape) for shape in shapes])[:-1]

        def assign(flat: np.ndarray) -> None:
            for variable, part, shape in zip(self._variables, np.split(flat, splits), shapes, strict=True):
                variable.assign(part.reshape(shape).astype(np.float32))

        while self.step < steps:
            first = self.step
            snapshots: list[Snapshot] = []
            latest: dict[str, Any] = {}

            def evaluate(flat: np.ndarray) -> tuple[float, np.ndarray]:
                assign(flat)
                (here,) = self._alone.gradients()
                latest.update(losses=here.losses, values=here.values)  # noqa: B023 - called before the next round
                if not snapshots:  # noqa: B023
                    accept(0)
                flat_gradient = np.concatenate([gradient.numpy().ravel() for gradient in here.gradients])
                return float(here.values["loss"]), flat_gradient.astype(np.float64)

            def accept(number: int) -> None:
                # SciPy accepts the point that it evaluated last.
                step = first + number  # noqa: B023
                image = self.image() if step % image_every == 0 else None
                self._keep_best(latest["losses"])  # noqa: B023
                snapshots.append(self._snapshot(step, latest["values"], 0.0, image))  # noqa: B023

            lowest, highest = self._parameterization.box or (None, None)
            found = minimize(
                evaluate,
                np.concatenate([value.numpy().ravel() for value in self._variables]).astype(np.float64),
                jac=True,
                method="L-BFGS-B",
                bounds=None if self._parameterization.box is None else [(lowest, highest)] * sum(map(math.prod, shapes)),
                callback=lambda _: accept(len(snapshots)),  # noqa: B023
                options={
                    "maxiter": min(settings.restart, steps - first),
                    "maxcor": settings.memory,
                    "ftol": 0.0,
                    "gtol": 0.0,
                    "maxfun": 10**6,
                },
            )
            assign(found.x)
            if found.nit == 0:  # no step lowers the loss any more
                return
            self._step_count.assign(first + found.nit)
            yield from snapshots[: found.nit]

    def _rate(self) -> float:
        return 0.0 if isinstance(self._optimizer, Lbfgs) else float(tf.convert_to_tensor(self._optimizer.learning_rate))

    def _snapshot(self, step: int, values: dict[str, tf.Tensor], rate: float, image: np.ndarray | None) -> Snapshot:
        terms = {name: float(value) for name, value in values.items()}
        loss = terms.pop("loss")
        if not math.isfinite(loss) and not (self._backoff and step):
            raise NonFiniteLossError(step, loss)
        return Snapshot(step, loss, terms, rate, image)

    def _image_tensor(self) -> tf.Tensor:
        # A bare tf.Variable is no valid input of a TFSMLayer.
        return self._parameterization.image([tf.convert_to_tensor(variable) for variable in self._variables])

    def _seen(self, image: tf.Tensor) -> tf.Tensor:
        """The image as the network sees it in this step."""
        return image if self._transform is None else self._transform(image, self._step_count)

    def _weight(self, term: Term) -> float | tf.Tensor:
        return term.weight(self._step_count) if callable(term.weight) else term.weight

    def _losses(self, values: Mapping[str, tf.Tensor]) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """The loss of each picture, with the final weights; and sums over the batch: loss as it is lowered, and each term."""
        losses = tf.add_n([self._weight(term) * values[term.name] for term in self._terms])
        finals = losses
        if any(callable(term.weight) for term in self._terms):
            last = {term.name: term.weight if term.final_weight is None else term.final_weight for term in self._terms}
            finals = tf.add_n([last[name] * value for name, value in values.items()])
        return finals, {"loss": tf.reduce_sum(losses), **{name: tf.reduce_sum(v) for name, v in values.items()}}

    def _pull(self, image: tf.Tensor, features: Mapping[str, tf.Tensor], tape: tf.GradientTape) -> _Pull:
        """What draws the image, with as few passes over the features as there can be.

        Of a term that is a sum of squares the difference is the gradient but for a factor, and that of the first such term is
        applied to the variables' gradient, which is smaller: the rest is divided by it.
        """
        pull = _Pull({}, [], [], None)
        for term in self._terms:
            if term.squares is None or not term.weight:
                pull.values[term.name] = term.value(image, features)
                continue
            with tape.stop_recording():
                difference, scale = term.squares(features)
                pull.values[term.name] = scale * sum_of_squares(difference)
                factor = 2 * scale * self._weight(term)
                pull.outputs.append(features[term.layers[0]])
                pull.gradients.append(difference if pull.factor is None else factor / pull.factor * difference)
                pull.factor = factor if pull.factor is None else pull.factor
        rest = [self._weight(term) * pull.values[term.name] for term in self._terms if term.squares is None]
        if rest:
            pull.outputs.append(tf.reduce_sum(tf.add_n(rest)))
            pull.gradients.append(tf.ones([]) if pull.factor is None else 1 / pull.factor)
        return pull

    def _descend(self, here: _Point) -> tf.Tensor:
        """Updates the variables from here; gives the rate with which it did."""
        assert not isinstance(self._optimizer, Lbfgs)
        before = [tf.identity(variable) for variable in self._variables] if self._backoff else []
        lowest = tf.identity(self._best_losses)
        self._keep_best(here.losses)
        rate = tf.convert_to_tensor(self._optimizer.learning_rate)
        # Not Keras' apply: TensorFlow then keeps this function's graph for as long as the process lives.
        for gradient, variable in zip(here.gradients, self._variables, strict=True):
            self._optimizer.update_step(gradient, variable, rate)
        self._optimizer.iterations.assign_add(1)
        if self._backoff:
            self._back_off(self._optimizer, before, here.losses, lowest)
        if self._parameterization.project is not None:
            for variable, value in zip(self._variables, self._parameterization.project(self._variables), strict=True):
                variable.assign(value)
        self._step_count.assign_add(1)
        return rate

    def _back_off(
        self, optimizer: keras.optimizers.Optimizer, before: list[tf.Tensor], losses: tf.Tensor, lowest: tf.Tensor
    ) -> None:
        """Puts a smaller step, or none and the best image, in the place of the update that has just been made."""
        diverged = tf.logical_not(losses <= DIVERGED * lowest)  # True for NaN

        def smaller() -> tf.Tensor:
            self._scale.assign(tf.where(diverged, 0.5 * self._scale, self._scale))
            for variable, old, best in zip(self._variables, before, self._best, strict=True):
                scale = _for_each(self._scale, old)
                part = tf.where(scale == 1, variable, old + scale * (variable - old))
                variable.assign(tf.where(_for_each(diverged, old), best, part))
            for slot in optimizer.variables:
                # The moments of a picture that goes back lead away from there.
                if any(slot.shape == variable.shape for variable in self._variables):
                    slot.assign(tf.where(_for_each(diverged, slot), 0.0, slot))
            return tf.constant(True)

        # Hardly ever, and it reads every value several times.
        tf.cond(tf.reduce_any(diverged) | tf.reduce_any(self._scale < 1), smaller, lambda: tf.constant(False))

    def _keep_best(self, losses: tf.Tensor) -> None:
        better = losses < self._best_losses  # False for NaN

        def keep() -> tf.Tensor:
            for best, variable in zip(self._best, self._variables, strict=True):
                # Choosing between two pictures takes as long as ten copies of one.
                best.assign(variable if len(losses) == 1 else tf.where(_for_each(better, variable), variable, best))
            self._best_losses.assign(tf.where(better, losses, self._best_losses))
            return tf.constant(True)

        tf.cond(tf.reduce_any(better), keep, lambda: tf.constant(False))


@dataclasses.dataclass
class _Pull:
    """The values of the terms [batch], and what is differentiated: tensors, the loss' gradients with respect to them divided by
    a factor, and that factor, or None for 1."""

    values: dict[str, tf.Tensor]
    outputs: list[tf.Tensor]
    gradients: list[tf.Tensor]
    factor: tf.Tensor | None


class _Point(NamedTuple):
    """Where an optimization is: its losses [batch], the sums of loss and terms, and the gradient of each variable."""

    losses: tf.Tensor
    values: dict[str, tf.Tensor]
    gradients: list[tf.Tensor]


class Group:
    """Optimizations of one network that step together: it sees the pictures of all of them as one batch.

    Each stays what it is alone, with its own terms, optimizer, best images and checkpoint, and can go on alone or in another
    group; only the last digits of its features depend on the others.

    Args:
      members: optimizations that share their model and the size of their pictures, and are at the same step; an optimization
        with L-BFGS, whose line search asks for points of its own, is alone.
    """

    def __init__(self, members: Sequence[Optimization]):
        self.members = tuple(members)
        if len(members) > 1 and any(isinstance(one._optimizer, Lbfgs) for one in members):
            raise ValueError("an optimization with L-BFGS cannot step together with others")

    # Traced once per object, so that a model can be optimized again with other terms. As concrete functions: TensorFlow warns
    # of functions that are traced often, and would count those of all objects as one.

    @functools.cached_property
    def _update(self) -> Callable[[], list[tuple[dict[str, tf.Tensor], tf.Tensor]]]:
        return tf.function(self._update_once).get_concrete_function()

    @functools.cached_property
    def _evaluate(self) -> Callable[[], list[tuple[tf.Tensor, dict[str, tf.Tensor]]]]:
        return tf.function(self._losses).get_concrete_function()

    @functools.cached_property
    def gradients(self) -> Callable[[], list[_Point]]:
        """A function that gives where each of them is; nothing is updated."""
        return tf.function(self._differentiate).get_concrete_function()

    @property
    def step(self) -> int:
        """Number of updates so far."""
        return self.members[0].step

    def run(self, steps: int, image_every: int = 1) -> Iterator[Sequence[Snapshot | NonFiniteLossError]]:
        """As `Optimization.run`, a snapshot of each at a time; where a loss is not finite the error instead, from there on.

        It ends when no loss is finite any more.
        """
        errors: dict[Optimization, NonFiniteLossError] = {}
        first = self.members[0]
        if isinstance(first._optimizer, Lbfgs):
            try:
                yield from ([snapshot] for snapshot in first._run_lbfgs(first._optimizer, steps, image_every))
            except NonFiniteLossError as error:
                yield [error]
                return
        else:
            for step in range(self.step, steps):
                images = [one.image() if step % image_every == 0 else None for one in self.members]
                found = self._update()
                yield [self._snapshot(errors, one, step, *f, i) for one, f, i in zip(self.members, found, images, strict=True)]
                if len(errors) == len(self.members):
                    return
        ends = []
        for one, (losses, values) in zip(self.members, self._evaluate(), strict=True):
            one._keep_best(losses)
            ends.append(self._snapshot(errors, one, one.step, values, one._rate(), one.image()))
        yield ends

    @staticmethod
    def _snapshot(
        errors: dict[Optimization, NonFiniteLossError],
        one: Optimization,
        step: int,
        values: dict[str, tf.Tensor],
        rate: tf.Tensor | float,
        image: np.ndarray | None,
    ) -> Snapshot | NonFiniteLossError:
        if one not in errors:
            try:
                return one._snapshot(step, values, float(rate), image)
            except NonFiniteLossError as error:
                errors[one] = error
        return errors[one]

    def _features(self) -> list[tuple[tf.Tensor, dict[str, tf.Tensor]]]:
        """The image of each and its features, by layer name."""
        images = [one._image_tensor() for one in self.members]
        seen = [one._seen(image) for one, image in zip(self.members, images, strict=True)]
        features = self.members[0]._model(seen[0] if len(seen) == 1 else tf.concat(seen, axis=0), training=False)
        if len(seen) == 1:
            return [(images[0], features)]
        sizes = [image.shape[0] for image in images]
        parts = {name: tf.split(value, sizes) for name, value in features.items()}
        return [(image, {name: part[number] for name, part in parts.items()}) for number, image in enumerate(images)]

    def _losses(self) -> list[tuple[tf.Tensor, dict[str, tf.Tensor]]]:
        return [
            one._losses({term.name: term.value(image, features) for term in one._terms})
            for one, (image, features) in zip(self.members, self._features(), strict=True)
        ]

    def _differentiate(self) -> list[_Point]:
        variables = [one._variables for one in self.members]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            for variable in tf.nest.flatten(variables):
                tape.watch(variable)
            pulls = [
                one._pull(image, features, tape) for one, (image, features) in zip(self.members, self._features(), strict=True)
            ]
        # No picture's loss depends on another's variables, so that the sum has the gradients of each.
        outputs = [output for pull in pulls for output in pull.outputs]
        raw = tape.gradient(outputs, variables, output_gradients=[gradient for pull in pulls for gradient in pull.gradients])
        return [
            _Point(*one._losses(pull.values), gradients if pull.factor is None else [pull.factor * part for part in gradients])
            for one, pull, gradients in zip(self.members, pulls, raw, strict=True)
        ]

    def _update_once(self) -> list[tuple[dict[str, tf.Tensor], tf.Tensor]]:
        here = self._differentiate()
        return [(point.values, one._descend(point)) for one, point in zip(self.members, here, strict=True)]


def _for_each(values: tf.Tensor, variable: tf.Tensor) -> tf.Tensor:
    """[batch] shaped so that it goes with a variable [batch, ...]; for a batch of one, with any variable."""
    return tf.reshape(values, [-1] + [1] * (len(variable.shape) - 1))


def run_optimization(config: Config, model: keras.Model, targets: Mapping[str, tf.Tensor], initial: np.ndarray) -> Optimization:
    """The optimization of a run, with the terms, parameterization, optimizer and transform that its config names.

    Args:
      config: of its preset's numbers for these layers (`presets.at_depth`).
      model: image [batch, H, W, 3] -> features by layer name.
      targets: the features to match, by layer name.
      initial: [batch, H, W, 3] in [0, 1].
    """
    _, height, width, _ = initial.shape
    return Optimization(
        model,
        run_terms(config, targets),
        parameterization(config.parameterization, (height, width), config.seed, config.pyramid_levels),
        initial,
        optimizer(config),
        run_transform(config),
        config.backoff,
    )
