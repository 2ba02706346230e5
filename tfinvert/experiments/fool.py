"""Change an image until the network takes it for something else.

Example:
  >>> import tfinvert
  >>> result = tfinvert.fool("chelsea", classes="gorilla", attack="pgd", bound=2)
  >>> result.targets[0]["fooled"]
  True
"""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tfinvert import images as image_files
from tfinvert.runs.result import Result
from tfinvert.settings.fields import changed, define, setting
from tfinvert.settings.groups import ClassifierSettings, OneImageSettings, RunSettings
from tfinvert.system.errors import InputError

if TYPE_CHECKING:
    import keras

    from tfinvert.networks.classes import Classes
    from tfinvert.networks.network import Network
    from tfinvert.runs.directory import RunDirectory

log = logging.getLogger("tfinvert")


@define
class Settings(RunSettings, OneImageSettings, ClassifierSettings):
    """The attack"""

    positional: ClassVar[tuple[str, ...]] = ("image", "classes", "network")
    weights_stay = True
    # The defaults are the constants of CS231n, assignment 3.
    seed: int = changed(RunSettings, "seed", default=12345, doc="Has no effect: no random numbers are drawn.")
    model: str = changed(ClassifierSettings, "model", default="squeezenet1.1")
    classes: tuple[str, ...] | None = setting(
        default=None,
        doc="The classes that the image is to be taken for, by index, name or WordNet id; each gives one image. "
        "An empty value means any other class than now. Default: stingray for the classes of ImageNet, else the most probable "
        "class that the network does not see in the image.",
        aliases=("class",),
    )
    attack: str = setting(
        default="gradient",
        doc="gradient: steps along the gradient of the score, as in CS231n. fgsm: one signed step. pgd: many, within --bound.",
        choices=("gradient", "fgsm", "pgd"),
    )
    steps: int = setting(
        default=100, doc="The largest number of steps. The attack stops when the network is fooled.", at_least=1
    )
    learning_rate: float = setting(
        default=1.0, doc="The length of a step: in normalized pixels for gradient, in levels of 1/255 for pgd.", above=0
    )
    bound: float = setting(
        default=8.0,
        doc="How far fgsm and pgd may move any value, in levels of 1/255. The image file keeps to it.",
        at_least=1,
        at_most=255,
    )

    def layers_needed(self) -> tuple[str, ...]:
        return ("scores",)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class FoolResult(Result):
    """Fooling images, rounded to 8 bits as they are written.

    Attributes:
      original_image: float32 [height, width, 3], rounded likewise.
      original: name, index and probability of the class that the network sees in it.
      targets: for each image its target, whether it `fooled` the network, after how many `steps`, the probabilities before and
        after, and the `largest_change` in levels of 1/255.
      network: the name of the network.
      attack: the name of the attack.
      seconds: the time that the attack took.
      peak_memory_mb: the largest resident memory of the process.
    """

    original_image: np.ndarray
    original: dict[str, Any]
    targets: tuple[dict[str, Any], ...]
    network: str
    attack: str
    seconds: float
    peak_memory_mb: float

    @property
    def fooled(self) -> str:
        """How many of the images fool the network."""
        return f"{sum(target['fooled'] for target in self.targets)} of {len(self.targets)}"

    def figures(self) -> dict[str, Any]:
        return {
            "original": self.original,
            "fooled": self.fooled,
            "targets": list(self.targets),
            "seconds": self.seconds,
            "peak_memory_mb": self.peak_memory_mb,
        }

    def write(self, directory: RunDirectory, info: dict[str, Any]) -> None:
        """Writes the original, each fooling image, the difference, and ten times the difference; sheet.png with all of them."""
        from tfinvert.reports import sheet

        image_files.save(directory.target, self.original_image)
        cells = []
        for row, (target, image) in enumerate(zip(self.targets, self.images, strict=True)):
            difference = image - self.original_image
            before = "" if target["fooled"] else f"still {target['seen']}; "
            after = f"{target['target']} {target['probability_after']:.3f} (from {target['probability_before']:.0e})"
            parts = {
                "fooled": (image, before + after),
                "difference": (0.5 + difference, f"difference: {target['largest_change']}/255 at most"),
                "difference-x10": (0.5 + 10 * difference, f"difference x 10; {target['steps']} steps"),
            }
            cells.append((directory.target, f"{self.original['name']} {self.original['probability']:.3f}"))
            for name, (content, caption) in parts.items():
                path = directory.images / f"{row:02d}-{name}.png"
                image_files.save(path, content)
                cells.append((path, caption))
        header = [f"{self.network}: fooled {self.fooled} ({self.attack}); probabilities below", sheet.describe_network(info)]
        sheet.write_side_by_side(directory.sheet, header, cells, 4)


def prepare(settings: Settings, network: Network) -> None:
    """Refuses classes that the network does not have before its conversion starts."""
    network.classes.indices(settings.classes or ())
    network.prepare(settings.layers_needed())


def check(settings: Settings, network: Network, images: np.ndarray) -> None:
    """Refuses a class that the network sees in the image already."""
    from tfinvert.networks import classifier
    from tfinvert.objectives import attacks

    model = network.cut(settings.layers_needed())
    (seen,) = classifier.probabilities(model, attacks.as_written(images), network.classes.activation)
    _targets(settings, network.classes, seen)


