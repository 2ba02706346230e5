"""The same features inverted three ways: by optimization, by a decoder, and by optimization from what the decoder gives."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfinvert import metrics
from tfinvert.decoders.data import HELD_OUT_SAMPLES, TRAINING_SAMPLES
from tfinvert.decoders.evaluation import LARGEST_PSNR, build_encode
from tfinvert.decoders.image_set import ImageSet
from tfinvert.images import files, initial_image
from tfinvert.images.references import EVEN_GREY, MEAN_IMAGE, reference_images
from tfinvert.optimization.inversion import build_problem
from tfinvert.optimization.solver import run_alone
from tfinvert.optimization.state import best_image, init
from tfinvert.settings.inversion import Resolved

WAYS = ("optimization", "decoder", "from the decoder")
FIGURES = ("psnr", "ssim", "image_error", "feature_error", "seconds")
COLUMNS = ("layer", "image", "way", "steps", *FIGURES)


@dataclasses.dataclass(frozen=True)
class Inversion:
    """What one way of inverting gave of several images.

    Attributes:
      images: float32 [n, height, width, 3] in [0, 1].
      steps: steps of the optimization; 0 for a decoder.
      seconds: time for all images together.
      psnr: in dB, [steps + 1, n]; empty for a decoder.
      feature_losses: the sum over the images, [steps + 1]; empty for a decoder.
    """

    images: np.ndarray
    steps: int
    seconds: float
    psnr: np.ndarray = dataclasses.field(default_factory=lambda: np.empty((0, 0)))
    feature_losses: np.ndarray = dataclasses.field(default_factory=lambda: np.empty(0))


def invert_three_ways(
    model: keras.Model,
    layer: str,
    decode: Callable[[np.ndarray], np.ndarray],
    targets: np.ndarray,
    cold: Resolved,
    warm: Resolved,
) -> dict[str, Inversion]:
    """Inverts the features of images by each of `WAYS`.

    Args:
      model: the network, cut to the layer.
      layer: name of the layer.
      decode: features of that layer -> images, as `load_decoder` gives it.
      targets: the images, float32 [n, height, width, 3] in [0, 1].
      cold: settings of the optimization that starts from grey.
      warm: settings of the optimization that starts from the decoded images.

    Raises:
      InputError: the decoder does not run.
      NonFiniteLossError: an optimization diverged.
    """
    size = (targets.shape[1], targets.shape[2])
    features = build_encode(model, layer)(tf.constant(targets)).numpy()
    decode(features)  # traces it, which must not be timed
    started = time.perf_counter()
    decoded = np.clip(decode(features), 0, 1).astype(np.float32)
    seconds = time.perf_counter() - started
    grey = np.concatenate([initial_image("grey", size, cold.seed)] * len(targets))
    optimized = _optimize(cold, model, layer, features, targets, grey)
    continued = _optimize(warm, model, layer, features, targets, decoded)
    continued = dataclasses.replace(continued, seconds=continued.seconds + seconds)
    return dict(zip(WAYS, (optimized, Inversion(decoded, 0, seconds), continued), strict=True))


def _optimize(
    settings: Resolved, model: keras.Model, layer: str, features: np.ndarray, targets: np.ndarray, initial: np.ndarray
) -> Inversion:
    """Inverts all images at once, without the time that it takes to measure them after each step."""
    problem = build_problem(settings, model, {layer: features}, (targets.shape[1], targets.shape[2]))
    state = init(problem, initial)
    psnr, losses = [], []
    measuring = 0.0
    started = time.perf_counter()
    for snapshot in run_alone(problem, state, settings.steps):
        if snapshot.image is not None:
            stopped = time.perf_counter()
            psnr.append([min(metrics.psnr(*pair), LARGEST_PSNR) for pair in zip(snapshot.image, targets, strict=True)])
            losses.append(snapshot.terms[layer])
            measuring += time.perf_counter() - stopped
    seconds = time.perf_counter() - started - measuring
    images = np.clip(best_image(problem, state), 0, 1)
    return Inversion(images, settings.steps, seconds, np.array(psnr), np.array(losses))


def compare_inversions(
    model: keras.Model, layer: str, inversions: dict[str, Inversion], targets: np.ndarray, names: Sequence[str]
) -> list[dict[str, Any]]:
    """The rows of the table for one layer.

    Args:
      model: the network, cut to the layer.
      layer: name of the layer.
      inversions: what each way gave, from `invert_three_ways`.
      targets: the images that were inverted, float32 [n, height, width, 3] in [0, 1].
      names: their names.

    Returns:
      For each way and image, and for images that hold nothing of the features (`references`): layer, image, way, steps, psnr
      in dB, ssim, image_error ||x - x0|| over the mean distance of two photographs (Dosovitskiy & Brox 2016), feature_error
      ||phi(x) - phi0||^2 / ||phi0||^2, and seconds per image. For the third way also steps_to_psnr and steps_to_feature_loss:
      after how many steps it is as good as the first is in the end, None where it never is.
    """
    encode = build_encode(model, layer)
    target_features = encode(tf.constant(targets)).numpy()
    distance = mean_distance((targets.shape[1], targets.shape[2]))
    cold, _, warm = (inversions[way] for way in WAYS)
    rows: list[dict[str, Any]] = []
    even = [reference_images(target) for target in targets]
    references = {name: Inversion(np.stack([images[name] for images in even]), 0, 0.0) for name in (EVEN_GREY, MEAN_IMAGE)}
    for way, inversion in {**inversions, **references}.items():
        features = encode(tf.constant(inversion.images)).numpy()
        for number, (image, target) in enumerate(zip(inversion.images, targets, strict=True)):
            row = {
                "layer": layer,
                "image": names[number],
                "way": way,
                "steps": inversion.steps,
                "psnr": min(metrics.psnr(image, target), LARGEST_PSNR),
                "ssim": metrics.ssim(image, target),
                "image_error": float(np.linalg.norm(image - target)) / distance,
                "feature_error": metrics.normalized_feature_error(features[number], target_features[number]),
                "seconds": inversion.seconds / len(targets),
            }
            if inversion is warm:
                row["steps_to_psnr"] = first_true(warm.psnr[:, number] >= cold.psnr[-1, number])
                row["steps_to_feature_loss"] = first_true(warm.feature_losses <= cold.feature_losses[-1])
            rows.append(row)
    return rows


def first_true(values: np.ndarray) -> int | None:
    """The first index of an array [n] at which it is true; None where it never is."""
    return int(np.argmax(values)) if values.any() else None


@functools.lru_cache(4)
def mean_distance(size: tuple[int, int]) -> float:
    """The mean Euclidean distance of two photographs in [0, 1] of a size, over all pairs of scikit-image's."""
    samples = [files.sample(name) for name in (*TRAINING_SAMPLES, *HELD_OUT_SAMPLES)]
    photographs = ImageSet(samples, size).centers() / np.float32(255)
    pairs = [(i, j) for i in range(len(photographs)) for j in range(i)]
    return float(np.mean([np.linalg.norm(photographs[i] - photographs[j]) for i, j in pairs]))


def format_table(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as a table in Markdown, followed by the means over the images of each layer and way."""
    lines = [f"| {' | '.join(COLUMNS)} | as good after |", f"|{'---|' * (len(COLUMNS) + 1)}"]
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["layer"], row["way"]), []).append(row)
        lines.append(_format_row(row))
    for (layer, way), group in groups.items():
        if len(group) > 1:
            means = {name: float(np.mean([row[name] for row in group])) for name in FIGURES}
            lines.append(_format_row({"layer": layer, "image": "mean", "way": way, "steps": group[0]["steps"], **means}))
    return "\n".join(lines) + "\n"


def _format_row(row: dict[str, Any]) -> str:
    cells = [f"{row[name]:.4g}" if isinstance(row[name], float) else str(row[name]) for name in COLUMNS]
    after = row.get("steps_to_psnr")
    return f"| {' | '.join(cells)} | {'' if after is None else f'{after} steps'} |"
