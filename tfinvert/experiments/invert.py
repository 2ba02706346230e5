"""Invert a picture: find an image with the same features, starting from noise."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfinvert import metrics
from tfinvert.errors import InputError
from tfinvert.images import files as images
from tfinvert.images import parameterizations
from tfinvert.networks.conversion.convert import Conversion
from tfinvert.networks.network import Network, load
from tfinvert.optimization import precision, presets
from tfinvert.optimization.step import Optimization, Snapshot, run_optimization
from tfinvert.reports import charts, sheet
from tfinvert.runs import provenance
from tfinvert.runs.checkpoints import writing
from tfinvert.runs.directory import RunDirectory
from tfinvert.runs.recording import Driven, Outcome, drive_together
from tfinvert.settings.config import Config, flagfile
from tfinvert.system.signals import Interrupted


@dataclasses.dataclass(frozen=True)
class Result:
    """What an inversion found.

    Attributes:
      image: float32 [height, width, 3], RGB in [0, 1]: the image of the lowest loss.
      target: the picture that was inverted, likewise.
      psnr: dB, between the two.
      ssim: between the two.
      normalized_feature_error: ||phi(x) - phi0||^2 / ||phi0||^2, mean over the layers.
      mv2016_error: its root for each layer, the mean of them: the error of Mahendran & Vedaldi 2016.
      mv2015_error: that of their 2015 paper, with the quadrants of the sample photographs for its 100 pictures; likewise.
      seconds: of the optimization, since the last start; of pictures that were inverted together, the share of one.
      steps_per_second: in that time.
      peak_memory_mb: of this process, or of the converting one if that needed more.
      history: the lines of metrics.jsonl.
      weights: where the network's weights came from.
      starts: with several `seeds`, their psnr, ssim and normalized_feature_error, in order.
      settings: what the preset chose for the depth of the layers.
    """

    image: np.ndarray
    target: np.ndarray
    psnr: float
    ssim: float
    normalized_feature_error: float
    mv2016_error: float
    mv2015_error: float
    seconds: float
    steps_per_second: float
    peak_memory_mb: float
    history: tuple[dict[str, Any], ...]
    weights: str
    starts: tuple[dict[str, float], ...]
    settings: dict[str, Any]

    def figures(self) -> dict[str, Any]:
        """The numbers, as run.json ends with them."""
        names = (
            *("psnr", "ssim", "normalized_feature_error", "mv2016_error", "mv2015_error"),
            *("seconds", "steps_per_second", "peak_memory_mb"),
        )
        figures = {name: getattr(self, name) for name in names}
        return figures if len(self.starts) == 1 else {**figures, "starts": list(self.starts)}


@dataclasses.dataclass(frozen=True)
class Job:
    """One picture to invert.

    Attributes:
      config: its settings.
      run_dir: where to write; None to write nothing.
      target: the picture, [1, height, width, 3] in [0, 1]; None to read `config.image`.
    """

    config: Config
    run_dir: RunDirectory | None = None
    target: np.ndarray | None = None


def run(
    config: Config, conversion: Conversion, run_dir: RunDirectory | None = None, target: np.ndarray | None = None
) -> Result:
    """Runs one inversion: `run_together` of one picture. The arguments are as in `Job`.

    Raises:
      NonFiniteLossError: the loss became NaN or infinite; what the run directory holds is complete all the same.
      Interrupted: a signal asked to end; likewise, and a checkpoint is there.
    """
    ((result, outcome),) = run_together([Job(config, run_dir, target)], conversion)
    outcome.raise_if_any()
    return result


def run_together(jobs: Sequence[Job], conversion: Conversion) -> list[tuple[Result, Outcome]]:
    """Inverts pictures that go through the network as one batch; each has its own run directory, as if it were alone.

    Args:
      jobs: with configs that differ in `image` and in where they go.
      conversion: the network, cut to the layers of the configs.

    Returns:
      Of each what was found, and how it ended.

    Raises:
      InputError: a picture, the start or the network cannot be used.
    """
    precision.grow_gpu_memory()
    config = jobs[0].config
    if config.parameterization == "deep_prior":
        precision.let_weights_change()
    network = load(conversion.result(), config.network_name())
    targets = [images.load(job.config.image, network.size) if job.target is None else job.target for job in jobs]
    starts = [parameterizations.initial_image(config.init, network.size, config.seed + n) for n in range(config.seeds)]
    initial = np.concatenate(starts)
    for target in targets:
        if target.shape != starts[0].shape:
            raise InputError(f"the image has shape {target.shape}; expected {starts[0].shape}")
    config = presets.at_depth(config, network.layers, network.size)
    settings = _chosen(jobs[0].config, config)
    with contextlib.ExitStack() as stack:
        for job, target in zip(jobs, targets, strict=True):
            if job.run_dir is None:
                continue
            stack.enter_context(job.run_dir.locked())
            info = {**provenance.describe(job.config, network, conversion.request, target), "settings": settings}
            before = job.run_dir.read_info().get("together_with") if config.resume else None
            if before or len(jobs) > 1:  # a picture can go on without those that it began with, where they are finished
                info["together_with"] = before or [other.config.image for other in jobs if other is not job]
            job.run_dir.create(flagfile(job.config), info, resume=config.resume)
            images.save(job.run_dir.target, target)
        run_dirs = [job.run_dir for job in jobs]
        wanted = [_features(network, target) for target in targets]
        optimized = _optimize(config, network, targets, wanted, initial, run_dirs)
        distances = _distances(network)
        found = []
        for run_dir, target, asked, (optimization, outcome) in zip(run_dirs, targets, wanted, optimized, strict=True):
            history = run_dir.read_metrics() if run_dir is not None else outcome.lines
            result = _result(network, optimization, target, asked, outcome, distances, len(jobs), history, settings)
            if run_dir is not None:
                _finish(run_dir, result, f" of {config.steps}" if isinstance(outcome.error, Interrupted) else "")
            found.append((result, outcome))
    return found


def _optimize(
    config: Config,
    network: Network,
    targets: Sequence[np.ndarray],
    wanted: Sequence[dict[str, np.ndarray]],
    initial: np.ndarray,
    run_dirs: Sequence[RunDirectory | None],
) -> list[tuple[Optimization, Outcome]]:
    tensors = [{name: tf.constant(value) for name, value in features.items()} for features in wanted]
    optimizations = [run_optimization(config, network.model, one, initial) for one in tensors]
    with contextlib.ExitStack() as stack:
        logs = [stack.enter_context(_tensorboard(config, run_dir)) for run_dir in run_dirs]
        outcomes = drive_together(
            [
                Driven(optimization, run_dir, functools.partial(_quality, target=target), log)
                for optimization, run_dir, target, log in zip(optimizations, run_dirs, targets, logs, strict=True)
            ],
            config.steps,
            config.save_every,
            resume=config.resume,
            finishing=stack.enter_context(precision.arithmetic(config)),
            label="+".join(config.layers),
        )
    return list(zip(optimizations, outcomes, strict=True))


def _chosen(given: Config, config: Config) -> dict[str, Any]:
    """The settings that the preset chose."""
    names = [field.name for field in dataclasses.fields(config)]
    return {name: getattr(config, name) for name in names if getattr(config, name) != getattr(given, name)}


def _features(network: Network, image: np.ndarray) -> dict[str, np.ndarray]:
    return {name: value.numpy() for name, value in network.model(tf.constant(image), training=False).items()}


def _quality(snapshot: Snapshot, target: np.ndarray) -> dict[str, float]:
    assert snapshot.image is not None
    return {"psnr": float(np.mean([_finite(metrics.psnr(image, target[0])) for image in snapshot.image]))}


def _result(
    network: Network,
    optimization: Optimization,
    target: np.ndarray,
    wanted: dict[str, np.ndarray],
    outcome: Outcome,
    distances: dict[str, float],
    pictures: int,
    history: Sequence[dict[str, Any]],
    settings: dict[str, Any],
) -> Result:
    images_found = np.clip(optimization.best_image(), 0, 1)
    starts, features = [], []
    for image in images_found:
        features.append(_features(network, image[None]))
        errors = [metrics.normalized_feature_error(features[-1][name], value) for name, value in wanted.items()]
        starts.append(
            {
                "psnr": _finite(metrics.psnr(image, target[0])),
                "ssim": metrics.ssim(image, target[0]),
                "normalized_feature_error": float(np.mean(errors)),
            }
        )
    best = min(range(len(starts)), key=lambda number: starts[number]["normalized_feature_error"])
    seconds = outcome.seconds / pictures
    return Result(
        image=images_found[best],
        target=target[0],
        **starts[best],
        mv2016_error=float(np.mean([metrics.mv2016_error(features[best][n], v) for n, v in wanted.items()])),
        mv2015_error=float(np.mean([metrics.mv2015_error(features[best][n], v, distances[n]) for n, v in wanted.items()])),
        seconds=seconds,
        steps_per_second=outcome.steps / max(seconds, 1e-9),
        peak_memory_mb=provenance.peak_memory_mb(),
        history=tuple(history),
        weights=network.weights_origin,
        starts=tuple(starts),
        settings=settings,
    )


def _distances(network: Network) -> dict[str, float]:
    """How far apart features of different pictures are: the quadrants of the sample photographs."""
    others = [quadrant for name in images.SAMPLES for quadrant in _quadrants(name, network.size)]
    return metrics.mean_pairwise_distances(_features(network, one[None]) for one in others)


def _quadrants(name: str, size: tuple[int, int]) -> np.ndarray:
    """The four quarters of a sample photograph, each of the given size."""
    large = images.load(name, (2 * size[0], 2 * size[1]))
    return np.concatenate([large[:, y : y + size[0], x : x + size[1]] for y in (0, size[0]) for x in (0, size[1])])


def _finish(run_dir: RunDirectory, result: Result, of_all: str) -> None:
    """The files that a run ends with; its figures the last, since they say that it is finished."""
    images.save(run_dir.final, result.image)
    info = {**run_dir.read_info(), "result": result.figures()}
    if "stopped" in info:
        info["stopped"] += of_all
    sheet.write(run_dir, info)
    charts.write_curves(run_dir)
    run_dir.write_info(info)


def _finite(value: float) -> float:
    # JSON has no infinity; 200 dB is beyond what float32 can tell apart.
    return min(value, 200.0) if not math.isnan(value) else value


@contextlib.contextmanager
def _tensorboard(config: Config, run_dir: RunDirectory | None) -> Iterator[Any]:
    """A function that logs a line of metrics and its picture, or does nothing."""
    if run_dir is None or not config.tensorboard:
        yield lambda line, image: None
        return
    with writing(run_dir.tensorboard):
        writer = tf.summary.create_file_writer(str(run_dir.tensorboard))

    def log(line: dict[str, Any], image: np.ndarray) -> None:
        with writing(run_dir.tensorboard), writer.as_default(step=line["step"]):
            for name, value in line.items():
                if name != "step":
                    tf.summary.scalar(name, value)
            tf.summary.image("image", np.clip(image, 0, 1))

    try:
        yield log
    finally:
        with writing(run_dir.tensorboard):
            writer.close()
