"""Make images of what the network takes for a class, or of what a channel or a neuron responds to.

Example:
  >>> import tfinvert
  >>> tfinvert.class_vis("gorilla").targets[0]["probability"] > 0.99
  True
"""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from tfinvert import images as image_files
from tfinvert.experiments.class_vis import recipes
from tfinvert.runs.result import Result
from tfinvert.settings.fields import changed, define, setting
from tfinvert.settings.groups import ClassifierSettings, ResumableSettings
from tfinvert.system.errors import InputError

if TYPE_CHECKING:
    import tensorflow as tf

    from tfinvert.networks.network import Network
    from tfinvert.objectives.terms import Term
    from tfinvert.runs.directory import RunDirectory

log = logging.getLogger("tfinvert")
COURSE_CLASSES = ("tarantula", "tick", "Yorkshire terrier", "oboe", "gorilla", "hourglass")


@define
class Settings(ResumableSettings, ClassifierSettings):
    """What is made, and how"""

    positional: ClassVar[tuple[str, ...]] = ("classes", "network")
    weights_stay = True
    # The defaults are those of CS231n, assignment 3, with its six classes.
    model: str = changed(ClassifierSettings, "model", default="squeezenet1.1")
    classes: tuple[str, ...] | None = setting(
        default=None,
        doc="The classes to visualize, by index, name or WordNet id. Default: the six of the course for the classes of "
        "ImageNet, else the first six.",
        aliases=("class",),
    )
    layers: tuple[str, ...] = setting(default=(), doc="A layer whose --channels are visualized instead of classes.")
    channels: tuple[int, ...] = setting(
        default=(), doc="The channels of --layers to visualize, separated by commas.", at_least=0
    )
    neuron: bool = setting(default=False, doc="Visualize only the neuron in the middle of each channel.")
    recipe: str = setting(
        default="course",
        doc="course: normalized ascent on pixels, with jitter and blur. fourier: Adam on a decorrelated spectrum, seen through "
        "jitter, rotations and changes of size.",
        choices=tuple(recipes.RATES),
    )
    steps: int = setting(default=100, doc="Number of steps.", at_least=1)
    learning_rate: float | None = setting(
        default=None, doc="Step size. Default: 25 for the course's recipe, 0.05 for fourier.", above=0
    )
    l2_weight: float = setting(
        default=1e-3, doc="Weight of the sum of squares in normalized pixels, in the course's recipe.", at_least=0
    )
    jitter: int = setting(
        default=17,
        doc="Number of places along each axis at which the network may see the image, another one in each step.",
        at_least=1,
    )
    blur_every: int = setting(
        default=10, doc="Number of steps between blurs in the course's recipe. 0 means no blur.", at_least=0
    )
    blur_deviation: float = setting(default=0.5, doc="Standard deviation of that blur, in pixels.", above=0)

    def check(self) -> None:
        super().check()
        if len(self.layers) > 1:
            raise InputError(f"--layers names {len(self.layers)} layers; --experiment=class_vis expects one, with --channels")
        if bool(self.layers) != bool(self.channels):
            raise InputError("--layers and --channels go together, as in --layers=fire8 --channels=12,40; else give --classes")
        if self.neuron and not self.layers:
            raise InputError("--neuron expects a layer and its channels, as in --layers=fire8 --channels=12,40")
        if self.classes == () and not self.layers:
            raise InputError("--classes is empty; expected at least one, such as --classes=gorilla or --classes=0")

    def layers_needed(self) -> tuple[str, ...]:
        return self.layers or ("scores",)

    def how_to_go_on(self) -> str:
        return super().how_to_go_on() if self.recipe == "fourier" else ""  # the course's recipe has no checkpoints

    def rate(self) -> float:
        """The learning rate; the recipe's own where none is given."""
        return recipes.RATES[self.recipe] if self.learning_rate is None else self.learning_rate


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class ClassVisResult(Result):
    """Images of classes, channels or neurons.

    Attributes:
      targets: for each image what it shows, its `index`, the `score` that it reached, and the `probability` of a class.
      network: the name of the network.
      seconds: the time that the images took.
      peak_memory_mb: the largest resident memory of the process.
    """

    targets: tuple[dict[str, Any], ...]
    network: str
    seconds: float
    peak_memory_mb: float

    def figures(self) -> dict[str, Any]:
        return {"targets": list(self.targets), "seconds": self.seconds, "peak_memory_mb": self.peak_memory_mb}

    def write(self, directory: RunDirectory, info: dict[str, Any]) -> None:
        """Writes each image, and sheet.png with all of them."""
        from tfinvert.reports import sheet

        cells = []
        for row, (target, image) in enumerate(zip(self.targets, self.images, strict=True)):
            path = directory.images / f"class-{row:02d}.png"
            image_files.save(path, image)
            reached = f"probability {target['probability']:.4f}" if "probability" in target else f"{target['score']:.3g}"
            cells.append((path, f"{target['target']}: {reached}"))
        recipe = f"{self.settings['recipe']}, {self.settings['steps']} steps"
        header = [f"{self.network}: what it takes for each, {recipe}", sheet.describe_network(info)]
        columns = 3 if len(cells) in (3, 5, 6, 9) else 4
        sheet.write_side_by_side(directory.sheet, header, cells, min(len(cells), columns))


