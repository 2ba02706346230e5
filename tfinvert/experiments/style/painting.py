"""Style transfer: the terms of its loss, its images at each size, where it starts."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

from tfinvert import images as image_files
from tfinvert.objectives import regularizers
from tfinvert.objectives import style as style_formulas
from tfinvert.objectives.terms import Term
from tfinvert.optimization.optimizers import Lbfgs

if TYPE_CHECKING:
    from tfinvert.experiments.style import Scale, Settings
    from tfinvert.networks.network import Network
    from tfinvert.runs.directory import RunDirectory


def build_terms(settings: Settings, targets: Mapping[str, Any]) -> list[Term]:
    """The terms of CS231n's loss that have a weight: `content`, `style`, `tv`.

    Args:
      settings: the weights and layers.
      targets: "content" -> features [1, h, w, channels]; "style" -> pairs of each style image's share and its Gram matrices by
        layer.
    """
    (content_layer,) = settings.layers
    terms = []
    if settings.content_weight:
        terms.append(
            Term(
                "content",
                settings.content_weight,
                lambda image, features: style_formulas.content_loss(features[content_layer], targets["content"]),
                (content_layer,),
            )
        )
    if any(settings.style_weights):

        def style_value(image: tf.Tensor, features: Mapping[str, tf.Tensor]) -> tf.Tensor:
            own = [features[layer] for layer in settings.style_layers]
            return tf.add_n(
                [share * style_formulas.style_loss(own, grams, settings.style_weights) for share, grams in targets["style"]]
            )

        terms.append(Term("style", 1.0, style_value, settings.style_layers))
    if settings.tv_weight:
        # The image as the network gets it, in units of ImageNet's standard deviation.
        terms.append(
            Term(
                "tv",
                settings.tv_weight,
                lambda image, features: regularizers.total_variation(image_files.normalized(image), "l2"),
            )
        )
    return terms


def describe_scale(number: int | None) -> Callable[..., dict[str, int]]:
    """What a line of metrics says beside loss and terms: the number of the size, where there are several."""
    return lambda snapshot: {} if number is None else {"scale": number}


def load_images(settings: Settings, scale: Scale) -> tuple[np.ndarray, list[np.ndarray]]:
    """The content and the style images at a size, each [1, height, width, 3]."""
    pairs = zip(settings.style_images, scale.style_sizes, strict=True)
    styles = [image_files.load(path, size, "squash") for path, size in pairs]  # the sizes are the images' own, but for rounding
    return image_files.load(settings.image[0], scale.size, "squash"), styles


def prepare_images(settings: Settings, scale: Scale) -> tuple[np.ndarray, list[np.ndarray]]:
    """The content and the style images at a size; only their luminance where the content's color is kept."""
    content, styles = load_images(settings, scale)
    if settings.keep_color:
        content = image_files.luminance(content)
        styles = [image_files.with_statistics_of(image_files.luminance(style), content) for style in styles]
    return content, styles


def compute_targets(
    settings: Settings, network: Network, model: keras.Model, content: np.ndarray, styles: list[np.ndarray]
) -> dict[str, Any]:
    """The target features of the content, and the Gram matrices of each style image, as `build_terms` takes them."""
    (content_layer,) = settings.layers
    targets: dict[str, Any] = {"content": model(tf.constant(content), training=False)[content_layer], "style": []}
    for share, style in zip(settings.shares(), styles, strict=True):
        own_model = network.at_size((style.shape[1], style.shape[2])).cut(settings.layers_needed())
        features = own_model(tf.constant(style), training=False)
        targets["style"].append((share, [style_formulas.gram_matrix(features[layer]) for layer in settings.style_layers]))
    return targets


def first_image(settings: Settings, scale: Scale, content: np.ndarray, coarser: np.ndarray | None) -> np.ndarray:
    """The image that a size begins with: the result of the coarser size, or what `--init` names."""
    if coarser is not None:
        return tf.image.resize(coarser, scale.size, "bicubic").numpy()
    if settings.init == "content":
        return content
    if settings.init == "uniform":  # the course's noise, from 0 to 1 in units of the standard deviation
        uniform = np.random.default_rng(settings.seed).uniform(0, 1, content.shape)
        return (uniform * image_files.COLOR_DEVIATION + image_files.MEAN_COLOR).astype(np.float32)
    return image_files.initial_image(settings.init, scale.size, settings.seed, "squash")


def build_optimizer(settings: Settings) -> Any:
    """The optimizer as `Problem.optimizer` has it."""
    if settings.optimizer == "lbfgs":
        return Lbfgs()
    rate: Any = settings.learning_rate
    if settings.decay_boundaries:
        boundaries = [boundary - 1 for boundary in settings.decay_boundaries]  # Keras' are inclusive
        rates = [rate, *(rate * factor for factor in settings.decay_factors)]
        rate = keras.optimizers.schedules.PiecewiseConstantDecay(boundaries, rates)
    return functools.partial(keras.optimizers.Adam, rate, epsilon=settings.epsilon)


def write_inputs(settings: Settings, directory: RunDirectory, content: np.ndarray, styles: list[np.ndarray]) -> None:
    """Writes the content and the style images, and the checksums of their pixels."""
    image_files.save(directory.target, content)
    checksums = {}
    for number, (path, style) in enumerate(zip(settings.style_images, styles, strict=True)):
        image_files.save(directory.images / f"style-{number}.png", style)
        checksums[path] = hashlib.sha256(style.tobytes()).hexdigest()
    own = {"image_sha256": hashlib.sha256(content.tobytes()).hexdigest(), "style_images": checksums}
    directory.write_info({**directory.read_info(), **own})
