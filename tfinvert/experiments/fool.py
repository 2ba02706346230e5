"""Change a photograph until the network takes it for something else."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import tensorflow as tf

from tfinvert.errors import InputError
from tfinvert.images import files as images
from tfinvert.networks.classifier import Classifier, of_classes
from tfinvert.networks.conversion.convert import Conversion
from tfinvert.networks.network import load
from tfinvert.objectives import attacks as adversarial
from tfinvert.optimization import precision
from tfinvert.reports import sheet
from tfinvert.runs import provenance
from tfinvert.runs.directory import RunDirectory
from tfinvert.settings.config import FoolConfig, flagfile


def run(
    config: FoolConfig, conversion: Conversion, run_dir: RunDirectory | None = None, picture: np.ndarray | None = None
) -> dict[str, Any]:
    """Fools the network into each class of the config, from the same picture, all in one batch.

    Args:
      config: its settings.
      conversion: the network with its layer `scores`.
      run_dir: where to write; None to write nothing.
      picture: [1, height, width, 3] in [0, 1]; None to read `config.image`.

    Returns:
      `image`: float32 [targets, height, width, 3], rounded to 8 bits as it is written; `original`, likewise, one picture;
      and the figures of run.json.

    Raises:
      InputError: the picture, a class or the network cannot be used.
    """
    precision.grow_gpu_memory()
    network = load(conversion.result(), config.network_name())
    classifier = Classifier(network)
    if picture is None:
        picture = images.load(config.image, network.size)
    started = time.perf_counter()
    picture = adversarial.as_written(picture)
    before = classifier.probabilities(picture)[0]
    source = int(before.argmax())
    targets = classifier.indices(config.classes)
    if source in targets:
        raise InputError(f"the network takes the picture for {classifier.name(source)!r} already; expected another --class")
    rows = max(len(targets), 1)
    # Without a target, what the network sees now is to shrink.
    ascended, sign = (targets, 1.0) if targets else ([source], -1.0)
    original = np.repeat(picture, rows, axis=0)
    attack = _attack(config, classifier, ascended, sign)
    image, steps = original, np.zeros(rows, int)
    bound = None if config.attack == "gradient" else config.bound
    for _ in range(1 if config.attack == "fgsm" else config.steps):
        still = ~_fooled(classifier, adversarial.as_written(image, original, bound), targets, source)
        if not still.any():
            break
        image = np.where(still[:, None, None, None], attack(image, original), image)
        steps += still
    written = adversarial.as_written(image, original, bound)
    after = classifier.probabilities(written)
    fooled = _fooled(classifier, written, targets, source)
    found = []
    for row in range(rows):
        seen = int(after[row].argmax())
        target = targets[row] if targets else seen
        found.append(
            {
                "target": classifier.name(target),
                "target_index": target,
                "fooled": bool(fooled[row]),
                "steps": int(steps[row]),
                "probability_before": float(before[target]),
                "probability_after": float(after[row, target]),
                "seen": classifier.name(seen),
                "largest_change": int(adversarial.largest_change(written, original)[row]),
                "l2_change": float(np.linalg.norm(written[row] - original[row])),
            }
        )
    figures: dict[str, Any] = {
        "original": {"name": classifier.name(source), "index": source, "probability": float(before[source])},
        "fooled": f"{int(fooled.sum())} of {rows}",
        "targets": found,
        "seconds": time.perf_counter() - started,
        "peak_memory_mb": provenance.peak_memory_mb(),
    }
    if run_dir is not None:
        _write(config, conversion, run_dir, classifier, (picture[0], written), figures)
    return {**figures, "image": written, "original_image": picture[0], "weights": network.weights_origin}


def _attack(config: FoolConfig, classifier: Classifier, classes: list[int], sign: float):
    """One update of all pictures: (image, original) -> image."""

    def grows(image: tf.Tensor) -> tf.Tensor:
        scores = classifier.scores if config.attack == "gradient" else lambda x: tf.nn.log_softmax(classifier.scores(x))
        return sign * of_classes(scores, classes)(image)

    @tf.function
    def slope(image: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(image)
            total = tf.reduce_sum(grows(image))
        return tape.gradient(total, image)

    def update(image: np.ndarray, original: np.ndarray) -> np.ndarray:
        gradient = slope(tf.constant(image)).numpy()
        if config.attack == "gradient":
            return adversarial.normalized_ascent(image, gradient, config.learning_rate)
        step = config.bound if config.attack == "fgsm" else config.learning_rate
        return adversarial.signed_step(image, gradient, original, step, config.bound)

    return update


def _fooled(classifier: Classifier, written: np.ndarray, targets: list[int], source: int) -> np.ndarray:
    """Whether the network takes each picture, as it is written, for its target, or for anything but what it was, [rows]."""
    seen = classifier.probabilities(written).argmax(axis=1)
    return seen == np.asarray(targets) if targets else seen != source


def _write(
    config: FoolConfig,
    conversion: Conversion,
    run_dir: RunDirectory,
    classifier: Classifier,
    pictures: tuple[np.ndarray, np.ndarray],
    figures: dict[str, Any],
) -> None:
    """Original, fooled, their difference, ten times it; run.json says what the network sees in the files read back."""
    network = classifier.network
    original, written = pictures
    cells = []
    with run_dir.locked():
        described = provenance.describe(config, network, conversion.request, original[None])
        run_dir.create(flagfile(config), described, resume=False)
        images.save(run_dir.target, original)
        seen = figures["original"]
        for row, (found, fooled) in enumerate(zip(figures["targets"], written, strict=True)):
            path = run_dir.images / f"{row:02d}-fooled.png"
            images.save(path, fooled)
            again = int(classifier.probabilities(images.load(path, network.size)).argmax())
            found["fools_when_read_back"] = found["fooled"] and classifier.name(again) == found["seen"]
            difference = fooled - original
            still = "" if found["fooled"] else f"still {found['seen']}; "
            captions = {
                "fooled": f"{still}{found['target']} {found['probability_after']:.3f} (from {found['probability_before']:.0e})",
                "difference": f"difference: {found['largest_change']}/255 at most",
                "difference-x10": f"difference x 10; {found['steps']} steps",
            }
            images.save(run_dir.images / f"{row:02d}-difference.png", 0.5 + difference)
            images.save(run_dir.images / f"{row:02d}-difference-x10.png", 0.5 + 10 * difference)
            cells.append((run_dir.target, f"{seen['name']} {seen['probability']:.3f}"))
            cells += [(run_dir.images / f"{row:02d}-{part}.png", caption) for part, caption in captions.items()]
        header = [
            f"{network.name}: fooled {figures['fooled']} ({config.attack}); probabilities below",
            f"weights: {network.weights_origin}",
        ]
        sheet.write_side_by_side(run_dir.sheet, header, cells, 4)
        run_dir.write_info({**run_dir.read_info(), "result": figures})
