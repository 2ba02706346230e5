"""Write what a port of an inversion can check itself against, array by array, without TensorFlow.

Example:
  >>> import tfinvert
  >>> result = tfinvert.reference("astronaut", "resnet18", layers="res2", output_dir="ref")
  >>> result.path
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tfinvert.experiments.invert import Settings as InvertSettings
from tfinvert.settings import flagfiles
from tfinvert.settings.fields import Settings as AnySettings
from tfinvert.settings.fields import define, setting
from tfinvert.settings.groups import WINOGRADS, FolderSettings, HomeworkNetworkSettings, OneImageSettings
from tfinvert.settings.inversion import InversionSettings
from tfinvert.system.errors import InputError

if TYPE_CHECKING:
    from tfinvert.networks.network import Network

UPDATES, IMAGE_EVERY = 50, 10


@define
class Settings(InversionSettings, FolderSettings, OneImageSettings, HomeworkNetworkSettings):
    """The reference"""

    positional: ClassVar[tuple[str, ...]] = ("image", "network", "layers")
    ignores: ClassVar[tuple[type[AnySettings], ...]] = (InvertSettings,)
    has_folder = True
    is_continued = False
    winograd: str | None = setting(
        default="off",
        doc="off computes convolutions of 3x3 as usual, so that the reference has no more rounding than a port. auto computes "
        "them as other experiments do.",
        choices=WINOGRADS,
    )
    every_convolution: bool = setting(
        default=False,
        doc="Also write the features of every convolution up to the layers. This makes the file several times larger.",
        placement=True,
    )

    def check(self) -> None:
        super().check()
        if self.optimizer == "lbfgs" or self.seeds != 1:
            raise InputError(
                "--experiment=reference expects one start and an optimizer with a learning rate: give --seeds=1, and not lbfgs"
            )


@dataclasses.dataclass(frozen=True)
class ReferenceResult:
    """A reference.

    Attributes:
      path: the folder with reference.npz and reference.json.
      arrays: name -> array, as in the file.
    """

    path: Path
    arrays: dict[str, np.ndarray]

    def summary(self) -> str:
        """Where it is, and how large."""
        size = sum(array.nbytes for array in self.arrays.values()) / 2**20
        return f"{len(self.arrays)} arrays, {size:.1f} MB: {self.path / 'reference.npz'}, described in reference.json"


def prepare(settings: Settings, network: Network) -> None:
    """Starts the conversion."""
    network.prepare(settings.layers)


def run(settings: Settings, network: Network) -> ReferenceResult:
    """Computes the arrays and writes them into the output folder."""
    import tensorflow as tf

    from tfinvert import images
    from tfinvert.comparison.diagnosis import bundle
    from tfinvert.comparison.diagnosis.differences import moved, spreads
    from tfinvert.networks.preprocessing import network_input, parse
    from tfinvert.optimization import inversion, presets, state
    from tfinvert.optimization.solver import run_alone

    layers = {name: network.layer(name) for name in settings.layers}
    resolved = presets.resolve(settings, layers, network.size)
    model = network.cut(settings.layers)
    target = images.load(settings.image[0], network.size, settings.resize)
    start = images.initial_image(resolved.init, network.size, resolved.seed, settings.resize)
    targets = {name: model(tf.constant(target), training=False)[name] for name in settings.layers}
    problem = inversion.build_problem(resolved, model, targets, network.size)
    arrays: bundle.Bundle = {"target": target, "start": start}
    arrays["input"] = network_input(start, parse(network.preprocessing)).transpose(0, 2, 3, 1)
    pixels = tf.constant(start)
    with tf.GradientTape() as tape:
        tape.watch(pixels)
        features = model(pixels, training=False)
        values = {term.name: term.value(pixels, features)[0] for term in problem.terms}
        weights = {
            term.name: term.weight(tf.constant(0, tf.int64)) if callable(term.weight) else term.weight for term in problem.terms
        }
        loss = tf.add_n([weights[name] * value for name, value in values.items()])
    arrays |= {f"features/{name}": features[name].numpy() for name in settings.layers}
    arrays |= {f"target_features/{name}": value.numpy() for name, value in targets.items()}
    if settings.every_convolution:
        arrays |= _convolutions(settings, network, start)
    arrays |= {f"terms/{name}": np.array(value.numpy(), np.float64) for name, value in values.items()}
    arrays["gradient"] = tape.gradient(loss, pixels).numpy()
    steps = min(resolved.steps, UPDATES)
    ours, other = (
        _steps(run_alone(problem, state.init(problem, image), steps, IMAGE_EVERY)) for image in (start, moved(start))
    )
    arrays |= {**ours, **spreads(ours, other)}
    folder = settings.run_folder()
    about = {
        "format": 1,
        "flags": [
            line
            for line in flagfiles.text(settings).splitlines()
            if line.startswith("--") and not line.startswith("--experiment")
        ],
        "network": network.provenance(),
        "term_weights_at_start": {name: float(value) for name, value in weights.items()},
        "loss": "the sum of the terms, each times its weight",
        "settings": presets.chosen(settings, resolved),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        bundle.write(folder, arrays, about)
    except OSError as error:
        raise InputError(f"cannot write to {folder}: {error.strerror or error}") from None
    return ReferenceResult(folder, arrays)


def _steps(snapshots: Iterable[Any]) -> dict[str, np.ndarray]:
    """The losses, learning rates and images of a run."""
    losses, rates, arrays = [], [], {}
    for snapshot in snapshots:
        losses.append(snapshot.loss)
        rates.append(snapshot.learning_rate)
        if snapshot.step and snapshot.image is not None:
            arrays[f"images/{snapshot.step}"] = snapshot.image
    return {"losses": np.array(losses), "learning_rates": np.array(rates[:-1]), **arrays}


def _convolutions(settings: Settings, network: Network, start: np.ndarray) -> dict[str, np.ndarray]:
    """The features of the start at every named convolution that the layers are computed from."""
    names = list(network.layers)
    last = max(names.index(name) if name in names else len(names) - 1 for name in settings.layers)
    convolutions = [name for name in names[: last + 1] if name.startswith("conv")]
    return {f"features/{name}": value.numpy() for name, value in network.features(start, convolutions).items()}
