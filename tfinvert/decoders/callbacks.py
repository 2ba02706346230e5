"""What happens beside the training of a decoder: Keras callbacks that measure, keep and show."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfinvert.decoders.encoder import Encoder
from tfinvert.decoders.evaluation import build_decode, decode_images, mean_psnr, mean_squared_difference, tile_images
from tfinvert.decoders.files import save_decoder
from tfinvert.decoders.training import Encode, Training
from tfinvert.runs.checkpoints import Checkpoints, writing
from tfinvert.runs.directory import RunDirectory

CHECKPOINT_SECONDS = 60.0


class Evaluate(keras.callbacks.Callback):
    """Measures the quality on held-out images and adds it to the logs that later callbacks see: val_loss and psnr.

    Args:
      decoder: the decoder.
      encode: images -> features.
      held_out: uint8 [n, height, width, 3].

    Attributes:
      shown: some of the held-out images, then as they were decoded last, [height, width, 3].
    """

    def __init__(self, decoder: keras.Model, encode: Encode, held_out: np.ndarray):
        super().__init__()
        self._decode, self._images = build_decode(decoder, encode), held_out
        self.shown = tile_images(held_out)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        assert logs is not None
        decoded = decode_images(self._decode, self._images)
        logs["val_loss"] = mean_squared_difference(decoded, self._images)
        logs["psnr"] = mean_psnr(decoded, self._images)
        self.shown = tile_images(decoded)


class Record(keras.callbacks.Callback):
    """Writes the line of metrics, the image, the checkpoint, and the best decoder so far. It comes after `Evaluate`.

    Args:
      training: the training.
      checkpoints: where its state is kept.
      encoder: the record that goes into the decoder's file.
      run_dir: where everything else is written.
      evaluation: gives the image.
      history: the lines of the epochs before, of a training that is resumed.
    """

    def __init__(
        self,
        training: Training,
        checkpoints: Checkpoints,
        encoder: Encoder,
        run_dir: RunDirectory,
        evaluation: Evaluate,
        history: Sequence[dict[str, Any]],
    ):
        super().__init__()
        self._training, self._checkpoints, self._encoder = training, checkpoints, encoder
        self._run_dir, self._evaluation = run_dir, evaluation
        self._best = min((line["val_loss"] for line in history), default=float("inf"))
        self._saved = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        if time.perf_counter() - self._saved > CHECKPOINT_SECONDS:
            self._save()

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        assert logs is not None
        step = self._training.step
        self._run_dir.save_image(self._run_dir.image_path(step), self._evaluation.shown)
        figures = {name: logs[name] for name in ("loss", "val_loss", "psnr")}
        # The best decoder before its line, and the line before the checkpoint: what a kill loses is made again.
        if figures["val_loss"] < self._best:
            self._best = figures["val_loss"]
            with writing(self._run_dir.decoder):
                save_decoder(self._training.decoder, self._encoder, self._run_dir.decoder)
        self._run_dir.append_metrics({"step": step, **figures, "learning_rate": self._training.learning_rate()})
        self._save()

    def _save(self) -> None:
        self._run_dir.flush()  # a resumed training does not make these images again
        self._checkpoints.save(self._training.step)
        self._saved = time.perf_counter()


class ResumedEarlyStopping(keras.callbacks.EarlyStopping):
    """Keras' EarlyStopping, which in a training that is resumed has seen the epochs before.

    Args:
      patience, monitor: as of Keras' EarlyStopping.
      history: the logs of the epochs before.
    """

    def __init__(self, patience: int, monitor: str, history: Sequence[dict[str, Any]]):
        super().__init__(monitor=monitor, patience=patience)
        self._history = history

    def on_train_begin(self, logs: dict | None = None) -> None:
        super().on_train_begin(logs)
        for epoch, line in enumerate(self._history):
            self.on_epoch_end(epoch, line)


class WriteScalars(keras.callbacks.TensorBoard):
    """Keras' TensorBoard, with errors of the disk as OSError."""

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        with writing(Path(self.log_dir)):
            super().on_epoch_end(epoch, logs)

    def on_train_end(self, logs: dict | None = None) -> None:
        with writing(Path(self.log_dir)):
            super().on_train_end(logs)


class WriteImages(keras.callbacks.Callback):
    """Writes held-out images, and what is decoded from their features, for TensorBoard.

    Args:
      folder: where to write.
      evaluation: gives the images.
    """

    def __init__(self, folder: Path, evaluation: Evaluate):
        super().__init__()
        self._folder, self._evaluation = folder, evaluation
        with writing(folder):
            self._writer = tf.summary.create_file_writer(str(folder))
        self._write("held out", 0)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        self._write("decoded", epoch)

    def on_train_end(self, logs: dict | None = None) -> None:
        with writing(self._folder):
            self._writer.close()

    def _write(self, name: str, step: int) -> None:
        with writing(self._folder), self._writer.as_default(step=step):
            tf.summary.image(name, self._evaluation.shown[None])
