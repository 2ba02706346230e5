"""Show which pixels a class score depends on, by five methods.

Example:
  >>> import tfinvert
  >>> result = tfinvert.saliency("chelsea", classes="tabby", methods="smoothgrad")
  >>> result.maps["smoothgrad"].shape
  (1, 224, 224)
"""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tfinvert import images as image_files
from tfinvert.runs.result import Result
from tfinvert.settings.fields import changed, define, setting
from tfinvert.settings.groups import ClassifierSettings, ImageSettings, RunSettings
from tfinvert.system.errors import InputError

if TYPE_CHECKING:
    import tensorflow as tf

    from tfinvert.networks.network import Network
    from tfinvert.runs.directory import RunDirectory

log = logging.getLogger("tfinvert")
METHODS = ("gradient", "smoothgrad", "integrated", "guided", "grad_cam")


@define
class Settings(RunSettings, ImageSettings, ClassifierSettings):
    """The maps"""

    positional: ClassVar[tuple[str, ...]] = ("image", "network")
    weights_stay = True
    model: str = changed(ClassifierSettings, "model", default="squeezenet1.1")
    classes: tuple[str, ...] = setting(
        default=(),
        doc="The class whose score is explained, by index, name or WordNet id; or one for each image. "
        "Default: what the network sees in each image.",
        aliases=("class",),
    )
    seed: int = changed(RunSettings, "seed", default=12345, doc="Seed of SmoothGrad's noise.")
    methods: tuple[str, ...] = setting(default=METHODS, doc=f"The maps to make: {', '.join(METHODS)}.", choices=METHODS)
    layers: tuple[str, ...] = setting(default=("last",), doc="The layer of Grad-CAM. last is the one before the last pooling.")
    samples: int = setting(default=32, doc="Number of noisy copies for SmoothGrad.", at_least=1)
    noise: float = setting(
        default=0.15, doc="Standard deviation of SmoothGrad's noise, as a fraction of the image's range.", above=0
    )
    integration_parts: int = setting(
        default=64,
        doc="Number of parts of the path of integrated gradients. Parts are divided until the attributions add up to 1 %, or "
        "there are 128.",
        at_least=1,
    )

    def check(self) -> None:
        super().check()
        if not self.methods or len(set(self.methods)) < len(self.methods):
            raise InputError(f"--methods is {','.join(self.methods)!r}; expected some of {', '.join(METHODS)}, each once")
        if len(self.layers) != 1:
            raise InputError(f"--layers names {len(self.layers)} layers; Grad-CAM expects one")

    def layers_needed(self) -> tuple[str, ...]:
        return ("scores", *(self.layers if "grad_cam" in self.methods else ()))


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class SaliencyResult(Result):
    """Saliency maps.

    Attributes:
      maps: method -> float32 [n, height, width], at least 0.
      classes: index, name and probability of the class of each image.
      network: the name of the network.
      seconds: the time that the maps took.
      peak_memory_mb: the largest resident memory of the process.
      completeness_error: for each image, |sum of integrated gradients - score difference| / |score difference|.
      integration_parts: the number of parts of the path that this took.
    """

    maps: dict[str, np.ndarray]
    classes: tuple[dict[str, Any], ...]
    network: str
    seconds: float
    peak_memory_mb: float
    completeness_error: tuple[float, ...] = ()
    integration_parts: int | None = None

    def figures(self) -> dict[str, Any]:
        integrated = {}
        if self.integration_parts is not None:
            integrated = {
                "completeness_error": list(self.completeness_error),
                "integration_parts": self.integration_parts,
            }
        return {
            "classes": list(self.classes),
            **integrated,
            "seconds": self.seconds,
            "peak_memory_mb": self.peak_memory_mb,
        }

    def write(self, directory: RunDirectory, info: dict[str, Any]) -> None:
        """Writes images, maps and overlays; maps.npz with the numbers; sheet.png with all of them."""
        from tfinvert.reports import captions, sheet

        cells: list[tuple[Path, str, sheet.Bar | None]] = []
        for number, image in enumerate(self.images):
            seen = self.classes[number]
            shown: dict[str, tuple[np.ndarray, str, sheet.Bar | None]] = {
                "image": (image, f"{seen['name']}, probability {seen['probability']:.3f}", None)
            }
            for method, values in self.maps.items():
                scale = sheet.heat_bar(image_files.heat_limit(values[number]))
                shown[method] = (image_files.heat(values[number]), captions.METHODS[method], scale)
            for method, values in self.maps.items():
                overlay = image_files.overlay(image, values[number])
                shown[f"{method}-overlay"] = (overlay, f"{captions.METHODS[method]}, overlay", None)
            paths = {name: directory.images / f"{number:02d}-{name}.png" for name in shown}
            for name, (content, caption, bar) in shown.items():
                image_files.save(paths[name], content)
                cells.append((paths[name], caption, bar))
            cells.insert(-len(self.maps), (paths["image"], "", None))  # the image again, before its overlays
        directory.save_arrays(self.maps)
        header = [f"{self.network}: what the class score depends on", sheet.describe_network(info)]
        sheet.write_side_by_side(directory.sheet, header, cells, len(self.maps) + 1)


def prepare(settings: Settings, network: Network) -> None:
    """Refuses classes that the network does not have before its conversion starts."""
    network.classes.indices(settings.classes)
    network.prepare(settings.layers_needed())


