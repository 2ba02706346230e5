"""A decoder's training: its losses, its updates, its rate, and several devices."""

import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.conftest import ROOT
from tests.decoders.conftest import write_images
from tfinvert.decoders.batches import TrainingData
from tfinvert.decoders.cluster import Cluster, Share
from tfinvert.decoders.image_set import ImageSet
from tfinvert.decoders.model import build_decoder
from tfinvert.decoders.training import Recipe, Training, build_learning_rate, feature_loss, image_loss
from tfinvert.system.errors import InputError, NonFiniteLossError
from tfinvert.system.signals import Interruption

SIZE = (16, 16)
SHAPE = (8, 8, 3)


def encode(images):
    return tf.nn.avg_pool2d(images, 2, 2, "VALID")


def make_training(decoder=None, cluster=None, **settings):
    recipe = Recipe(**{"epochs": 2, "steps_per_epoch": 4, "batch_size": 4, "learning_rate": 0.01, **settings})
    cluster = cluster or Cluster(tf.distribute.get_strategy(), Share())
    with cluster.strategy.scope():
        decoder = decoder or build_decoder(SHAPE, SIZE, width=2, seed=1)
    return Training(recipe, cluster, decoder, encode)


def make_batches(files, steps, first=0, batch_size=4):
    data = TrainingData(ImageSet(files, SIZE), seed=3, augment=True)
    return data.build_batches(Share().draw_numbers(first, steps, 4), batch_size)


class Losses(keras.callbacks.Callback):
    """Keeps the loss of every step and epoch; lets a signal come after a number of steps."""

    def __init__(self, stop=None, after=None):
        super().__init__()
        self.steps, self.epochs, self.stop, self.after = [], [], stop, after

    def on_train_batch_end(self, batch, logs=None):
        self.steps.append(logs["loss"])
        if len(self.steps) == self.after:
            self.stop.number = 15

    def on_epoch_end(self, epoch, logs=None):
        self.epochs.append(logs["loss"])


@pytest.mark.parametrize(("kind", "distance"), [("mse", np.square), ("l1", np.abs)])
def test_the_loss_of_images(kind, distance):
    rng = np.random.default_rng(0)
    decoded, images = rng.random((2, *SIZE, 3), np.float32), rng.random((2, *SIZE, 3), np.float32)
    expected = distance(2 * decoded - 2 * images).mean(axis=(1, 2, 3))  # both in [-1, 1]
    np.testing.assert_allclose(image_loss(tf.constant(decoded), tf.constant(images), kind), expected, rtol=1e-5)


@pytest.mark.parametrize("shape", [(3, 3, 2), (5,)])
def test_the_loss_of_features(shape):
    rng = np.random.default_rng(0)
    features, target = rng.random((2, *shape), np.float32), rng.random((2, *shape), np.float32)
    axes = tuple(range(1, 1 + len(shape)))
    expected = 3 * ((features - target) ** 2).sum(axes) / (target**2).sum(axes)
    np.testing.assert_allclose(feature_loss(tf.constant(features), tf.constant(target), 3.0), expected, rtol=1e-5)


def test_the_losses_of_a_training_are_the_sum_of_both():
    images = tf.constant(np.random.default_rng(0).random((2, *SIZE, 3), np.float32))
    plain, weighted = make_training(image_loss="l1"), make_training(image_loss="l1", feature_weight=3.0)
    decoded = plain.decoder(encode(images))
    expected = image_loss(decoded, images, "l1")
    np.testing.assert_allclose(plain.losses(images, images), expected, rtol=1e-5)
    expected += feature_loss(encode(decoded), encode(images), 3.0)
    np.testing.assert_allclose(weighted.losses(images, images), expected, rtol=1e-4)


def test_weight_decay_is_added_to_the_gradient():
    # A decoder that is right has no other gradient; Adam's first step is then the rate against the weight's sign.
    features = keras.Input(SHAPE)
    image = keras.layers.UpSampling2D(2)(keras.layers.Conv2D(3, 1, kernel_initializer="ones", use_bias=False)(features))
    decoder = keras.Model(features, image)
    decoder.set_weights([np.eye(3, dtype=np.float32)[None, None] + 0.0])
    flat = tf.fill((4, *SIZE, 3), 0.5)
    training = make_training(decoder, epochs=1, steps_per_epoch=1, weight_decay=0.1)
    training.fit(tf.data.Dataset.from_tensors((flat, flat)), [], Interruption(), verbose=False)
    np.testing.assert_allclose(decoder.get_weights()[0][0, 0], np.eye(3) * (1 - 0.01), atol=1e-5)


