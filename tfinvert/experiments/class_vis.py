"""Make images of what the network takes for a class, or of what a channel or a neuron responds to.

Example:
  >>> import tfinvert
  >>> tfinvert.class_vis("gorilla").targets[0]["probability"] > 0.99
  True
"""

from __future__ import annotations

import dataclasses
import functools
import time
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tfinvert import images as image_files
from tfinvert.errors import InputError
from tfinvert.networks import imagenet
from tfinvert.runs.result import Result
from tfinvert.settings.fields import changed, define, setting
from tfinvert.settings.groups import NetworkSettings, ResumableSettings

if TYPE_CHECKING:
    import tensorflow as tf

    from tfinvert.networks.network import Network
    from tfinvert.objectives.terms import Term
    from tfinvert.runs.directory import RunDirectory

RATES = {"course": 25.0, "fourier": 0.05}


@define
class Settings(ResumableSettings, NetworkSettings):
    """What is made, and how"""

    positional: ClassVar[tuple[str, ...]] = ("classes", "network")
    weights_stay = True
    # The defaults are those of CS231n, assignment 3, with its six classes.
    model: str = changed(NetworkSettings, "model", default="squeezenet1.1")
    classes: tuple[str, ...] = setting(
        default=("tarantula", "tick", "Yorkshire terrier", "oboe", "gorilla", "hourglass"),
        doc="The classes to visualize, by name, index or WordNet id.",
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
        choices=tuple(RATES),
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
        if not (self.layers or self.classes):
            raise InputError("--classes is empty; expected at least one, such as gorilla")
        for name in self.classes:
            imagenet.find(name)

    def layers_needed(self) -> tuple[str, ...]:
        return self.layers or ("scores",)

    def how_to_go_on(self) -> str:
        return super().how_to_go_on() if self.recipe == "fourier" else ""  # the course's recipe has no checkpoints

    def rate(self) -> float:
        """The learning rate; the recipe's own where none is given."""
        return RATES[self.recipe] if self.learning_rate is None else self.learning_rate


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
        header = [f"{self.network}: what it takes for each, {recipe}", f"weights: {self.weights}"]
        columns = 3 if len(cells) in (3, 5, 6, 9) else 4
        sheet.write_side_by_side(directory.sheet, header, cells, min(len(cells), columns))


def check(settings: Settings, network: Network) -> None:
    """Refuses classes and channels that the network does not have, and neurons where they have no place in the image."""
    (layer,) = settings.layers_needed()
    shape = network.layer(layer).shape
    if not settings.layers:
        imagenet.indices(settings.classes, shape[-1])
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
    term = terms.score(layer, indices, neuron=settings.neuron)
    recipe = _course if settings.recipe == "course" else _fourier
    unrounded, history = recipe(settings, network, term, len(indices), directory, progress)
    image = attacks.as_written(unrounded)
    features = network.cut((layer,))(tf.constant(image), training=False)
    scores = -term.value(tf.constant(image), features).numpy()
    targets: list[dict[str, Any]] = [
        {"target": label, "index": index, "score": float(score)}
        for label, index, score in zip(labels, indices, scores, strict=True)
    ]
    if not settings.layers:
        probabilities = tf.nn.softmax(classifier.flat(features[layer])).numpy()
        for row, target in enumerate(targets):
            target["probability"] = float(probabilities[row, target["index"]])
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


def course_step(image: tf.Tensor, gradient: tf.Tensor, length: float, weight: float) -> tf.Tensor:
    """A step of normalized ascent along d (score - weight ||X||^2) / dX, and back to values that an image can have.

    CS231n, assignment 3: X <- X + length g / ||g||_2 in units of ImageNet's standard deviation from its mean, for each image by
    itself, and then clamped to black and white.

    Args:
      image: [batch, H, W, 3] in [0, 1].
      gradient: the gradient of the score with respect to the image.
      length, weight: as above.
    """
    import tensorflow as tf

    deviation = np.asarray(image_files.COLOR_DEVIATION, np.float32)
    along = gradient * deviation - 2 * weight * image_files.normalized(image)
    norm = tf.sqrt(tf.reduce_sum(tf.square(along), axis=[1, 2, 3], keepdims=True))
    return tf.clip_by_value(image + length * along / tf.maximum(norm, 1e-30) * deviation, 0.0, 1.0)


def _course(
    settings: Settings, network: Network, term: Term, count: int, directory: RunDirectory | None, progress: bool
) -> tuple[np.ndarray, tuple[dict[str, Any], ...]]:
    """Normalized ascent from noise, with jitter that is undone, and a blur every few steps: the images, and lines of metrics.

    It takes seconds, so that it has no checkpoints and no progress bar.
    """
    import tensorflow as tf

    from tfinvert.images import transforms

    model = network.cut(settings.layers_needed())
    noise = np.random.default_rng(settings.seed).standard_normal((count, *network.size, 3))
    image = np.clip(noise * image_files.COLOR_DEVIATION + image_files.MEAN_COLOR, 0, 1).astype(np.float32)

    @tf.function
    def update(image: tf.Tensor, step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(image)
            seen = transforms.jitter(image, settings.jitter, settings.seed, step)
            losses = term.value(image, model(seen, training=False))
        return course_step(image, -tape.gradient(losses, image), settings.rate(), settings.l2_weight), losses

    lines: list[dict[str, Any]] = []
    for step in range(settings.steps):
        moved, losses = update(tf.constant(image), tf.constant(step, tf.int64))
        if step % settings.save_every == 0:
            loss = float(losses.numpy().sum())
            lines.append({"step": step, "loss": loss, "learning_rate": settings.rate(), "score": loss})
            if directory is not None:
                directory.append_metrics(lines[-1])
        image = moved.numpy()
        if settings.blur_every and step % settings.blur_every == 0:
            image = image_files.blurred(image, settings.blur_deviation)
    return image, tuple(lines)


def _fourier(
    settings: Settings, network: Network, term: Term, count: int, directory: RunDirectory | None, progress: bool
) -> tuple[np.ndarray, tuple[dict[str, Any], ...]]:
    """Adam on a decorrelated spectrum, the network looking through random transforms: the images, and lines of metrics."""
    import keras

    from tfinvert.images import parameterizations, transforms
    from tfinvert.optimization import solver, state
    from tfinvert.runs import recording

    problem = state.Problem(
        network.cut(settings.layers_needed()),
        (term,),
        parameterizations.fourier(network.size),
        functools.partial(keras.optimizers.Adam, settings.rate(), epsilon=1e-8),
        transforms.robust(settings.jitter, settings.seed),
    )
    start = [image_files.initial_image("grey", network.size, settings.seed + number) for number in range(count)]
    variables = state.init(problem, np.concatenate(start))
    (outcome,) = recording.record(
        solver.Solver([problem], [variables]),
        [recording.Recording(directory)],
        settings.steps,
        settings.save_every,
        resume=settings.resume,
        label="class_vis",
        progress=progress,
    )
    outcome.raise_if_any()
    history = outcome.lines if directory is None else tuple(directory.read_metrics())
    return state.current_image(problem, variables), history


def _targets(settings: Settings, network: Network) -> tuple[list[int], list[str]]:
    """The classes or channels, and what they are called."""
    (layer,) = settings.layers_needed()
    if not settings.layers:
        count = network.layer(layer).shape[-1]
        indices = imagenet.indices(settings.classes, count)
        return indices, [imagenet.name(index, count) for index in indices]
    what = "neuron" if settings.neuron else "channel"
    return list(settings.channels), [f"{layer}, {what} {channel}" for channel in settings.channels]
