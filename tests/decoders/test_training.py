"""A decoder's training: its loss, its updates, its rate, its data, and who takes part."""

import json
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests.conftest import ROOT
from tfinvert.decoders import model as decoders
from tfinvert.decoders import training
from tfinvert.decoders.data import Pictures, Share
from tfinvert.errors import InputError, NonFiniteLossError
from tfinvert.optimization import schedules
from tfinvert.settings.config import DecoderConfig
from tfinvert.system.signals import Interruption

SIZE = (16, 16)
SHAPE = (8, 8, 3)


def encode(pictures):
    return tf.nn.avg_pool2d(pictures, 2, 2, "VALID")


def made(decoder=None, steps_per_epoch=4, cluster=None, **settings):
    config = DecoderConfig(**{"batch_size": 4, "epochs": 2, "learning_rate": 0.01, **settings})
    cluster = cluster or training.Cluster(tf.distribute.get_strategy(), Share())
    with cluster.strategy.scope():
        decoder = decoder or decoders.build(SHAPE, SIZE, width=2, seed=1)
    return training.Training(config, cluster, decoder, encode, steps_per_epoch)


def picture_files(folder, count):
    rng = np.random.default_rng(0)
    for number in range(count):
        Image.fromarray(rng.integers(0, 255, (*SIZE, 3), np.uint8)).save(folder / f"{number}.png")
    return sorted(folder.iterdir())


def batches(files, steps, batch_size=4, first=0):
    numbers = Share().numbers(first, steps, batch_size)
    return training.dataset(Pictures(files, SIZE), numbers, batch_size=batch_size, seed=3, augment=True)


@pytest.mark.parametrize(("picture_loss", "distance"), [("mse", np.square), ("l1", np.abs)])
def test_the_loss_of_each_picture(picture_loss, distance):
    pictures = np.random.default_rng(0).random((2, *SIZE, 3), np.float32)
    state = made(picture_loss=picture_loss)
    decoded = np.asarray(state.decoder(encode(pictures)))
    expected = distance(2 * decoded - 2 * pictures).mean(axis=(1, 2, 3))  # both in [-1, 1]
    np.testing.assert_allclose(state.losses(tf.constant(pictures), tf.constant(pictures)), expected, rtol=1e-5)
    weighted = made(picture_loss=picture_loss, feature_weight=3.0)
    wanted, found = np.asarray(encode(pictures)), np.asarray(encode(decoded))
    error = ((found - wanted) ** 2).sum(axis=(1, 2, 3)) / (wanted**2).sum(axis=(1, 2, 3))
    np.testing.assert_allclose(weighted.losses(tf.constant(pictures), tf.constant(pictures)), expected + 3 * error, rtol=1e-4)


def test_weight_decay_is_added_to_the_gradient():
    # A decoder that is right has no other gradient; Adam's first step is then the rate against the weight's sign.
    features = keras.Input(SHAPE)
    picture = keras.layers.UpSampling2D(2)(keras.layers.Conv2D(3, 1, kernel_initializer="ones", use_bias=False)(features))
    decoder = keras.Model(features, picture)
    decoder.set_weights([np.eye(3, dtype=np.float32)[None, None] + 0.0])
    flat = tf.fill((4, *SIZE, 3), 0.5)
    state = made(decoder, steps_per_epoch=1, epochs=1, weight_decay=0.1)
    state.fit(tf.data.Dataset.from_tensors((flat, flat)), [], Interruption(), verbose=False)
    np.testing.assert_allclose(decoder.get_weights()[0][0, 0], np.eye(3) * (1 - 0.01), atol=1e-5)


def test_the_published_rate_is_halved():
    rate = schedules.decoder_rate(DecoderConfig(halve_every=4, learning_rate=1e-3, epochs=30), 10)
    assert [float(rate(step)) for step in (0, 39, 40, 79, 80, 299)] == pytest.approx(
        [1e-3, 1e-3, 5e-4, 5e-4, 2.5e-4, 1e-3 / 128]
    )
    rate = schedules.decoder_rate(DecoderConfig(learning_rate=1e-3, epochs=30), 10)
    assert [float(rate(step)) for step in (0, 150, 300)] == pytest.approx([1e-3, 5e-4, 0], abs=1e-9)


def test_batches_are_the_drawn_pictures(tmp_path):
    files = picture_files(tmp_path, 5)
    pictures = Pictures(files, SIZE)
    for step, (given, wanted) in enumerate(batches(files, 3)):
        drawn = [pictures.drawn(4 * step + i, 3, augment=True)[1] for i in range(4)]
        np.testing.assert_allclose(wanted, np.stack(drawn) / 255, atol=1e-7)
        np.testing.assert_array_equal(given, wanted)
    features = np.arange(5.0, dtype=np.float16)[:, None]
    numbers = np.arange(5)
    pairs = training.dataset(pictures, numbers, batch_size=5, seed=3, augment=False, features=features)
    given, wanted = next(iter(pairs))
    for index, picture in zip(given[:, 0].numpy().astype(int), wanted, strict=True):
        np.testing.assert_allclose(picture, pictures.center(index) / 255, atol=1e-7)


