"""Paint a picture like another: style transfer, and with weights of 0 texture synthesis and feature inversion."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfinvert.images import files as images
from tfinvert.images import parameterizations
from tfinvert.networks.conversion.convert import Request
from tfinvert.networks.network import Network
from tfinvert.networks.scales import Scale
from tfinvert.objectives import terms
from tfinvert.optimization import precision
from tfinvert.optimization.optimizers import Lbfgs
from tfinvert.optimization.step import Optimization
from tfinvert.reports import charts, sheet
from tfinvert.runs import provenance
from tfinvert.runs.directory import RunDirectory
from tfinvert.runs.recording import drive
from tfinvert.settings.config import StyleConfig, flagfile


def run(config: StyleConfig, prepared: list[Scale], run_dir: RunDirectory | None = None) -> dict[str, Any]:
    """Paints the content like the style, from coarse to fine.

    Args:
      config: its settings.
      prepared: what `networks.scales.scales` gave.
      run_dir: where to write; None to write nothing.

    Returns:
      `image`: float32 [height, width, 3] in [0, 1]; `history`: the lines of metrics.jsonl; and the figures
      of run.json.

    Raises:
      InputError: a picture, a layer or the network cannot be used.
      NonFiniteLossError: the loss became NaN or infinite.
      Interrupted: a signal asked to end; a checkpoint is there.
    """
    precision.grow_gpu_memory()
    lines: list[dict[str, Any]] = []
    seconds, steps = 0.0, 0
    image: np.ndarray | None = None
    with contextlib.ExitStack() as stack:
        for number, scale in enumerate(prepared):
            network = scale.network(scale.size)
            content, styles = _pictures(config, scale)
            if run_dir is not None and number == 0:
                stack.enter_context(run_dir.locked())
                _begin(config, network, scale.request, prepared[-1], run_dir)
            start = _start(config, scale, content, image)
            optimization = Optimization(
                network.model,
                summands(config, _targets(config, scale, network, content, styles)),
                parameterizations.normalized(),
                start,
                _optimizer(config),
            )
            outcome = drive(
                optimization,
                config.steps,
                config.save_every,
                run_dir,
                part=f"scale-{number}",
                before=number * (config.steps + 1),
                resume=config.resume,
                extra=lambda snapshot, number=number: {"scale": number} if len(prepared) > 1 else {},  # type: ignore[misc]
                label=f"{scale.size[0]}x{scale.size[1]}",
            )
            outcome.raise_if_any()
            lines += outcome.lines
            seconds, steps = seconds + outcome.seconds, steps + outcome.steps
            image = optimization.image()  # as the course does; the last, small steps leave it near the best
    assert image is not None
    if config.keep_color:
        image = images.with_color_of(image, images.load(config.image, prepared[-1].size))
    image = np.clip(image[0], 0, 1)
    history = run_dir.read_metrics() if run_dir is not None else lines
    last = [line for line in history if line.get("scale", 0) == len(prepared) - 1]
    figures = {
        "loss_at_start": last[0]["loss"],
        "loss": min(line["loss"] for line in last),
        "loss_ratio": min(line["loss"] for line in last) / last[0]["loss"],
        "seconds": seconds,
        "steps_per_second": steps / max(seconds, 1e-9),
        "peak_memory_mb": provenance.peak_memory_mb(),
    }
    if run_dir is not None:
        _finish(config, run_dir, network, image, figures)
    return {**figures, "image": image, "history": history, "weights": network.weights_origin}


def summands(config: StyleConfig, targets: Mapping[str, Any]) -> list[terms.Term]:
    """The terms of CS231n's loss, those with a weight: `content`, `style`, `tv`.

    Args:
      config: the weights and layers.
      targets: "content" -> features [1, h, w, channels]; "style" -> for each style picture its Gram matrices by layer.
    """
    found = []
    (content_layer,) = config.layers
    if config.content_weight:
        found.append(
            terms.Term(
                "content",
                config.content_weight,
                lambda image, features: terms.content_loss(features[content_layer], targets["content"]),
                (content_layer,),
            )
        )
    if any(config.style_weights):

        def style(image: tf.Tensor, features: Mapping[str, tf.Tensor]) -> tf.Tensor:
            own = [features[layer] for layer in config.style_layers]
            losses = [share * terms.style_loss(own, grams, config.style_weights) for share, grams in targets["style"]]
            return tf.add_n(losses)

        found.append(terms.Term("style", 1.0, style, config.style_layers))
    if config.tv_weight:
        # Of the picture as the network gets it, so in units of ImageNet's deviation.
        found.append(
            terms.Term("tv", config.tv_weight, lambda image, features: terms.total_variation(images.normalized(image), "l2"))
        )
    return found


def _pictures(config: StyleConfig, scale: Scale) -> tuple[np.ndarray, list[np.ndarray]]:
    """The content and the style pictures at a scale; their luminance alone where the color is kept."""
    content = images.load(config.image, scale.size)
    styles = [images.load(source, size) for source, size in zip(config.style_images, scale.style_sizes, strict=True)]
    if config.keep_color:
        content = images.luminance(content)
        styles = [images.with_statistics_of(images.luminance(style), content) for style in styles]
    return content, styles


def _targets(
    config: StyleConfig, scale: Scale, network: Network, content: np.ndarray, styles: list[np.ndarray]
) -> dict[str, Any]:
    (content_layer,) = config.layers
    targets: dict[str, Any] = {"content": network.model(tf.constant(content), training=False)[content_layer], "style": []}
    for share, style, size in zip(config.shares(), styles, scale.style_sizes, strict=True):
        features = scale.network(size).model(tf.constant(style), training=False)
        targets["style"].append((share, [terms.gram_matrix(features[layer]) for layer in config.style_layers]))
    return targets


def _start(config: StyleConfig, scale: Scale, content: np.ndarray, coarser: np.ndarray | None) -> np.ndarray:
    if coarser is not None:
        return tf.image.resize(coarser, scale.size, "bicubic").numpy()
    if config.init == "content":
        return content
    if config.init == "uniform":  # the course's: from 0 to 1 in units of the deviation
        uniform = np.random.default_rng(config.seed).uniform(0, 1, content.shape)
        return (uniform * images.COLOR_DEVIATION + images.MEAN_COLOR).astype(np.float32)
    return parameterizations.initial_image(config.init, scale.size, config.seed)


def _optimizer(config: StyleConfig) -> keras.optimizers.Optimizer | Lbfgs:
    if config.optimizer == "lbfgs":
        return Lbfgs()
    if not config.decay_boundaries:
        return keras.optimizers.Adam(config.learning_rate, epsilon=config.epsilon)
    boundaries = [boundary - 1 for boundary in config.decay_boundaries]  # Keras' are inclusive
    rates = [config.learning_rate, *(config.learning_rate * factor for factor in config.decay_factors)]
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay(boundaries, rates)
    return keras.optimizers.Adam(schedule, epsilon=config.epsilon)


def _begin(config: StyleConfig, network: Network, request: Request, finest: Scale, run_dir: RunDirectory) -> None:
    content = images.load(config.image, finest.size)
    styles = [images.load(source, size) for source, size in zip(config.style_images, finest.style_sizes, strict=True)]
    info = provenance.describe(config, network, request, content)
    info["style_images"] = {
        source: hashlib.sha256(style.tobytes()).hexdigest() for source, style in zip(config.style_images, styles, strict=True)
    }
    run_dir.create(flagfile(config), info, resume=config.resume)
    images.save(run_dir.target, content)
    for number, style in enumerate(styles):
        images.save(run_dir.images / f"style-{number}.png", style)


def _finish(config: StyleConfig, run_dir: RunDirectory, network: Network, image: np.ndarray, figures: dict[str, float]) -> None:
    images.save(run_dir.final, image)
    info = run_dir.read_info()
    cells = [(run_dir.target, "content")]
    cells += [(run_dir.images / f"style-{number}.png", "style") for number in range(len(config.style_images))]
    cells += [(path, f"step {step}") for step, path in sheet.spread(list(run_dir.pictures().items()), 4)]
    cells.append((run_dir.final, f"result, loss {figures['loss_ratio']:.3f} of its start"))
    header = [f"{network.name}: {', '.join(dict.fromkeys((*config.layers, *config.style_layers)))}"]
    header.append(f"weights: {network.weights_origin}")
    sheet.write_side_by_side(run_dir.sheet, header, cells, 4)
    charts.write_curves(run_dir)
    run_dir.write_info({**info, "result": figures})  # the last: it says that the run is finished
