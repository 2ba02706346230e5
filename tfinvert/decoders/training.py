"""The training of a decoder: a tf.function step under a tf.distribute strategy, Keras' callbacks, a state that can be kept.

Not `model.fit`: with Keras 3 it cannot run under MultiWorkerMirroredStrategy (keras-team/keras, issue 20585). This loop is
the one of TensorFlow's guide to custom training, and calls the same callbacks.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfinvert.decoders.data import Pictures, Share
from tfinvert.errors import InputError, NonFiniteLossError
from tfinvert.optimization import schedules
from tfinvert.settings.config import DecoderConfig
from tfinvert.system.signals import Interruption

Encode = Callable[[tf.Tensor], tf.Tensor]


@dataclasses.dataclass(frozen=True)
class Cluster:
    """Who trains: the strategy, and this worker's share."""

    strategy: tf.distribute.Strategy
    share: Share

    def replica_batch(self, batch_size: int) -> int:
        """What each replica gets of a batch; raises InputError where a batch cannot be divided evenly."""
        replicas = self.strategy.num_replicas_in_sync
        if batch_size % replicas:
            raise InputError(f"--batch_size is {batch_size}; expected a multiple of the {replicas} devices that share it")
        return batch_size // replicas


def cluster() -> Cluster:
    """Several machines where TF_CONFIG names them, several GPUs of one where it has them, else one device.

    Raises:
      InputError: TF_CONFIG cannot be read, or names something else than workers.
    """
    share = Share.told()
    if share.count > 1:
        return Cluster(tf.distribute.MultiWorkerMirroredStrategy(), share)
    if len(tf.config.list_physical_devices("GPU")) > 1:
        return Cluster(tf.distribute.MirroredStrategy(), share)
    return Cluster(tf.distribute.get_strategy(), share)


