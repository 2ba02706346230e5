"""What a network takes for a class, or what a channel or a neuron answers to: pictures that make it as large as can be."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfinvert.errors import InputError
from tfinvert.images import files as images
from tfinvert.images import parameterizations, transforms
from tfinvert.networks.classifier import Classifier, flat
from tfinvert.networks.conversion.convert import Conversion
from tfinvert.networks.names import SCORES
from tfinvert.networks.network import Network, load
from tfinvert.objectives import attacks as adversarial
from tfinvert.objectives import terms
from tfinvert.optimization import precision
from tfinvert.optimization.step import Optimization
from tfinvert.reports import sheet
from tfinvert.runs import provenance
from tfinvert.runs.directory import RunDirectory
from tfinvert.runs.recording import drive
from tfinvert.settings.config import ClassVisConfig, flagfile


def run(config: ClassVisConfig, conversion: Conversion, run_dir: RunDirectory | None = None) -> dict[str, Any]:
    """Makes a picture for each class, or each channel, of the config, all in one batch.

    Args:
      config: its settings.
      conversion: the network with the layers that `config.needed_layers` names.
      run_dir: where to write; None to write nothing.

    Returns:
      `image`: float32 [targets, height, width, 3] in [0, 1]; `targets`: for each what it is and how large it became; and the
      other figures of run.json.

    Raises:
      InputError: a class, a layer or the network cannot be used.
      NonFiniteLossError: the loss became NaN or infinite.
    """
    precision.grow_gpu_memory()
    network = load(conversion.result(), config.network_name())
    (layer,) = config.needed_layers()
    indices, labels = _targets(config, network)
    term = score_term(layer, indices, config.neuron)
    started = time.perf_counter()
    with contextlib.ExitStack() as stack:
        if run_dir is not None:
            stack.enter_context(run_dir.locked())
            described = provenance.describe(config, network, conversion.request, np.zeros((1, *network.size, 3), np.float32))
            info = {name: value for name, value in described.items() if not name.startswith("image")}
            # The course's recipe takes seconds, and starts again.
            run_dir.create(flagfile(config), info, resume=config.resume and config.recipe == "fourier")
        if config.recipe == "course":
            image = _course(config, network, term, len(indices), run_dir)
        else:
            image = _fourier(config, network, term, len(indices), run_dir)
        image = adversarial.as_written(image)
        features = network.model(tf.constant(image), training=False)
        reached = -term.value(tf.constant(image), features).numpy()
        found: list[dict[str, Any]] = [
            {"target": label, "index": index, "score": float(score)}
            for label, index, score in zip(labels, indices, reached, strict=True)
        ]
        if not config.layers:
            probabilities = tf.nn.softmax(flat(features[SCORES])).numpy()
            for row, one in enumerate(found):
                one["probability"] = float(probabilities[row, one["index"]])
        figures: dict[str, Any] = {
            "targets": found,
            "seconds": time.perf_counter() - started,
            "peak_memory_mb": provenance.peak_memory_mb(),
        }
        if run_dir is not None:
            _finish(config, run_dir, network, image, figures)
    return {**figures, "image": image, "weights": network.weights_origin}


def score_term(layer: str, indices: list[int], neuron: bool = False) -> terms.Term:
    """The term that makes each picture's own class score, or its own channel, large; it is minus that.

    Args:
      layer: `scores`, or a layer [batch, classes] or [batch, h, w, channels], whose channel is averaged over its positions.
      indices: the class or channel of each picture.
      neuron: the channel in the middle of the picture alone.
    """

    def value(image: tf.Tensor, features: Mapping[str, tf.Tensor]) -> tf.Tensor:
        found = features[layer]
        if neuron:
            height, width = found.shape[1:3]
            found = found[:, height // 2, width // 2]
        return -tf.gather(flat(found), tf.constant(indices), axis=1, batch_dims=1)

    return terms.Term("score", 1.0, value, (layer,))


def course_step(image: tf.Tensor, gradient: tf.Tensor, length: float, weight: float) -> tf.Tensor:
    """A step of normalized ascent along d (score - weight ||X||^2) / dX, then back to what a picture can be.

    CS231n, assignment 3: X <- X + length g / ||g||_2 in units of ImageNet's deviation from its mean, each picture by itself,
    then clamped to black and white.

    Args:
      image: [batch, H, W, 3] in [0, 1].
      gradient: of the score, to the image.
      length, weight: as above.
    """
    deviation = np.asarray(images.COLOR_DEVIATION, np.float32)
    along = gradient * deviation - 2 * weight * images.normalized(image)
    norm = tf.sqrt(tf.reduce_sum(tf.square(along), axis=[1, 2, 3], keepdims=True))
    return tf.clip_by_value(image + length * along / tf.maximum(norm, 1e-30) * deviation, 0.0, 1.0)


def _course(config: ClassVisConfig, network: Network, term: terms.Term, count: int, run_dir: RunDirectory | None) -> np.ndarray:
    """Normalized ascent from noise with jitter that is undone, and a blur every few steps."""
    noise = np.random.default_rng(config.seed).standard_normal((count, *network.size, 3))
    image = np.clip(noise * images.COLOR_DEVIATION + images.MEAN_COLOR, 0, 1).astype(np.float32)

    @tf.function
    def update(image: tf.Tensor, step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(image)
            seen = transforms.jitter(image, config.jitter, config.seed, step)
            losses = term.value(image, network.model(seen, training=False))
        return course_step(image, -tape.gradient(losses, image), config.rate(), config.l2_weight), losses

    for step in range(config.steps):
        moved, losses = update(tf.constant(image), tf.constant(step, tf.int64))
        if run_dir is not None and step % config.save_every == 0:
            _log(run_dir, step, losses.numpy(), config.rate())
        image = moved.numpy()
        if config.blur_every and step % config.blur_every == 0:
            image = images.blurred(image, config.blur_deviation)
    return image


def _fourier(
    config: ClassVisConfig, network: Network, term: terms.Term, count: int, run_dir: RunDirectory | None
) -> np.ndarray:
    """Adam on a decorrelated spectrum, the network looking through random transforms."""
    start = [parameterizations.initial_image("grey", network.size, config.seed + number) for number in range(count)]
    optimization = Optimization(
        network.model,
        [term],
        parameterizations.fourier(network.size),
        np.concatenate(start),
        keras.optimizers.Adam(config.rate(), epsilon=1e-8),
        transforms.robust(config.jitter, config.seed),
    )
    drive(optimization, config.steps, config.save_every, run_dir, resume=config.resume, label="class_vis").raise_if_any()
    return optimization.image()


def _targets(config: ClassVisConfig, network: Network) -> tuple[list[int], list[str]]:
    """The classes or channels, and what they are called."""
    if not config.layers:
        classifier = Classifier(network)
        indices = classifier.indices(config.classes)
        return indices, [classifier.name(index) for index in indices]
    (layer,) = config.layers
    shape = network.layers[layer].shape
    for channel in config.channels:
        if channel >= shape[-1]:
            raise InputError(f"--channels={channel} is beyond --layers={layer}; expected 0 to {shape[-1] - 1}")
    if config.neuron and len(shape) != 3:
        raise InputError(f"--layers={layer} has no place in the picture; --neuron expects features [height, width, channels]")
    what = "neuron" if config.neuron else "channel"
    return list(config.channels), [f"{layer}, {what} {channel}" for channel in config.channels]


def _log(run_dir: RunDirectory, step: int, losses: np.ndarray, rate: float) -> None:
    run_dir.append_metrics({"step": step, "loss": float(losses.sum()), "learning_rate": rate, "score": float(losses.sum())})


def _finish(
    config: ClassVisConfig, run_dir: RunDirectory, network: Network, image: np.ndarray, figures: dict[str, Any]
) -> None:
    cells = []
    for row, found in enumerate(figures["targets"]):
        path = run_dir.images / f"class-{row:02d}.png"
        images.save(path, image[row])
        reached = f"probability {found['probability']:.4f}" if "probability" in found else f"{found['score']:.3g}"
        cells.append((path, f"{found['target']}: {reached}"))
    header = [f"{network.name}: what it takes for each, {config.recipe}, {config.steps} steps"]
    header.append(f"weights: {network.weights_origin}")
    sheet.write_side_by_side(run_dir.sheet, header, cells, min(len(cells), 3 if len(cells) in (3, 5, 6, 9) else 4))
    run_dir.write_info({**run_dir.read_info(), "result": figures})  # the last: it says that the run is finished