def test_the_published_rate_is_halved_and_ours_falls_along_a_cosine():
    rate = build_learning_rate(Recipe(halve_every=4, learning_rate=1e-3, epochs=30, steps_per_epoch=10))
    assert [float(rate(step)) for step in (0, 39, 40, 79, 80, 299)] == pytest.approx(
        [1e-3, 1e-3, 5e-4, 5e-4, 2.5e-4, 1e-3 / 128]
    )
    rate = build_learning_rate(Recipe(learning_rate=1e-3, epochs=30, steps_per_epoch=10))
    assert [float(rate(step)) for step in (0, 150, 300)] == pytest.approx([1e-3, 5e-4, 0], abs=1e-9)


def test_training_lowers_the_loss_and_a_restored_one_goes_on_the_same(tmp_path):
    files = write_images(tmp_path / "images", 5, SIZE)
    whole, kept = make_training(epochs=20), Losses()
    whole.fit(make_batches(files, 80), [kept], Interruption(), verbose=False)
    assert whole.step == 80
    assert np.mean(kept.steps[-4:]) < 0.8 * np.mean(kept.steps[:4])
    np.testing.assert_allclose(kept.epochs, np.reshape(kept.steps, (20, 4)).mean(axis=1), rtol=1e-6)

    stop = Interruption()
    part, before = make_training(epochs=20), Losses(stop, after=30)  # in the middle of an epoch
    part.fit(make_batches(files, 80), [before], stop, verbose=False)
    assert (part.step, len(before.epochs)) == (30, 7)
    path = part.checkpoint.write(str(tmp_path / "checkpoint"))
    again, after = make_training(epochs=20), Losses()
    again.checkpoint.read(path).assert_consumed()
    again.fit(make_batches(files, 80, first=30), [after], Interruption(), verbose=False)
    assert before.steps + after.steps == kept.steps
    assert before.epochs + after.epochs == kept.epochs
    for resumed, expected in zip(again.decoder.get_weights(), whole.decoder.get_weights(), strict=True):
        np.testing.assert_array_equal(resumed, expected)


def test_a_loss_that_is_not_finite_is_named(tmp_path):
    training = make_training(learning_rate=1e30, epochs=5)
    with pytest.raises(NonFiniteLossError, match="at step"):
        training.fit(make_batches(write_images(tmp_path / "images", 2, SIZE), 20), [], Interruption(), verbose=False)


def test_an_image_that_is_gone_is_named(tmp_path):
    files = write_images(tmp_path / "images", 2, SIZE)
    data = TrainingData(ImageSet(files, SIZE, memory=0), seed=0, augment=False)
    batches = data.build_batches(np.arange(100), 4)
    for path in files:
        path.rename(path.with_suffix(".gone"))
    with pytest.raises(InputError, match="there is no "):
        make_training().fit(batches, [], Interruption(), verbose=False)


TWO_DEVICES = """
import sys
from pathlib import Path
import tensorflow as tf
(cpu,) = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from tests.decoders import test_training as tests
for strategy in (tf.distribute.get_strategy(), tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])):
    cluster = tests.Cluster(strategy, tests.Share())
    training, losses = tests.make_training(cluster=cluster, weight_decay=0.01), tests.Losses()
    batches = tests.make_batches(sorted(Path(sys.argv[1]).iterdir()), 8, batch_size=cluster.replica_batch(4))
    training.fit(batches, [losses], tests.Interruption(), verbose=False)
    print(strategy.num_replicas_in_sync, *losses.steps)
"""


@pytest.mark.slow
def test_two_devices_have_the_losses_of_one(tmp_path):
    write_images(tmp_path / "images", 5, SIZE)
    command = [sys.executable, "-c", TWO_DEVICES, str(tmp_path / "images")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    one, two = (np.array(line.split(), float) for line in done.stdout.splitlines())
    assert (one[0], two[0], len(one)) == (1, 2, 9)
    np.testing.assert_allclose(two[1:], one[1:], rtol=1e-5)
