"""Train a decoder: a network that maps a layer's features back to the picture, once for all pictures."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfinvert import metrics
from tfinvert.decoders import feature_cache, training
from tfinvert.decoders import model as decoders
from tfinvert.decoders.data import Pictures, Split
from tfinvert.decoders.model import Encoder
from tfinvert.errors import NonFiniteLossError
from tfinvert.images import files as images
from tfinvert.networks.conversion.convert import Conversion
from tfinvert.networks.network import Network, load
from tfinvert.optimization import precision
from tfinvert.reports import charts, sheet
from tfinvert.runs import provenance
from tfinvert.runs.checkpoints import Checkpoints, writing
from tfinvert.runs.directory import RunDirectory
from tfinvert.settings.config import DecoderConfig, flagfile
from tfinvert.system import signals as interruption

CHECKPOINT_SECONDS = 60.0
EVALUATED_AT_ONCE = 16
SHOWN = 4  # held-out pictures in each picture of the run
SHORTEST_EPOCH = 512  # pictures, where fewer are there and --epoch_pictures is 0
MEASURED_PICTURES = 256
SECONDS_PER_MEASUREMENT = 1.0


def run(config: DecoderConfig, conversion: Conversion, run_dir: RunDirectory, split: Split) -> None:
    """Trains a decoder, or goes on with its training, and leaves decoder.keras, decoder.onnx and the figures.

    Args:
      config: the settings.
      conversion: the encoder, cut to the config's layer.
      run_dir: where to write; workers other than the first only read checkpoints there.
      split: pictures to train on and to test with.

    Raises:
      InputError: a picture or the encoder cannot be used, or another worker is gone.
      DiskError: a file cannot be written.
      NonFiniteLossError: the loss became NaN or infinite; the best decoder before that is kept.
      Interrupted: a signal asked to end; a checkpoint is there.
    """
    precision.grow_gpu_memory()
    precision.let_weights_change()
    cluster = training.cluster()  # before anything else runs on a device
    with cluster.strategy.scope():
        network = load(conversion.result(), config.network_name())
    layer = network.layers[config.layers[0]]
    encoder = Encoder.of(config, layer, network.size, conversion.request)
    trained_on = Pictures(split.train, network.size)
    tested_with = Pictures(split.test, network.size).centers(corners=split.corners)
    with contextlib.ExitStack() as stack:
        if cluster.share.is_chief:
            stack.enter_context(run_dir.locked())
            info = provenance.describe(config, network, conversion.request, tested_with)
            pictures = {"trained_on": len(trained_on), "tested_with": len(tested_with), "classes": list(split.classes)}
            pictures["skipped"] = [str(path) for path, _ in trained_on.broken]
            info |= {
                "image": f"held out of {config.data}",
                "encoder": dataclasses.asdict(encoder),
                "pictures": pictures,
            }
            run_dir.create(flagfile(config), info, resume=config.resume)
            images.save(run_dir.target, _together(tested_with / np.float32(255)))
        _train(config, cluster, network, encoder, trained_on, tested_with, run_dir)


def _train(
    config: DecoderConfig,
    cluster: training.Cluster,
    network: Network,
    encoder: Encoder,
    pictures: Pictures,
    held_out: np.ndarray,
    run_dir: RunDirectory,
) -> None:
    encode = _encode(network, encoder)
    features = feature_cache.features(encoder, encode, pictures) if config.cache_features else None
    with cluster.strategy.scope():
        decoder = decoders.build(
            encoder.shape,
            encoder.size,
            upsampling=config.upsampling,
            width=config.width,
            scale=_scale(encode, pictures),
            precision=config.precision,
            seed=config.seed,
        )
    steps = max((config.epoch_pictures or max(len(pictures), SHORTEST_EPOCH)) // config.batch_size, 1)
    state = training.Training(config, cluster, decoder, encode, steps, from_features=features is not None)
    checkpoints = Checkpoints(state.checkpoint, run_dir.checkpoints)
    if config.resume:
        checkpoints.restore(checkpoints.whole(lambda step: run_dir.has(range(steps, step + 1, steps))))
        if cluster.share.is_chief:
            run_dir.rewind(state.step + 1)
    history = run_dir.read_metrics() if config.resume else []
    batches = training.dataset(
        pictures,
        cluster.share.numbers(state.step, steps * config.epochs, config.batch_size),
        batch_size=cluster.replica_batch(config.batch_size),
        seed=config.seed,
        augment=config.augment,
        features=features,
    )
    stopped: BaseException | None = None
    with contextlib.ExitStack() as stack:
        stop = stack.enter_context(interruption.held_back())
        held = _Held(decoder, encode, held_out)
        callbacks: list[keras.callbacks.Callback] = [held]
        if config.patience:
            callbacks.append(training.replayed(config.patience, "val_loss", history))
        if cluster.share.is_chief:
            stack.enter_context(run_dir)
            callbacks.append(_Keeping(state, checkpoints, encoder, run_dir, held, history))
            if config.tensorboard:
                callbacks += [_Scalars(str(run_dir.tensorboard), write_graph=False), _Shown(run_dir, held)]
        first_step, started = state.step, time.perf_counter()
        try:
            state.fit(batches, callbacks, stop, verbose=cluster.share.is_chief and sys.stderr.isatty())
        except NonFiniteLossError as error:
            stopped = error
        seconds = time.perf_counter() - started
        if cluster.share.is_chief and stopped is None:
            run_dir.flush()
            checkpoints.save(state.step)
    if cluster.share.is_chief and run_dir.decoder.exists():
        result = _result(config, run_dir, encoder, encode, pictures, held_out)
        result["seconds"] = seconds
        result["images_per_second"] = (state.step - first_step) * config.batch_size / max(seconds, 1e-9)
        if state.step > first_step and cluster.strategy.num_replicas_in_sync == 1:
            result |= _shares(config, encode, pictures, result["images_per_second"], features)
        ended = str(stopped) if stopped else (f"at step {state.step} of {steps * config.epochs}" if stop else None)
        info = {k: v for k, v in run_dir.read_info().items() if k not in ("result", "stopped")}
        info |= {**({"stopped": ended} if ended else {}), "result": result}
        sheet.write(run_dir, info)
        charts.write_curves(run_dir)
        run_dir.write_info(info)  # the last: it says that the training is finished
    if stopped:
        raise stopped
    stop.raise_if_any()


def _encode(network: Network, encoder: Encoder) -> training.Encode:
    # Once for all: a Keras model called outside a tf.function runs its layers one by one.
    return tf.function(lambda pictures: network.model(pictures, training=False)[encoder.layer])


def _scale(encode: training.Encode, pictures: Pictures) -> float:
    """Root mean square of the features of some pictures."""
    some = np.stack([pictures.center(index) for index in range(min(len(pictures), EVALUATED_AT_ONCE))])
    value = float(tf.sqrt(tf.reduce_mean(tf.square(encode(tf.constant(some / np.float32(255)))))))
    return value if value > 0 and np.isfinite(value) else 1.0


def _decoding(decoder: keras.Model, encode: training.Encode) -> training.Encode:
    return tf.function(lambda pictures: decoder(encode(pictures), training=False), reduce_retracing=True)


def _decoded(decode: training.Encode, pictures: np.ndarray) -> np.ndarray:
    """What is decoded of pictures, uint8 in, float32 in [0, 1] out."""
    parts = np.array_split(pictures, -(-len(pictures) // EVALUATED_AT_ONCE))
    return np.concatenate([np.clip(decode(tf.constant(part / np.float32(255))), 0, 1) for part in parts])


def _mean_psnr(found: np.ndarray, pictures: np.ndarray) -> float:
    """Mean over the pictures of the PSNR in dB; `found` in [0, 1], `pictures` uint8."""
    pairs = zip(found, pictures / np.float32(255), strict=True)
    return float(np.mean([min(metrics.psnr(one, other), 200.0) for one, other in pairs]))


def _together(pictures: np.ndarray) -> np.ndarray:
    """Some of the pictures, from the first to the last, two in a row; those that make no whole row are left out."""
    shown = [pictures[place] for place in np.unique(np.linspace(0, len(pictures) - 1, SHOWN).round().astype(int))]
    rows = [np.concatenate(shown[i : i + 2], axis=1) for i in range(0, len(shown) - 1, 2)]
    return np.concatenate(rows, axis=0) if rows else shown[0]


class _Held(keras.callbacks.Callback):
    """Puts the quality on held-out pictures into the logs that later callbacks see: val_loss, psnr.

    Attributes:
      shown: some of them as they were decoded last, [height, width, 3].
    """

    def __init__(self, decoder: keras.Model, encode: training.Encode, held_out: np.ndarray):
        super().__init__()
        self._decode, self._pictures = _decoding(decoder, encode), held_out
        self.shown = _together(held_out)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        assert logs is not None
        found = _decoded(self._decode, self._pictures)
        logs["val_loss"] = float(np.mean(np.square(2 * (found - self._pictures / np.float32(255)))))
        logs["psnr"] = _mean_psnr(found, self._pictures)
        self.shown = _together(found)


class _Keeping(keras.callbacks.Callback):
    """Writes the line of metrics, the picture, the checkpoint, and the best decoder so far."""

    def __init__(
        self,
        state: training.Training,
        checkpoints: Checkpoints,
        encoder: Encoder,
        run_dir: RunDirectory,
        held: _Held,
        history: list[dict[str, Any]],
    ):
        super().__init__()
        self._state, self._checkpoints, self._encoder = state, checkpoints, encoder
        self._run_dir, self._held = run_dir, held
        self._best = min((line["val_loss"] for line in history), default=float("inf"))
        self._saved = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        if time.perf_counter() - self._saved > CHECKPOINT_SECONDS:
            self._save()

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        assert logs is not None
        step = self._state.step
        self._run_dir.save_picture(self._run_dir.picture_path(step), self._held.shown)
        figures = {name: logs[name] for name in ("loss", "val_loss", "psnr")}
        # The best decoder before its line, and the line before the checkpoint: whatever is lost with a kill is made again.
        if figures["val_loss"] < self._best:
            self._best = figures["val_loss"]
            with writing(self._run_dir.decoder):
                decoders.save(self._state.decoder, self._encoder, self._run_dir.decoder)
        self._run_dir.append_metrics({"step": step, **figures, "learning_rate": self._state.learning_rate()})
        self._save()

    def _save(self) -> None:
        self._run_dir.flush()  # what a resumed training does not make again
        self._checkpoints.save(self._state.step)
        self._saved = time.perf_counter()


class _Scalars(keras.callbacks.TensorBoard):
    """Keras' own, which says what the disk says."""

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        with writing(Path(self.log_dir)):
            super().on_epoch_end(epoch, logs)

    def on_train_end(self, logs: dict | None = None) -> None:
        with writing(Path(self.log_dir)):
            super().on_train_end(logs)