def prepare(settings: Settings, network: Network) -> None:
    """Refuses classes that the network does not have before its conversion starts."""
    if not settings.layers:
        _classes(settings, network)
    network.prepare(settings.layers_needed())


def check(settings: Settings, network: Network) -> None:
    """Refuses channels that the network does not have, and neurons where they have no place in the image."""
    (layer,) = settings.layers_needed()
    shape = network.layer(layer).shape
    for channel in settings.channels:
        if channel >= shape[-1]:
            raise InputError(f"--channels={channel} is beyond --layers={layer}; expected 0 to {shape[-1] - 1}")
    if settings.neuron and len(shape) != 3:
        raise InputError(f"--layers={layer} has no place in the image; --neuron expects features [height, width, channels]")


def run(settings: Settings, network: Network, directory: RunDirectory | None, progress: bool) -> ClassVisResult:
    """Makes an image for each class or channel of the settings, all in one batch."""
    import tensorflow as tf

    from tfinvert.networks import classifier
    from tfinvert.objectives import attacks, terms
    from tfinvert.runs import provenance

    started = time.perf_counter()
    (layer,) = settings.layers_needed()
    indices, labels = _targets(settings, network)
    if settings.classes is None and not settings.layers:
        log.info("no --classes are given; these are made: %s", ", ".join(labels))
    term = terms.score(layer, indices, neuron=settings.neuron) if settings.layers else _class_score(indices)
    unrounded, history = recipes.RECIPES[settings.recipe](settings, network, term, len(indices), directory, progress)
    image = attacks.as_written(unrounded)
    features = network.cut((layer,))(tf.constant(image), training=False)
    scores = -term.value(tf.constant(image), features).numpy()
    targets: list[dict[str, Any]] = [
        {"target": label, "index": index, "score": float(score)}
        for label, index, score in zip(labels, indices, scores, strict=True)
    ]
    if not settings.layers:
        scores = classifier.by_class(features[layer])
        probabilities = tf.exp(classifier.log_probabilities(scores, network.classes.activation)).numpy()
        for row, target in enumerate(targets):
            target["probability"] = float(probabilities[row, target["index"]])
    for target in targets:
        if settings.layers and target["score"] <= 0:
            log.warning(
                "%s does not respond: its score is %.3g after %d steps; try another --recipe, more --steps, or another channel",
                *(target["target"], target["score"], settings.steps),
            )
    return ClassVisResult(
        images=image,
        targets=tuple(targets),
        network=network.name,
        weights=network.weights,
        history=history,
        settings=dataclasses.asdict(settings),
        seconds=time.perf_counter() - started,
        peak_memory_mb=provenance.peak_memory_mb(),
    )


def _class_score(indices: list[int]) -> Term:
    """The term that makes the score of each image's own class large."""
    from tfinvert.networks import classifier
    from tfinvert.objectives.terms import Term

    def value(image: tf.Tensor, features: Mapping[str, tf.Tensor]) -> tf.Tensor:
        return -classifier.of_classes(classifier.by_class, indices)(features["scores"])

    return Term("score", 1.0, value, ("scores",))


def _targets(settings: Settings, network: Network) -> tuple[list[int], list[str]]:
    """The classes or channels, and what they are called."""
    (layer,) = settings.layers_needed()
    if not settings.layers:
        indices = _classes(settings, network)
        return indices, [network.classes.name(index) for index in indices]
    what = "neuron" if settings.neuron else "channel"
    return list(settings.channels), [f"{layer}, {what} {channel}" for channel in settings.channels]


def _classes(settings: Settings, network: Network) -> list[int]:
    """The indices of the classes; raises InputError for one that the network does not have."""
    classes = network.classes
    if settings.classes is None and not classes.is_imagenet:
        return list(range(min(len(COURSE_CLASSES), classes.count)))
    return classes.indices(COURSE_CLASSES if settings.classes is None else settings.classes)
