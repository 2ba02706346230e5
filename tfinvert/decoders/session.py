"""A training in its run directory: resumed from checkpoints, recorded, and ended by signals without loss."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
import time
from typing import Any

import keras
import numpy as np

from tfinvert.decoders import evaluation
from tfinvert.decoders.batches import TrainingData
from tfinvert.decoders.callbacks import Evaluate, Record, ResumedEarlyStopping, WriteImages, WriteScalars
from tfinvert.decoders.encoder import Encoder
from tfinvert.decoders.export import export_onnx
from tfinvert.decoders.files import load_keras_model
from tfinvert.decoders.training import Training
from tfinvert.images import files as images
from tfinvert.runs import provenance
from tfinvert.runs.checkpoints import Checkpoints
from tfinvert.runs.directory import RunDirectory
from tfinvert.system import signals
from tfinvert.system.errors import NonFiniteLossError


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a training ended.

    Attributes:
      steps, seconds: since it was started or resumed.
      interruption: the signal that ended it, if one did.
      error: the loss that ended it, if it was not finite.
      stopped: why it ended before its last step, in words; empty where it did not.
    """

    steps: int
    seconds: float
    interruption: signals.Interruption
    error: NonFiniteLossError | None = None
    stopped: str = ""

    def raise_if_any(self) -> None:
        """Raises NonFiniteLossError or Interrupted if one of them ended the training."""
        if self.error is not None:
            raise self.error
        self.interruption.raise_if_any()


def fit_and_record(
    training: Training,
    data: TrainingData,
    encoder: Encoder,
    held_out: np.ndarray,
    run_dir: RunDirectory,
    *,
    resume: bool,
    patience: int,
    tensorboard: bool,
) -> Outcome:
    """Trains to the last epoch and writes lines, images, checkpoints and the best decoder; the first worker writes.

    Args:
      training: the training at its first step.
      data: the images to train on.
      encoder: the record that goes into the decoder's file.
      held_out: images that are not trained on, uint8 [n, height, width, 3].
      run_dir: where everything goes; the first worker has locked and created it.
      resume: whether to go on from the newest checkpoint.
      patience: epochs without progress on the held-out images after which the training ends; 0 for all epochs.
      tensorboard: whether to write scalars and images for TensorBoard.

    Raises:
      InputError: another worker is gone, an image cannot be read any more, or the checkpoints are of another run.
      DiskError: a file cannot be written.
    """
    recipe, share = training.recipe, training.cluster.share
    checkpoints = Checkpoints(training.checkpoint, run_dir.checkpoints)
    if resume:
        epoch = recipe.steps_per_epoch
        checkpoints.restore(checkpoints.whole(lambda step: run_dir.has(range(epoch, step + 1, epoch))))
        if share.is_chief:
            run_dir.rewind(training.step + 1)
    history = run_dir.read_metrics() if resume else []
    first_step = training.step
    numbers = share.draw_numbers(first_step, recipe.steps, recipe.batch_size)
    batches = data.build_batches(numbers, training.cluster.replica_batch(recipe.batch_size))
    error = None
    with contextlib.ExitStack() as stack:
        interruption = stack.enter_context(signals.held_back())
        evaluate = Evaluate(training.decoder, training.encode, held_out)
        callbacks: list[keras.callbacks.Callback] = [evaluate]
        if patience:
            callbacks.append(ResumedEarlyStopping(patience, "val_loss", history))
        if share.is_chief:
            stack.enter_context(run_dir)
            callbacks.append(Record(training, checkpoints, encoder, run_dir, evaluate, history))
            if tensorboard:
                callbacks.append(WriteScalars(str(run_dir.tensorboard), write_graph=False))
                callbacks.append(WriteImages(run_dir.tensorboard / "images", evaluate))
        started = time.perf_counter()
        try:
            on_terminal = sys.stderr is not None and sys.stderr.isatty()
            training.fit(batches, callbacks, interruption, verbose=share.is_chief and on_terminal)
        except NonFiniteLossError as caught:
            error = caught
        seconds = time.perf_counter() - started
        if share.is_chief and error is None:
            run_dir.flush()
            checkpoints.save(training.step)
    stopped = f"at step {training.step} of {recipe.steps}" if interruption else ""
    return Outcome(training.step - first_step, seconds, interruption, error, str(error) if error else stopped)


def measure_best(
    training: Training,
    data: TrainingData,
    encoder: Encoder,
    held_out: np.ndarray,
    run_dir: RunDirectory,
    outcome: Outcome,
) -> dict[str, Any]:
    """The figures of the best decoder of a training; writes what it makes of the held-out images, and its ONNX.

    Args:
      training, data, encoder, held_out, run_dir: as of `fit_and_record`.
      outcome: how the training ended.

    Returns:
      Those of `evaluation.measure_quality` and, on one device, of `evaluation.measure_speeds`; parameters;
      onnx_difference; peak_memory_mb; seconds; images_per_second.

    Raises:
      InputError: the decoder's file cannot be read, or its ONNX differs from it.
      OSError: a file cannot be written.
    """
    best = load_keras_model(run_dir.decoder)
    decoded = evaluation.decode_images(evaluation.build_decode(best, training.encode), held_out)
    images.save(run_dir.final, evaluation.tile_images(decoded))
    images_per_second = outcome.steps * training.recipe.batch_size / max(outcome.seconds, 1e-9)
    figures: dict[str, Any] = {
        **evaluation.measure_quality(decoded, held_out, training.encode, data.mean_image()),
        "parameters": best.count_params(),
        "onnx_difference": export_onnx(best, encoder, run_dir.decoder_onnx),
        "peak_memory_mb": provenance.peak_memory_mb(),
        "seconds": outcome.seconds,
        "images_per_second": images_per_second,
    }
    if outcome.steps and training.cluster.strategy.num_replicas_in_sync == 1:
        figures |= evaluation.measure_speeds(training.encode, data, training.recipe.batch_size, images_per_second)
    return figures