def check(settings: Settings, network: Network, images: np.ndarray) -> None:
    """Refuses classes that do not fit the images, and a layer that Grad-CAM cannot use."""
    classes = settings.classes
    if len(classes) not in (0, 1, len(images)):
        raise InputError(f"--classes names {len(classes)} classes for {len(images)} images; expected one, or one for each")
    for name in settings.layers_needed()[1:]:
        if len(network.layer(name).shape) != 3:
            raise InputError(
                f"--layers={name} has no place in the image; Grad-CAM expects a layer of features [height, width, channels]"
            )
    if "guided" in settings.methods:
        _guided_features(settings, network)


def run(settings: Settings, network: Network, images: np.ndarray) -> SaliencyResult:
    """Makes the maps of a batch of images."""
    import tensorflow as tf

    from tfinvert.networks import classifier
    from tfinvert.objectives import saliency
    from tfinvert.runs import provenance

    started = time.perf_counter()
    image = tf.constant(images)
    model = network.cut(settings.layers_needed())
    probabilities = classifier.probabilities(model, image, network.classes.activation)
    classes, described = _classes(settings, network, probabilities)
    score = saliency.Differentiated(classifier.of_classes(classifier.class_scores(model), classes), len(images))
    maps: dict[str, np.ndarray] = {}
    figures: dict[str, Any] = {}
    for method in settings.methods:
        if method == "guided" and _guided_features(settings, network) is None:
            continue
        value, more = MAPS[method](settings, network, image, score, classes)
        maps[method], figures = value.numpy(), {**figures, **more}
    if "grad_cam" in maps and "guided" in maps:
        maps["guided_grad_cam"] = maps["guided"] * maps["grad_cam"]
    return SaliencyResult(
        images=images,
        maps=maps,
        classes=described,
        network=network.name,
        weights=network.weights,
        settings=dataclasses.asdict(settings),
        seconds=time.perf_counter() - started,
        peak_memory_mb=provenance.peak_memory_mb(),
        **figures,
    )


def _classes(settings: Settings, network: Network, probabilities: np.ndarray) -> tuple[list[int], tuple[dict[str, Any], ...]]:
    """The class of each image, and what run.json says about it."""
    classes = network.classes.indices(settings.classes) or [int(index) for index in probabilities.argmax(axis=1)]
    classes = classes if len(classes) == len(probabilities) else classes * len(probabilities)
    return classes, tuple(
        {"index": index, "name": network.classes.name(index), "probability": float(row[index])}
        for index, row in zip(classes, probabilities, strict=True)
    )


def _gradient(settings: Settings, network: Network, image: tf.Tensor, score: Callable, classes: list[int]):
    from tfinvert.objectives import saliency

    ((_, slope),) = score([image])
    return saliency.saliency_map(slope), {}


def _smoothgrad(settings: Settings, network: Network, image: tf.Tensor, score: Callable, classes: list[int]):
    from tfinvert.objectives import saliency

    mean = saliency.smoothgrad(score, image, settings.samples, settings.noise, settings.seed)
    return saliency.saliency_map(mean), {}


def _integrated(settings: Settings, network: Network, image: tf.Tensor, score: Callable, classes: list[int]):
    import tensorflow as tf

    from tfinvert.objectives import saliency

    attributions, errors, parts = saliency.integrated_gradients(score, image, tf.zeros_like(image), settings.integration_parts)
    if errors.max() > saliency.TOLERANCE:
        log.warning(
            "integrated gradients are not complete: their sum is %.2g of the change of the score away from it after %d parts "
            "(%.2g at most is wanted); more --integration_parts may help",
            *(errors.max(), parts, saliency.TOLERANCE),
        )
    return saliency.saliency_map(attributions), {
        "completeness_error": tuple(float(error) for error in errors),
        "integration_parts": parts,
    }


def _guided_features(settings: Settings, network: Network) -> Callable | None:
    """The network with guided backpropagation; None where it cannot have it, and all methods are asked for.

    Raises:
      InputError: it cannot have it.
    """
    key = ("guided", settings.layers_needed())
    if key not in network.kept:
        network.kept[key] = None
        try:
            network.kept[key] = network.guided(settings.layers_needed())
        except InputError as error:
            if settings.methods != METHODS:
                del network.kept[key]
                raise
            log.warning("%s; the maps are made without it", error)
    return network.kept[key]


def _guided(settings: Settings, network: Network, image: tf.Tensor, score: Callable, classes: list[int]):
    from tfinvert.networks.classifier import by_class, of_classes
    from tfinvert.networks.names import SCORES
    from tfinvert.objectives import saliency

    features = _guided_features(settings, network)
    assert features is not None
    own_score = of_classes(lambda value: by_class(features(value)[SCORES]), classes)
    return saliency.saliency_map(saliency.gradient(own_score, image)), {}


def _grad_cam(settings: Settings, network: Network, image: tf.Tensor, score: Callable, classes: list[int]):
    import tensorflow as tf

    from tfinvert.networks.classifier import by_class, of_classes
    from tfinvert.networks.names import SCORES
    from tfinvert.objectives import saliency

    (layer,) = settings.layers
    features = network.cut(settings.layers_needed())(image, training=False)[layer]
    above = network.head(layer, SCORES)
    slope = saliency.gradient(of_classes(lambda value: by_class(above(value)), classes), features)
    if slope is None:
        raise InputError(f"the class scores do not depend on --layers={layer}; name a layer below them")
    cam = saliency.grad_cam(features, slope)
    return tf.image.resize(cam[..., None], network.size)[..., 0], {}


MAPS = {
    "gradient": _gradient,
    "smoothgrad": _smoothgrad,
    "integrated": _integrated,
    "guided": _guided,
    "grad_cam": _grad_cam,
}