def run(settings: Settings, network: Network, images: np.ndarray) -> FoolResult:
    """Fools the network into each class of the settings, from the same image, all in one batch."""
    from tfinvert.networks import classifier
    from tfinvert.objectives import attacks
    from tfinvert.runs import provenance

    started = time.perf_counter()
    classes = network.classes
    model = network.cut(settings.layers_needed())
    image = attacks.as_written(images)
    before = classifier.probabilities(model, image, classes.activation)[0]
    source, targets = int(before.argmax()), _targets(settings, classes, before)
    if settings.classes is None:
        log.info("no --class is given; the target is %s, with a probability of %.3g now", *_named(classes, targets[0], before))
    original = np.repeat(image, max(len(targets), 1), axis=0)
    written, steps = _fooling(settings, classes, model, original, targets, source)
    after = classifier.probabilities(model, written, classes.activation)
    fooled = _is_fooled(classes, after, targets, source)
    described = tuple(
        _described(classes, row, targets[row] if targets else int(after[row].argmax()), before, after, written, original)
        | {"fooled": bool(fooled[row]), "steps": int(steps[row])}
        for row in range(len(written))
    )
    return FoolResult(
        images=written,
        original_image=image[0],
        original={"name": classes.name(source), "index": source, "probability": float(before[source])},
        targets=described,
        network=network.name,
        attack=settings.attack,
        weights=network.weights,
        settings=dataclasses.asdict(settings),
        seconds=time.perf_counter() - started,
        peak_memory_mb=provenance.peak_memory_mb(),
    )


def _fooling(
    settings: Settings, classes: Classes, model: keras.Model, original: np.ndarray, targets: list[int], source: int
) -> tuple[np.ndarray, np.ndarray]:
    """The images as they are written, and the number of steps that each took."""
    from tfinvert.networks import classifier
    from tfinvert.objectives import attacks

    step = _attack_step(settings, classes, model, targets or [source], 1.0 if targets else -1.0)
    bound = None if settings.attack == "gradient" else settings.bound
    image, steps = original, np.zeros(len(original), int)
    for _ in range(1 if settings.attack == "fgsm" else settings.steps):
        seen = classifier.probabilities(model, attacks.as_written(image, original, bound), classes.activation)
        left = ~_is_fooled(classes, seen, targets, source)
        if not left.any():
            break
        image = np.where(left[:, None, None, None], step(image, original), image)
        steps += left
    return attacks.as_written(image, original, bound), steps


def _attack_step(
    settings: Settings, classes: Classes, model: keras.Model, indices: list[int], sign: float
) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """One update of all images: (image, original) -> image. Without a target, what the network sees now is to shrink."""
    import tensorflow as tf

    from tfinvert.networks import classifier
    from tfinvert.objectives import attacks

    scores = classifier.class_scores(model)

    def chances(image: tf.Tensor) -> tf.Tensor:
        return classifier.log_probabilities(scores(image), classes.activation)

    own_score = classifier.of_classes(scores if settings.attack == "gradient" else chances, indices)

    @tf.function(autograph=False)
    def slope(image: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(image)
            total = tf.reduce_sum(sign * own_score(image))
        return tape.gradient(total, image)

    def step(image: np.ndarray, original: np.ndarray) -> np.ndarray:
        gradient = slope(tf.constant(image)).numpy()
        if settings.attack == "gradient":
            return attacks.normalized_ascent(image, gradient, settings.learning_rate)
        length = settings.bound if settings.attack == "fgsm" else settings.learning_rate
        return attacks.signed_step(image, gradient, original, length, settings.bound)

    return step


def _targets(settings: Settings, classes: Classes, before: np.ndarray) -> list[int]:
    """The classes that the image is to be taken for; raises InputError for one that is seen in it, [classes], already."""
    source = int(before.argmax())
    if settings.classes is None and not classes.is_imagenet:
        others = np.where(classes.seen(before), -1.0, before)
        if others.max() < 0:
            raise InputError("the network sees every class in the image; give a --class, or another image")
        return [int(others.argmax())]
    targets = classes.indices(("stingray",) if settings.classes is None else settings.classes)
    seen = classes.seen(before)
    for target in targets:
        if seen[target]:
            raise InputError(f"the network takes the image for {classes.name(target)!r} already; expected another --class")
    if not targets and not seen[source]:
        name, probability = _named(classes, source, before)
        raise InputError(
            f"the network sees none of its classes in the image, {name} at most with a probability of {probability:.3g}; "
            "give the --class that it is to see"
        )
    return targets


def _is_fooled(classes: Classes, probabilities: np.ndarray, targets: list[int], source: int) -> np.ndarray:
    """Whether its target is seen in each image, or, without targets, what was seen is not seen any more; [rows]."""
    seen = classes.seen(probabilities)
    return seen[np.arange(len(seen)), targets] if targets else ~seen[:, source]


def _named(classes: Classes, index: int, probabilities: np.ndarray) -> tuple[str, float]:
    return f"{classes.name(index)!r} (index {index})", float(probabilities[index])


def _described(
    classes: Classes, row: int, target: int, before: np.ndarray, after: np.ndarray, written: np.ndarray, original: np.ndarray
) -> dict[str, Any]:
    """What run.json says about an image."""
    from tfinvert.objectives import attacks

    return {
        "target": classes.name(target),
        "target_index": target,
        "probability_before": float(before[target]),
        "probability_after": float(after[row, target]),
        "seen": classes.name(int(after[row].argmax())),
        "largest_change": int(attacks.largest_change(written, original)[row]),
        "l2_change": float(np.linalg.norm(written[row] - original[row])),
    }