def dataset(
    pictures: Pictures, numbers: np.ndarray, *, batch_size: int, seed: int, augment: bool, features: np.ndarray | None = None
) -> tf.data.Dataset:
    """Batches of (features or pictures, pictures): cropped by several threads, ahead of the step that takes them.

    Args:
      pictures: what to draw from.
      numbers: which draws, in order; `Share.numbers` has those of a training.
      batch_size: of the batches.
      seed, augment: as in `Pictures.drawn`.
      features: of each picture's center where they are at hand, [len(pictures), ...]; else pictures stand in their place.

    Returns:
      A dataset of float32 pairs; pictures are [batch, height, width, 3], RGB in [0, 1].
    """
    shape = pictures.center(0).shape

    def draw(number: np.int64) -> tuple[np.ndarray, ...]:
        index, picture = pictures.drawn(int(number), seed, augment=augment)
        return (picture,) if features is None else (picture, np.asarray(features[index], np.float32))

    def pair(number: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        kinds = (tf.uint8,) if features is None else (tf.uint8, tf.float32)
        drawn = tf.numpy_function(draw, [number], kinds, stateful=False)
        picture = tf.cast(tf.ensure_shape(drawn[0], shape), tf.float32) / 255.0
        return picture if features is None else tf.ensure_shape(drawn[1], features.shape[1:]), picture

    found = tf.data.Dataset.from_tensor_slices(numbers).map(pair, num_parallel_calls=tf.data.AUTOTUNE)
    return found.batch(batch_size, drop_remainder=True).prefetch(tf.data.AUTOTUNE)


class Training:
    """A decoder on its way down the loss; owns the optimizer, the step, and the checkpoint of both.

    Args:
      config: the settings.
      cluster: who trains.
      decoder: features -> picture, made within the strategy's scope.
      encode: picture -> features, frozen.
      steps_per_epoch: optimizer steps in an epoch.
      from_features: whether batches hold features already.

    Attributes:
      decoder: the decoder.
      checkpoint: a tf.train.Checkpoint of all state; a restored training goes on as if it had never ended.
    """

    def __init__(
        self,
        config: DecoderConfig,
        cluster: Cluster,
        decoder: keras.Model,
        encode: Encode,
        steps_per_epoch: int,
        *,
        from_features: bool = False,
    ):
        self._config = config
        self._strategy = cluster.strategy
        self._encode = encode
        self._from_features = from_features
        self.decoder = decoder
        self.steps_per_epoch = steps_per_epoch
        with self._strategy.scope():
            self._optimizer = keras.optimizers.Adam(
                schedules.decoder_rate(config, steps_per_epoch), beta_1=config.beta_1, beta_2=config.beta_2, epsilon=1e-8
            )
            self._optimizer.build(decoder.trainable_variables)
            # Callbacks look for the optimizer in the model; the decoder's files are better without it.
            self._shown = keras.Model(decoder.inputs, decoder.outputs)
            self._shown.compile(optimizer=self._optimizer)
        self._step_count = tf.Variable(0, trainable=False, dtype=tf.int64, name="step")
        self._loss_sum = tf.Variable(0.0, trainable=False, dtype=tf.float64, name="loss_sum")
        self.checkpoint = tf.train.Checkpoint(
            decoder=decoder, optimizer=self._optimizer, step=self._step_count, loss_sum=self._loss_sum
        )
        self._update = tf.function(self._update_once)

    @property
    def step(self) -> int:
        """Number of updates so far."""
        return int(self._step_count)

    def learning_rate(self) -> float:
        """Of the update that follows."""
        return float(tf.convert_to_tensor(self._optimizer.learning_rate))

    def losses(self, given: tf.Tensor, pictures: tf.Tensor) -> tf.Tensor:
        """The loss of each picture, [batch]: its distance from the decoded one, both brought from [0, 1] to [-1, 1].

        With a feature weight w, w ||phi(decoded) - phi||^2 / ||phi||^2 is added.
        """
        features = given if self._from_features else self._encode(given)
        decoded = self.decoder(features, training=True)
        difference = 2.0 * (decoded - pictures)
        distance = tf.square(difference) if self._config.picture_loss == "mse" else tf.abs(difference)
        losses = tf.reduce_mean(distance, axis=[1, 2, 3])
        if self._config.feature_weight:
            axes = list(range(1, len(features.shape)))
            error = tf.reduce_sum(tf.square(self._encode(decoded) - features), axes)
            losses += self._config.feature_weight * error / tf.maximum(tf.reduce_sum(tf.square(features), axes), 1e-12)
        return losses

    def fit(
        self, batches: tf.data.Dataset, callbacks: Sequence[keras.callbacks.Callback], stop: Interruption, *, verbose: bool
    ) -> None:
        """Trains to the last epoch, or until a callback or a signal says to stop.

        Args:
          batches: from the step that the training has reached on; this worker's share, in the batches of one replica.
          callbacks: Keras'; `on_epoch_end` gets the mean loss of the epoch as "loss".
          stop: true once a signal has come; the training then ends between two steps, ready to be kept.
          verbose: whether to show Keras' progress bar.

        Raises:
          NonFiniteLossError: the loss became NaN or infinite.
          InputError: another worker is gone, or a picture cannot be read any more.
        """
        steps, epochs = self.steps_per_epoch, self._config.epochs
        called = keras.callbacks.CallbackList(
            list(callbacks), add_history=False, add_progbar=verbose, model=self._shown, epochs=epochs, steps=steps, verbose=1
        )
        self._shown.stop_training = False
        iterator = iter(self._strategy.distribute_datasets_from_function(lambda context: batches))
        called.on_train_begin()
        # TensorFlow fuses convolution, bias and leaky ReLU without looking who else reads the bias' sum, then finds the
        # gradient missing it, says so on standard error and gives up the whole rewriting. Without trying it is as fast.
        fusing = tf.config.optimizer.get_experimental_options().get("remapping", True)
        tf.config.optimizer.set_experimental_options({"remapping": False})
        try:
            while self.step < steps * epochs and not self._shown.stop_training and not stop:
                epoch, place = divmod(self.step, steps)
                if not place:
                    self._loss_sum.assign(0.0)
                called.on_epoch_begin(epoch)
                for batch in range(place, steps):
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
        except tf.errors.OpError as error:
            raise InputError(f"the training cannot go on: {_reason(error)}") from None
        finally:
            tf.config.optimizer.set_experimental_options({"remapping": fusing})
        called.on_train_end()

    def _update_once(self, batch: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        losses = self._strategy.run(self._on_replica, batch)
        self._step_count.assign_add(1)
        return self._strategy.reduce(tf.distribute.ReduceOp.SUM, losses, axis=None)

    def _on_replica(self, given: tf.Tensor, pictures: tf.Tensor) -> tf.Tensor:
        variables = self.decoder.trainable_variables
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(self.losses(given, pictures)) / self._config.batch_size  # of all replicas together
        gradients = tape.gradient(loss, variables)
        if self._config.weight_decay:
            # Added to the gradient as the published recipe's PyTorch does; Keras' own `weight_decay` is AdamW's.
            part = self._config.weight_decay / self._strategy.num_replicas_in_sync
            gradients = [gradient + part * value for gradient, value in zip(gradients, variables, strict=True)]
        self._optimizer.apply(gradients, variables)
        return loss


def _reason(error: tf.errors.OpError) -> str:
    if isinstance(error, (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.DeadlineExceededError)):
        return "another worker is gone; start all of them again with --resume"
    return " ".join(str(error.message).split())[:300]


def replayed(patience: int, monitor: str, history: Sequence[dict[str, Any]]) -> keras.callbacks.EarlyStopping:
    """Keras' EarlyStopping, which in a training that goes on has seen the epochs before."""

    class Replayed(keras.callbacks.EarlyStopping):
        def on_train_begin(self, logs: dict | None = None) -> None:
            super().on_train_begin(logs)
            for epoch, line in enumerate(history):
                self.on_epoch_end(epoch, line)

    return Replayed(monitor=monitor, patience=patience)
