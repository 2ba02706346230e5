"""A run as the list of everything that a port decides, which can be changed one by one and computed again."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from tfinvert.comparison.diagnosis.updates import Update
from tfinvert.networks.conversion.request_graph import cut_graph, with_weights
from tfinvert.networks.names import layer_names
from tfinvert.networks.network import Network
from tfinvert.networks.onnx import Graph
from tfinvert.networks.preprocessing import Preprocessing, parse
from tfinvert.optimization.schedules import build_schedule
from tfinvert.settings.inversion import Resolved
from tfinvert.system.errors import InputError


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Everything that a run on pixels is made of.

    Attributes:
      settings: the loss, with a value for everything.
      graph: the network with its batch norms, which computes the layers and some of their neighbors.
      layers: layer name -> tensor of the graph.
      places: likewise for every layer that has a name and is in the graph, in its order.
      preprocessing: from an image to the network's input.
      arrange: what is done to the input's axes, a key of `ARRANGEMENTS`.
      target, start: images [1, H, W, 3].
      feature_factor, tv_factor: what a port multiplies the terms of features, and of total variation, with.
      update: the update rule.
      rates: the learning rate of each update.
      clip: whether pixels are clipped to [0, 1] after each update.
      rounded: the number type that weights and features are rounded to; empty for none.
      target_moves: whether the target is updated like the image, because gradients go through it.
      own_scale: whether normalized errors are divided by the mean square of the image's own features.
    """

    settings: Resolved
    graph: Graph
    layers: Mapping[str, str]
    places: Mapping[str, str]
    preprocessing: Preprocessing
    target: np.ndarray
    start: np.ndarray
    update: Update
    rates: np.ndarray
    clip: bool
    arrange: str = ""
    feature_factor: float = 1.0
    tv_factor: float = 1.0
    rounded: str = ""
    target_moves: bool = False
    own_scale: bool = False

    def change(self, **changes: Any) -> Recipe:
        """The same with some fields changed; names of settings are changed there."""
        own = {field.name for field in dataclasses.fields(self)}
        inner = {name: changes.pop(name) for name in list(changes) if name not in own}
        settings = dataclasses.replace(self.settings, **inner) if inner else self.settings
        return dataclasses.replace(self, settings=settings, **changes)


# Key -> what a port that confuses the order of axes makes of its input [1, H, W, channels].
ARRANGEMENTS: dict[str, Callable[[Any], Any]] = {
    "": lambda image: image,
    "nchw_as_nhwc": lambda image: tf.reshape(tf.transpose(image, (0, 3, 1, 2)), image.shape),
    "nhwc_as_nchw": lambda image: tf.transpose(tf.reshape(image, (1, image.shape[3], *image.shape[1:3])), (0, 2, 3, 1)),
    "transposed": lambda image: tf.transpose(image, (0, 2, 1, 3)),
    "flipped": lambda image: tf.reverse(image, [1]),
}


def from_settings(settings: Resolved, network: Network, target: np.ndarray, start: np.ndarray, updates: int) -> Recipe:
    """The recipe of a run of ours.

    Args:
      settings: with the numbers that the preset has chosen (`presets.resolve`).
      network: the network.
      target, start: images [1, H, W, 3].
      updates: how many updates are looked at.

    Raises:
      InputError: the run has a part that recipes do not have.
    """
    _check(settings)
    names = list(network.layers)
    near = [names[n + 1] for n, name in enumerate(names[:-1]) if name in settings.layers]
    request = dataclasses.replace(network.request, layers=tuple(dict.fromkeys((*settings.layers, *near))))
    part, tensors = cut_graph(request)
    schedule = build_schedule(settings)
    rates = [float(schedule(step)) if callable(schedule) else float(schedule) for step in range(updates + 1)]
    update = {
        "adam": Update("adam", betas=(0.9, settings.beta_2), epsilon=settings.epsilon),
        "sgd": Update("momentum", momentum=settings.momentum),
    }[settings.optimizer]
    return Recipe(
        settings,
        with_weights(request, part),
        {name: tensors[name] for name in settings.layers},
        {name: tensor for name, tensor in layer_names(part).items() if tensor in part.producers()},
        parse(request.preprocessing),
        target,
        start,
        update,
        np.array(rates),
        settings.parameterization == "clip",
    )


def _check(settings: Resolved) -> None:
    """Raises InputError for a run that recipes cannot describe."""
    expected = {"parameterization": ("free", "clip"), "optimizer": ("adam", "sgd"), "backoff": (False,), "seeds": (1,)}
    expected |= {"momentum_reset": (False,), "jitter": (None, 1)}
    for name, values in expected.items():
        if getattr(settings, name) not in values:
            words = " or ".join(str(value) for value in values if value is not None)
            raise InputError(
                f"the reference has --{name}={getattr(settings, name)}; --experiment=diagnose expects {words}, as in the "
                "homework's flagfiles"
            )
