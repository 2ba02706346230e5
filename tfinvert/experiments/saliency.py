"""Where a network looks: which pixels the score of a class depends on, by five methods."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import tensorflow as tf

from tfinvert.errors import InputError
from tfinvert.images import files as images
from tfinvert.networks.classifier import Classifier, flat, of_classes
from tfinvert.networks.conversion.convert import Conversion
from tfinvert.networks.names import SCORES
from tfinvert.networks.network import guided, head, load
from tfinvert.objectives import saliency as attribution
from tfinvert.optimization import precision
from tfinvert.reports import sheet
from tfinvert.runs import provenance
from tfinvert.runs.directory import RunDirectory
from tfinvert.settings.config import SaliencyConfig, flagfile


def run(
    config: SaliencyConfig, conversion: Conversion, run_dir: RunDirectory | None = None, pictures: np.ndarray | None = None
) -> dict[str, Any]:
    """Makes the maps of a batch of pictures, and the figure.

    Args:
      config: its settings.
      conversion: the network with the layers `scores` and, for Grad-CAM, the one of the config.
      run_dir: where to write; None to write nothing.
      pictures: [batch, height, width, 3] in [0, 1]; None to read those of the config.

    Returns:
      `maps`: method -> float32 [batch, height, width], at least 0; `classes`: their indices; and the figures of run.json.

    Raises:
      InputError: a picture, a class or the network cannot be used.
    """
    precision.grow_gpu_memory()
    converted = conversion.result()
    network = load(converted, config.network_name())
    classifier = Classifier(network)
    names = config.pictures or (config.image,)
    if pictures is None:
        pictures = images.load_same_size(names, network.size)
    image = tf.constant(pictures)
    started = time.perf_counter()
    probabilities = classifier.probabilities(image)
    classes = classifier.indices(config.classes) or [int(index) for index in probabilities.argmax(axis=1)]
    if len(classes) == 1:
        classes *= len(pictures)
    if len(classes) != len(pictures):
        raise InputError(f"--class names {len(classes)} classes for {len(pictures)} pictures; expected one, or one for each")
    score = tf.function(of_classes(classifier.scores, classes))
    figures: dict[str, Any] = {}
    maps: dict[str, np.ndarray] = {}
    for method in config.methods:
        if method == "gradient":
            value = attribution.saliency_map(attribution.gradient(score, image))
        elif method == "smoothgrad":
            mean = attribution.smoothgrad(score, image, config.samples, config.noise, config.seed)
            value = attribution.saliency_map(mean)
        elif method == "integrated":
            parts = config.integration_parts
            attributions, errors, parts = attribution.integrated_gradients(score, image, tf.zeros_like(image), parts)
            figures["completeness_error"] = [float(error) for error in errors]
            figures["integration_parts"] = parts
            value = attribution.saliency_map(attributions)
        elif method == "guided":
            layers = guided(converted)
            own = of_classes(lambda x: flat(layers(x)[SCORES]), classes)  # noqa: B023, called in this turn
            value = attribution.saliency_map(attribution.gradient(own, image))
        else:
            value = _grad_cam(config, conversion, network.model(image, training=False), classes)
        maps[method] = value.numpy()
    if "grad_cam" in maps and "guided" in maps:
        maps["guided_grad_cam"] = maps["guided"] * maps["grad_cam"]
    chosen = probabilities[np.arange(len(classes)), classes]
    figures = {
        "classes": [
            {"index": c, "name": classifier.name(c), "probability": float(p)} for c, p in zip(classes, chosen, strict=True)
        ],
        **figures,
        "seconds": time.perf_counter() - started,
        "peak_memory_mb": provenance.peak_memory_mb(),
    }
    if run_dir is not None:
        _write(config, conversion, run_dir, classifier, pictures, maps, figures)
    return {**figures, "maps": maps, "classes": classes, "weights": network.weights_origin}


def _grad_cam(config: SaliencyConfig, conversion: Conversion, features: dict[str, tf.Tensor], classes: list[int]) -> tf.Tensor:
    (layer,) = config.layers
    converted = conversion.result()
    if features[layer].shape.rank != 4:
        raise InputError(
            f"--layers={layer} has no place in the picture; Grad-CAM expects a layer of features [height, width, channels]"
        )
    above = head(converted, layer, SCORES)
    slope = attribution.gradient(of_classes(lambda value: flat(above(value)), classes), features[layer])
    if slope is None:
        raise InputError(f"the class scores do not depend on --layers={layer}; name a layer below them")
    cam = attribution.grad_cam(features[layer], slope)
    return tf.image.resize(cam[..., None], converted.size)[..., 0]


def _write(
    config: SaliencyConfig,
    conversion: Conversion,
    run_dir: RunDirectory,
    classifier: Classifier,
    pictures: np.ndarray,
    maps: dict[str, np.ndarray],
    figures: dict[str, Any],
) -> None:
    """The pictures, maps and overlays; maps.npz with the numbers; sheet.png with all of them; run.json."""
    cells = []
    with run_dir.locked():
        run_dir.create(
            flagfile(config), provenance.describe(config, classifier.network, conversion.request, pictures), resume=False
        )
        for number, picture in enumerate(pictures):
            stem = run_dir.images / f"{number:02d}"
            found = figures["classes"][number]
            shown = {"picture": (picture, f"{found['name']}, probability {found['probability']:.3f}")}
            for method, values in maps.items():
                shown[method] = (images.heat(values[number]), method.replace("_", " "))
            for method, values in maps.items():
                shown[f"{method}-overlay"] = (images.overlay(picture, values[number]), f"{method.replace('_', ' ')}, overlay")
            for name, (image, caption) in shown.items():
                path = stem.with_name(f"{stem.name}-{name}.png")
                images.save(path, image)
                cells.append((path, caption))
            cells.insert(-len(maps), (cells[-2 * len(maps) - 1][0], ""))  # the picture again, before its overlays
        run_dir.save_arrays(maps)
        header = [
            f"{classifier.network.name}: what the class score depends on",
            f"weights: {classifier.network.weights_origin}",
        ]
        sheet.write_side_by_side(run_dir.sheet, header, cells, len(maps) + 1)
        run_dir.write_info({**run_dir.read_info(), "result": figures})
