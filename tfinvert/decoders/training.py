"""The training of a decoder: a tf.function step under a tf.distribute strategy, Keras' callbacks, a state that can be kept.

It is not `model.fit`: with Keras 3 that cannot run under MultiWorkerMirroredStrategy (keras-team/keras, issue 20585). This
loop is the one of TensorFlow's guide to custom training, and calls the same callbacks.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Sequence

import keras
import numpy as np
import tensorflow as tf

from tfinvert.decoders.cluster import Cluster
from tfinvert.system.errors import InputError, NonFiniteLossError
from tfinvert.system.signals import Interruption

Encode = Callable[[tf.Tensor], tf.Tensor]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a decoder is trained.

    Attributes:
      epochs, steps_per_epoch: how long.
      batch_size: images in a step, of all devices and workers together.
      image_loss: "mse" for squared or "l1" for absolute differences.
      feature_weight: weight of `feature_loss`; 0 leaves it out.
      learning_rate: the rate of the first step.
      halve_every: epochs after which the rate is halved, as the published decoders were trained; 0 for a cosine down to 0.
      beta_1, beta_2: decay of Adam's mean gradient and mean squared gradient.
      weight_decay: this times each weight is added to its gradient.
    """

    epochs: int
    steps_per_epoch: int
    batch_size: int = 16
    image_loss: str = "mse"
    feature_weight: float = 0.0
    learning_rate: float = 1e-3
    halve_every: int = 0
    beta_1: float = 0.9
    beta_2: float = 0.99
    weight_decay: float = 0.0

    @property
    def steps(self) -> int:
        """The number of steps in all epochs."""
        return self.epochs * self.steps_per_epoch


def build_learning_rate(recipe: Recipe) -> keras.optimizers.schedules.LearningRateSchedule:
    """The learning rate over the steps of a recipe."""
    if recipe.halve_every:
        steps = recipe.halve_every * recipe.steps_per_epoch
        return keras.optimizers.schedules.ExponentialDecay(recipe.learning_rate, steps, 0.5, staircase=True)
    return keras.optimizers.schedules.CosineDecay(recipe.learning_rate, recipe.steps)


def image_loss(decoded: tf.Tensor, images: tf.Tensor, kind: str) -> tf.Tensor:
    """The mean squared ("mse") or absolute ("l1") difference per image, [batch], of values brought from [0, 1] to [-1, 1].

    Args:
      decoded, images: [batch, height, width, 3] about [0, 1].
    """
    difference = 2.0 * (decoded - images)
    return tf.reduce_mean(tf.square(difference) if kind == "mse" else tf.abs(difference), axis=[1, 2, 3])


def feature_loss(features: tf.Tensor, target: tf.Tensor, weight: float) -> tf.Tensor:
    """w ||phi - phi0||^2 / ||phi0||^2 per image, [batch], of features [batch, ...] (Mahendran & Vedaldi 2015, eq. 3)."""
    axes = list(range(1, len(target.shape)))
    error = tf.reduce_sum(tf.square(features - target), axes)
    return weight * error / tf.maximum(tf.reduce_sum(tf.square(target), axes), 1e-12)