class Losses(keras.callbacks.Callback):
    """Keeps the loss of every step and epoch."""

    def __init__(self, stop=None, after=None):
        super().__init__()
        self.steps, self.epochs, self.stop, self.after = [], [], stop, after

    def on_train_batch_end(self, batch, logs=None):
        self.steps.append(logs["loss"])
        if len(self.steps) == self.after:
            self.stop.number = 15

    def on_epoch_end(self, epoch, logs=None):
        self.epochs.append(logs["loss"])


def test_training_lowers_the_loss_and_a_restored_one_goes_on_the_same(tmp_path):
    (tmp_path / "pictures").mkdir()
    files = picture_files(tmp_path / "pictures", 5)
    whole, kept = made(epochs=20), Losses()
    whole.fit(batches(files, 80), [kept], Interruption(), verbose=False)
    assert whole.step == 80
    assert np.mean(kept.steps[-4:]) < 0.8 * np.mean(kept.steps[:4])
    np.testing.assert_allclose(kept.epochs, np.reshape(kept.steps, (20, 4)).mean(axis=1), rtol=1e-6)

    stop = Interruption()
    part, before = made(epochs=20), Losses(stop, after=30)  # in the middle of an epoch
    part.fit(batches(files, 80), [before], stop, verbose=False)
    assert (part.step, len(before.epochs)) == (30, 7)
    path = part.checkpoint.write(str(tmp_path / "checkpoint"))
    again, after = made(epochs=20), Losses()
    again.checkpoint.read(path).assert_consumed()
    again.fit(batches(files, 80, first=30), [after], Interruption(), verbose=False)
    assert before.steps + after.steps == kept.steps
    assert before.epochs + after.epochs == kept.epochs
    for one, other in zip(again.decoder.get_weights(), whole.decoder.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_loss_that_is_not_finite_is_named(tmp_path):
    state = made(learning_rate=1e30, epochs=5)
    with pytest.raises(NonFiniteLossError, match="at step"):
        state.fit(batches(picture_files(tmp_path, 2), 20), [], Interruption(), verbose=False)


def test_a_picture_that_is_gone_is_named(tmp_path):
    files = picture_files(tmp_path, 2)
    pictures = Pictures(files, SIZE, memory=0)
    found = training.dataset(pictures, np.arange(100), batch_size=4, seed=0, augment=False)
    for path in files:
        shown = path.rename(path.with_suffix(".gone"))
        assert shown.exists()
    with pytest.raises(InputError, match="there is no picture"):
        made().fit(found, [], Interruption(), verbose=False)


def test_early_stopping_remembers_the_epochs_before():
    history = [{"val_loss": loss} for loss in (0.5, 0.3, 0.4, 0.35)]
    model = keras.Sequential([keras.layers.Dense(1)])
    stopping = training.replayed(3, "val_loss", history)
    stopping.set_model(model)
    model.stop_training = False
    stopping.on_train_begin()
    assert (stopping.wait, stopping.best, model.stop_training) == (2, 0.3, False)
    stopping.on_epoch_end(4, {"val_loss": 0.31})
    assert model.stop_training


TWO_DEVICES = """
import sys
from pathlib import Path
import tensorflow as tf
(cpu,) = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from tests import test_training as tests
for strategy in (tf.distribute.get_strategy(), tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])):
    cluster = tests.training.Cluster(strategy, tests.Share())
    state, kept = tests.made(cluster=cluster, weight_decay=0.01), tests.Losses()
    files = sorted(Path(sys.argv[1]).iterdir())
    numbers = tests.Share().numbers(0, 8, 4)
    drawn = tests.Pictures(files, tests.SIZE)
    batches = tests.training.dataset(drawn, numbers, batch_size=cluster.replica_batch(4), seed=3, augment=True)
    state.fit(batches, [kept], tests.Interruption(), verbose=False)
    print(strategy.num_replicas_in_sync, *kept.steps)
"""


def test_two_devices_have_the_losses_of_one(tmp_path):
    picture_files(tmp_path, 5)
    command = [sys.executable, "-c", TWO_DEVICES, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    one, two = (np.array(line.split(), float) for line in done.stdout.splitlines())
    assert (one[0], two[0], len(one)) == (1, 2, 9)
    np.testing.assert_allclose(two[1:], one[1:], rtol=1e-5)


def test_a_batch_that_cannot_be_shared_evenly():
    class Three:
        num_replicas_in_sync = 3

    with pytest.raises(InputError, match="multiple of the 3 devices"):
        training.Cluster(Three(), Share()).replica_batch(16)


@pytest.mark.parametrize(
    "text",
    ["{", "[]", '{"cluster": {"worker": ["a:1"]}}', json.dumps({"cluster": {"ps": ["a:1"]}, "task": {}})],
)
def test_a_cluster_that_cannot_be_read(text, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(InputError, match="TF_CONFIG is"):
        training.cluster()


def test_a_cluster_of_one_is_none(monkeypatch):
    task = {"cluster": {"worker": ["localhost:1"]}, "task": {"type": "worker", "index": 0}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(task))
    found = training.cluster()
    assert found.share == Share(0, 1)
    assert found.replica_batch(5) == 5
