"""crowsonkb's multi-scale Adam: sizes that grow by the root of 2, moments that grow along, and an average of the iterates."""

from __future__ import annotations

from typing import Any

import numpy as np

from tfinvert.experiments.benchmark.methods import Task

SOURCE = (
    "https://github.com/crowsonkb/style-transfer-pytorch: Adam at a rate of 0.02, averages with a decay of 0.99, total "
    "variation with a weight of 2 beside a content weight of 0.015. The features are those of the full size only, so that a "
    "smaller image is enlarged on its way into the network"
)
ALONE = True
FIRST_STEPS, STEPS = 1000, 500  # at the smallest size, and at each of the others
RATE, DECAY, BETAS, EPSILON = 0.02, 0.99, (0.9, 0.999), 1e-8
CONTENT_WEIGHT, TV_WEIGHT = 0.015, 2.0
SMALLEST = 1 / 4  # of the full size, as 128 is of 512


def run(task: Task) -> None:
    """Descends at each size in turn."""
    import tensorflow as tf

    (targets,) = task.features
    sizes = scales(min(task.network.size))
    gradient = _traced(task.network, task.layer)
    random = np.random.default_rng(task.seed)
    image = tf.constant(0.5 + random.uniform(0, 1 / 255, (1, sizes[0], sizes[0], 3)), tf.float32)
    moments: tuple[Any, Any] = (tf.zeros_like(image), tf.zeros_like(image))
    count = 0
    for number, size in enumerate(sizes):
        image = tf.clip_by_value(tf.image.resize(image, (size, size), "bicubic"), 0, 1)
        moments = (
            tf.image.resize(moments[0], (size, size), "bicubic"),
            tf.nn.relu(tf.image.resize(moments[1], (size, size))),
        )
        average, weight = (1 - DECAY) * image, 1 - DECAY
        for _ in range(STEPS if number else FIRST_STEPS):
            count += 1
            image, moments = step(image, gradient(image, targets[task.layer]), moments, count)
            average, weight = DECAY * average + (1 - DECAY) * image, DECAY * weight + (1 - DECAY)
            shown = average / weight
            task.clock.step(lambda: tf.image.resize(shown, task.network.size, "bicubic").numpy())  # noqa: B023 - called at once
        image = average / weight
    task.clock.take(lambda: tf.image.resize(image, task.network.size, "bicubic").numpy())


def scales(side: int) -> list[int]:
    """The sizes in pixels, each larger than the one before by the root of 2, up to `side`.

    Example:
      >>> scales(224)
      [56, 79, 112, 158, 224]
    """
    sizes, number = [], 0
    while (size := round(side / 2 ** (number / 2))) >= side * SMALLEST:
        sizes.append(size)
        number += 1
    return sizes[::-1]


def step(image: Any, gradient: Any, moments: tuple[Any, Any], count: int) -> tuple[Any, tuple[Any, Any]]:
    """One step of Adam with the image clipped to [0, 1]: the new image and moments.

    Args:
      image, gradient: [1, size, size, 3].
      moments: the running means of the gradient and of its square.
      count: the number of this step, from 1; it is not reset between sizes.
    """
    import tensorflow as tf

    first = BETAS[0] * moments[0] + (1 - BETAS[0]) * gradient
    second = BETAS[1] * moments[1] + (1 - BETAS[1]) * gradient**2
    mean, square = first / (1 - BETAS[0] ** count), second / (1 - BETAS[1] ** count)
    return tf.clip_by_value(image - RATE * mean / (tf.sqrt(square) + EPSILON), 0, 1), (first, second)


def _traced(network: Any, layer: str) -> Any:
    """(image [1, size, size, 3], target features) -> the gradient of the loss, traced once for each size."""
    import tensorflow as tf

    def gradient(image: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(image)
            difference = model(tf.image.resize(image, network.size, "bicubic"), training=False)[layer] - target
            content = tf.reduce_sum(difference**2) / (tf.reduce_sum(tf.abs(difference)) + 1e-8)
            down, across = image[:, 1:] - image[:, :-1], image[:, :, 1:] - image[:, :, :-1]
            pixels = tf.cast(tf.size(image), tf.float32)
            smooth = (tf.reduce_sum(down**2) + tf.reduce_sum(across**2)) / pixels
            loss = CONTENT_WEIGHT * content + TV_WEIGHT * smooth
        return tape.gradient(loss, image)

    key = __name__, layer
    if key not in network.kept:
        model = network.cut((layer,))
        network.kept[key] = tf.function(gradient)
    return network.kept[key]