class _Shown(keras.callbacks.Callback):
    """Held-out pictures and what is decoded of them, for TensorBoard."""

    def __init__(self, run_dir: RunDirectory, held: _Held):
        super().__init__()
        self._held, self._folder = held, run_dir.tensorboard / "pictures"
        with writing(self._folder):
            self._writer = tf.summary.create_file_writer(str(self._folder))
        self._write("held out", 0)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        self._write("decoded", epoch)

    def on_train_end(self, logs: dict | None = None) -> None:
        with writing(self._folder):
            self._writer.close()

    def _write(self, name: str, step: int) -> None:
        with writing(self._folder), self._writer.as_default(step=step):
            tf.summary.image(name, self._held.shown[None])


def _result(
    config: DecoderConfig,
    run_dir: RunDirectory,
    encoder: Encoder,
    encode: training.Encode,
    pictures: Pictures,
    held_out: np.ndarray,
) -> dict[str, Any]:
    """The figures of the best decoder on the held-out pictures; writes its picture and its ONNX."""
    decoder = decoders.load_model(run_dir.decoder)
    found = _decoded(_decoding(decoder, encode), held_out)
    images.save(run_dir.final, _together(found))
    some = [pictures.drawn(number, config.seed, augment=config.augment)[1] for number in range(MEASURED_PICTURES)]
    mean = np.mean(np.stack(some), axis=0, dtype=np.float32) / np.float32(255)
    errors, similarities = [], []
    for one, other in zip(found, held_out / np.float32(255), strict=True):
        wanted = encode(tf.constant(other[None])).numpy()
        errors.append(metrics.normalized_feature_error(encode(tf.constant(one[None])).numpy(), wanted))
        similarities.append(metrics.ssim(one, other))
    psnr = _mean_psnr(found, held_out)
    of_mean = _mean_psnr(np.broadcast_to(mean, found.shape), held_out)
    return {
        "psnr": psnr,
        "ssim": float(
            np.mean([metrics.ssim(one, other / np.float32(255)) for one, other in zip(found, held_out, strict=True)])
        ),
        "normalized_feature_error": float(np.mean(errors)),
        "psnr_mean_picture": of_mean,
        "psnr_gain": psnr - of_mean,
        "parameters": decoder.count_params(),
        "onnx_difference": decoders.export(decoder, encoder, run_dir.decoder_onnx),
        "peak_memory_mb": provenance.peak_memory_mb(),
    }


def _shares(
    config: DecoderConfig, encode: training.Encode, pictures: Pictures, rate: float, features: np.ndarray | None
) -> dict[str, float]:
    """Images per second of the input pipeline alone and of the encoder alone, and the encoder's share of a step."""
    size = config.batch_size
    numbers = np.arange(10**4 * size)
    batches = training.dataset(pictures, numbers, batch_size=size, seed=config.seed, augment=config.augment, features=features)
    source = iter(batches)
    _, batch = next(source)
    encoding = _rate(lambda: encode(batch).numpy()) * size
    return {
        "pipeline_images_per_second": _rate(lambda: next(source)) * size,
        "encoder_images_per_second": encoding,
        "encoder_share": 0.0 if features is not None else rate / encoding,
    }


def _rate(action: Callable[[], Any]) -> float:
    """How often a second, over one second or the first 1000 times."""
    action()
    count, started = 0, time.perf_counter()
    while count < 1000 and time.perf_counter() - started < SECONDS_PER_MEASUREMENT:
        action()
        count += 1
    return count / (time.perf_counter() - started)
