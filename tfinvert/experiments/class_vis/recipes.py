"""How an image is made that makes a term small: the course's recipe, and that of feature visualization."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np

from tfinvert import images as image_files

if TYPE_CHECKING:
    import tensorflow as tf

    from tfinvert.experiments.class_vis import Settings
    from tfinvert.networks.network import Network
    from tfinvert.objectives.terms import Term
    from tfinvert.runs.directory import RunDirectory

RATES = {"course": 25.0, "fourier": 0.05}
STEPS_WITHOUT_JITTER = 10  # after a step in which a channel was 0


def course_step(image: tf.Tensor, gradient: tf.Tensor, length: float, weight: float | tf.Tensor) -> tf.Tensor:
    """A step of normalized ascent along d (score - weight ||X||^2) / dX, and back to values that an image can have.

    CS231n, assignment 3: X <- X + length g / ||g||_2 in units of ImageNet's standard deviation from its mean, for each image by
    itself, and then clamped to black and white.

    Args:
      image: [batch, H, W, 3] in [0, 1].
      gradient: the gradient of the score with respect to the image.
      length, weight: as above; the weight may also be one for each image, [batch, 1, 1, 1].
    """
    import tensorflow as tf

    deviation = np.asarray(image_files.COLOR_DEVIATION, np.float32)
    along = gradient * deviation - 2 * weight * image_files.normalized(image)
    norm = tf.sqrt(tf.reduce_sum(tf.square(along), axis=[1, 2, 3], keepdims=True))
    return tf.clip_by_value(image + length * along / tf.maximum(norm, 1e-30) * deviation, 0.0, 1.0)


def course(
    settings: Settings, network: Network, term: Term, count: int, directory: RunDirectory | None, progress: bool
) -> tuple[np.ndarray, tuple[dict[str, Any], ...]]:
    """Normalized ascent from noise, with jitter that is undone, and a blur every few steps: the images, and lines of metrics.

    It takes seconds, so that it has no checkpoints and no progress bar.
    """
    import tensorflow as tf

    from tfinvert.images import transforms

    features = network.redirected(settings.layers_needed())
    noise = np.random.default_rng(settings.seed).standard_normal((count, *network.size, 3))
    image = np.clip(noise * image_files.COLOR_DEVIATION + image_files.MEAN_COLOR, 0, 1).astype(np.float32)

    @tf.function(autograph=False)
    def update(image: tf.Tensor, step: tf.Tensor, jittered: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(image)
            moved = transforms.jitter(image, settings.jitter, settings.seed, step)
            seen = tf.where(jittered[:, None, None, None], moved, image)
            losses = term.value(image, features(seen))
        # The gradient of a channel that is 0 comes from a single place, and the squares would outweigh it for good.
        weights = settings.l2_weight * tf.cast(losses != 0, tf.float32)[:, None, None, None]
        return course_step(image, -tape.gradient(losses, image), settings.rate(), weights), losses

    lines: list[dict[str, Any]] = []
    # The number of steps without jitter: what one step gains for a channel that is 0, the next shift would undo.
    waiting = np.zeros(count, np.int64)
    for step in range(settings.steps):
        moved, losses = update(tf.constant(image), tf.constant(step, tf.int64), tf.constant(waiting == 0))
        waiting = np.where(losses.numpy() == 0, STEPS_WITHOUT_JITTER, np.maximum(waiting - 1, 0))
        if step % settings.save_every == 0:
            loss = float(losses.numpy().sum())
            lines.append({"step": step, "loss": loss, "learning_rate": settings.rate(), "score": loss})
            if directory is not None:
                directory.append_metrics(lines[-1])
        image = moved.numpy()
        if settings.blur_every and step % settings.blur_every == 0:
            image = image_files.blurred(image, settings.blur_deviation)
    return image, tuple(lines)


def fourier(
    settings: Settings, network: Network, term: Term, count: int, directory: RunDirectory | None, progress: bool
) -> tuple[np.ndarray, tuple[dict[str, Any], ...]]:
    """Adam on a decorrelated spectrum, the network looking through random transforms: the images, and lines of metrics."""
    import keras

    from tfinvert.images import parameterizations, transforms
    from tfinvert.optimization import solver, state
    from tfinvert.runs import recording

    features = network.redirected(settings.layers_needed())
    problem = state.Problem(
        lambda image, training: features(image),
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


RECIPES = {"course": course, "fourier": fourier}