class Training:
    """The state of a training: the decoder, its optimizer, and the number of steps.

    Args:
      recipe: how to train.
      cluster: who trains.
      decoder: features -> image, built within the strategy's scope.
      encode: image -> features, frozen.
      from_features: whether batches hold features already.

    Attributes:
      recipe, cluster, decoder, encode: as above.
      checkpoint: a tf.train.Checkpoint of all state; a training that is restored goes on as if it had never ended.
    """

    def __init__(self, recipe: Recipe, cluster: Cluster, decoder: keras.Model, encode: Encode, *, from_features: bool = False):
        self.recipe = recipe
        self.cluster = cluster
        self.decoder = decoder
        self.encode = encode
        self._strategy = cluster.strategy
        self._from_features = from_features
        with self._strategy.scope():
            self._optimizer = keras.optimizers.Adam(
                build_learning_rate(recipe), beta_1=recipe.beta_1, beta_2=recipe.beta_2, epsilon=1e-8
            )
            self._optimizer.build(decoder.trainable_variables)
            # Callbacks look for the optimizer in the model; the decoder itself stays without it, and so do its files.
            self._model = keras.Model(decoder.inputs, decoder.outputs)
            self._model.compile(optimizer=self._optimizer)
        self._step_count = tf.Variable(0, trainable=False, dtype=tf.int64, name="step")
        self._loss_sum = tf.Variable(0.0, trainable=False, dtype=tf.float64, name="loss_sum")
        self.checkpoint = tf.train.Checkpoint(
            decoder=decoder, optimizer=self._optimizer, step=self._step_count, loss_sum=self._loss_sum
        )
        self._update = tf.function(self._update_once)

    @property
    def step(self) -> int:
        """The number of steps so far."""
        return int(self._step_count)

    def learning_rate(self) -> float:
        """The learning rate of the next step."""
        return float(tf.convert_to_tensor(self._optimizer.learning_rate))

    def losses(self, inputs: tf.Tensor, images: tf.Tensor) -> tf.Tensor:
        """The loss of each image, [batch]: `image_loss`, and `feature_loss` of the decoded image where it has a weight.

        Args:
          inputs: the images, or their features where batches hold features.
          images: [batch, height, width, 3] in [0, 1].
        """
        features = inputs if self._from_features else self.encode(inputs)
        decoded = self.decoder(features, training=True)
        losses = image_loss(decoded, images, self.recipe.image_loss)
        if self.recipe.feature_weight:
            losses += feature_loss(self.encode(decoded), features, self.recipe.feature_weight)
        return losses

    def fit(
        self, batches: tf.data.Dataset, callbacks: Sequence[keras.callbacks.Callback], stop: Interruption, *, verbose: bool
    ) -> None:
        """Trains to the last epoch, or until a callback or a signal says to stop.

        Args:
          batches: this worker's share, from the current step on, in the batches of one replica.
          callbacks: Keras' callbacks; `on_epoch_end` gets the mean loss of the epoch as "loss".
          stop: true once a signal has come; the training then ends between two steps.
          verbose: whether to show Keras' progress bar.

        Raises:
          NonFiniteLossError: the loss became NaN or infinite.
          InputError: another worker is gone, or an image cannot be read any more.
        """
        steps = self.recipe.steps_per_epoch
        called = keras.callbacks.CallbackList(
            list(callbacks),
            add_history=False,
            add_progbar=verbose,
            model=self._model,
            epochs=self.recipe.epochs,
            steps=steps,
            verbose=1,
        )
        self._model.stop_training = False
        iterator = iter(self._strategy.distribute_datasets_from_function(lambda context: batches))
        called.on_train_begin()
        with _without_remapping(), _named_errors():
            while self.step < self.recipe.steps and not self._model.stop_training and not stop:
                epoch, first = divmod(self.step, steps)
                if not first:
                    self._loss_sum.assign(0.0)
                called.on_epoch_begin(epoch)
                for batch in range(first, steps):
                    called.on_train_batch_begin(batch)
                    loss = float(self._update(next(iterator)))
                    if not np.isfinite(loss):
                        raise NonFiniteLossError(self.step - 1, loss)
                    self._loss_sum.assign_add(loss)
                    called.on_train_batch_end(batch, {"loss": loss})
                    if stop:
                        break
                if self.step == steps * (epoch + 1):
                    called.on_epoch_end(epoch, {"loss": float(self._loss_sum) / steps})
        called.on_train_end()

    def _update_once(self, batch: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        losses = self._strategy.run(self._update_replica, batch)
        self._step_count.assign_add(1)
        return self._strategy.reduce(tf.distribute.ReduceOp.SUM, losses, axis=None)

    def _update_replica(self, inputs: tf.Tensor, images: tf.Tensor) -> tf.Tensor:
        variables = self.decoder.trainable_variables
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(self.losses(inputs, images)) / self.recipe.batch_size  # summed over the replicas
        gradients = tape.gradient(loss, variables)
        if self.recipe.weight_decay:
            # It is added to the gradient, as PyTorch does in the published recipe; Keras' own `weight_decay` is AdamW's.
            part = self.recipe.weight_decay / self._strategy.num_replicas_in_sync
            gradients = [gradient + part * value for gradient, value in zip(gradients, variables, strict=True)]
        self._optimizer.apply(gradients, variables)
        return loss


@contextlib.contextmanager
def _without_remapping() -> Iterator[None]:
    """Within it, TensorFlow does not fuse operations.

    It would fuse convolution, bias and leaky ReLU although the gradient reads the bias' sum, then miss that, say so on
    standard error and give up rewriting the graph at all. Without trying it is as fast.
    """
    before = tf.config.optimizer.get_experimental_options().get("remapping", True)
    tf.config.optimizer.set_experimental_options({"remapping": False})
    try:
        yield
    finally:
        tf.config.optimizer.set_experimental_options({"remapping": before})


@contextlib.contextmanager
def _named_errors() -> Iterator[None]:
    """Within it, TensorFlow's errors become InputErrors."""
    try:
        yield
    except (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.DeadlineExceededError):
        reason = "another worker is gone; start all of them again with --resume"
        raise InputError(f"the training cannot go on: {reason}") from None
    except tf.errors.OpError as error:
        raise InputError(f"the training cannot go on: {' '.join(str(error.message).split())[:300]}") from None
