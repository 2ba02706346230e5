"""Paint an image like others: style transfer, and with weights of 0 texture synthesis and feature inversion.

Example:
  >>> import tfinvert
  >>> tfinvert.style("houses.jpg", style_images="painting.jpg").image.shape
  (192, 256, 3)
"""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tfinvert import images as image_files
from tfinvert.runs.result import Result
from tfinvert.settings.fields import LARGEST_SIDE, SMALLEST_SIDE, changed, define, setting
from tfinvert.settings.groups import NetworkSettings, OneImageFileSettings, ResumableSettings
from tfinvert.settings.inversion import STARTS, check_boundaries, check_one_for_each
from tfinvert.system.errors import InputError

if TYPE_CHECKING:
    from tfinvert.networks.network import Network
    from tfinvert.runs.directory import RunDirectory


@dataclasses.dataclass(frozen=True)
class Scale:
    """One size of the content, (height, width), and the sizes of the style images that go with it."""

    size: tuple[int, int]
    style_sizes: tuple[tuple[int, int], ...]


@define
class Settings(ResumableSettings, OneImageFileSettings, NetworkSettings):
    """Content, style and steps"""

    positional: ClassVar[tuple[str, ...]] = ("image", "style_images", "network")
    weights_stay = True
    # The defaults are those of CS231n, assignment 3, for its third pair of images.
    model: str = changed(NetworkSettings, "model", default="squeezenet1.1")
    style_images: tuple[str, ...] = setting(default=(), doc="The images whose style to take, separated by commas.", file=True)
    style_image_weights: tuple[float, ...] = setting(
        default=(), doc="A weight for each style image. Default: equal weights.", above=0
    )
    size: tuple[int, int] | None = setting(default=None, doc="", size=True)  # only to say that --side takes its place
    side: int = setting(
        default=192,
        doc="Pixels of the image's shorter side. Its proportions are kept.",
        at_least=SMALLEST_SIDE,
        at_most=LARGEST_SIDE,
    )
    style_side: int = setting(
        default=192, doc="Pixels of the shorter side of the style images.", at_least=SMALLEST_SIDE, at_most=LARGEST_SIDE
    )
    layers: tuple[str, ...] = setting(default=("features.3",), doc="The layer whose features keep the content.")
    content_weight: float = setting(
        default=6e-2,
        doc="Weight of the sum of squared differences of the content's features. 0 leaves the style alone.",
        at_least=0,
    )
    style_layers: tuple[str, ...] = setting(
        default=("features.1", "features.4", "features.6", "features.7"),
        doc="The layers whose Gram matrices to match, separated by commas.",
    )
    style_weights: tuple[float, ...] = setting(
        default=(300000.0, 1000.0, 15.0, 3.0), doc="A weight for each style layer. Weights of 0 mean no style.", at_least=0
    )
    tv_weight: float = setting(
        default=2e-2, doc="Weight of total variation, in squared differences of normalized pixels.", at_least=0
    )
    keep_color: bool = setting(
        default=False, doc="Keep the colors of the content, and transfer luminance only.", aliases=("keep_colour",)
    )
    scales: int = setting(
        default=1, doc="Number of sizes, from coarse to fine. Each is twice the one before and takes --steps.", at_least=1
    )
    init: str = setting(
        default="content",
        doc="The first image: content (the image itself), uniform (the course's noise), noise, grey, mv2015, mv2016, or an "
        "image file.",
        file=True,
    )
    steps: int = setting(default=200, doc="Number of steps at each size.", at_least=1)
    optimizer: str = setting(default="adam", doc="adam, or lbfgs, which has no learning rate.", choices=("adam", "lbfgs"))
    learning_rate: float = setting(default=3.0, doc="Step size at the first step.", above=0)
    epsilon: float = setting(default=1e-8, doc="Adam's epsilon.", above=0)
    decay_boundaries: tuple[int, ...] = setting(default=(180,), doc="Steps after which the rate changes.")
    decay_factors: tuple[float, ...] = setting(
        default=(1 / 30,), doc="The factor of --learning_rate after each boundary.", above=0
    )
    save_every: int = changed(ResumableSettings, "save_every", default=20)

    def check(self) -> None:
        super().check()
        if self.size is not None:
            raise InputError(
                "--experiment=style does not take --size, because it keeps proportions; give --side and --style_side"
            )
        if len(self.layers) != 1:
            raise InputError(f"--layers names {len(self.layers)} layers; --experiment=style expects one, for the content")
        check_one_for_each("style_weights", self.style_weights, len(self.style_layers), "--style_layers")
        if len(set(self.style_layers)) < len(self.style_layers):
            raise InputError(f"--style_layers names a layer twice: {', '.join(self.style_layers)}; give each once")
        if any(self.style_weights) and not self.style_images:
            raise InputError("--style_images is empty; expected at least one image, or --style_weights of 0")
        count = len(self.style_images)
        check_one_for_each("style_image_weights", self.style_image_weights, count, "--style_images", or_none=True)
        if not (self.content_weight or self.tv_weight or any(self.style_weights)):
            raise InputError("--content_weight, --style_weights and --tv_weight are all 0; expected one above 0")
        smallest = min(self.side, self.style_side)
        if smallest >> (self.scales - 1) < SMALLEST_SIDE:
            raise InputError(f"--scales is {self.scales}; a side of {smallest} pixels cannot be halved so often")
        check_boundaries(self.decay_boundaries, self.decay_factors)

    def layers_needed(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*self.layers, *self.style_layers)))

    def image_files(self) -> tuple[str, ...]:
        own_start = () if self.init in (*STARTS, "content", "uniform") else (self.init,)
        return (*self.image, *self.style_images, *own_start)

    def scale_sizes(self) -> list[Scale]:
        """The sizes from coarse to fine, each twice the one before.

        Raises:
          InputError: an image cannot be read, or is so long that its longer side would be beyond what a network takes.
        """
        return [
            Scale(
                _proportional(self.image[0], "side", self.side >> halvings),
                tuple(_proportional(path, "style_side", self.style_side >> halvings) for path in self.style_images),
            )
            for halvings in reversed(range(self.scales))
        ]

    def shares(self) -> tuple[float, ...]:
        """The weight of each style image; they sum to 1."""
        weights = self.style_image_weights or (1.0,) * len(self.style_images)
        return tuple(weight / sum(weights) for weight in weights)


def _proportional(path: str, flag: str, side: int) -> tuple[int, int]:
    """The (height, width) of an image whose shorter side becomes `side`; raises InputError where the longer one is too long."""
    size = image_files.proportional_size(path, side)
    if max(size) > LARGEST_SIDE:
        height, width = size
        raise InputError(
            f"--{flag}={side} makes {path} {width}x{height} pixels; expected at most {LARGEST_SIDE} on its longer side: "
            f"give a --{flag} of {LARGEST_SIDE * side // max(size)} at most, or cut the image"
        )
    return size


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class StyleResult(Result):
    """A painted image.

    Attributes:
      content: the image that was painted, float32 [height, width, 3] in [0, 1].
      styles: the style images, likewise.
      network: the name of the network.
      loss_at_start, loss, loss_ratio: at the finest size, the loss of the first step, the lowest loss, and their ratio.
      seconds, steps_per_second: the time and the speed of the optimization, since the last start.
      peak_memory_mb: the largest resident memory of the process.
    """

    content: np.ndarray
    styles: tuple[np.ndarray, ...]
    network: str
    loss_at_start: float
    loss: float
    loss_ratio: float
    seconds: float
    steps_per_second: float
    peak_memory_mb: float

    def write(self, directory: RunDirectory, info: dict[str, Any]) -> None:
        """Writes final.png, sheet.png and curves.png."""
        from tfinvert.reports import charts, sheet

        image_files.save(directory.final, self.image)
        cells = [(directory.target, "content")]
        cells += [(directory.images / f"style-{number}.png", "style") for number in range(len(self.styles))]
        steps = sheet.spread(list(directory.step_images().items()), 4)
        cells += [(path, f"step {step}") for step, path in steps]
        cells.append((directory.final, f"result, loss {self.loss_ratio:.3f} of its start"))
        layers = dict.fromkeys((*self.settings["layers"], *self.settings["style_layers"]))
        header = [f"{self.network}: {', '.join(layers)}", sheet.describe_network(info)]
        sheet.write_side_by_side(directory.sheet, header, cells, 4)
        charts.write_curves(directory)


def prepare(settings: Settings, network: Network) -> Network:
    """Starts the conversions for every size at once; returns the network of the finest size."""
    scales = settings.scale_sizes()
    network = network.at_size(scales[-1].size)
    sizes = list(dict.fromkeys(size for scale in scales for size in (scale.size, *scale.style_sizes)))
    if settings.onnx is None:
        for size in sizes:  # all of them before the first conversion
            _check_size(settings, network, size)
    for size in sizes:
        network.at_size(size).prepare(settings.layers_needed())
    return network


def _check_size(settings: Settings, network: Network, size: tuple[int, int]) -> None:
    """Raises InputError where the network cannot take images of this size, with the flags that make it another."""
    try:
        network.at_size(size).check(settings.layers_needed())
    except InputError as error:
        reason = re.split(r"[;:,] (?=try |give |leave )", str(error))[0]
        raise InputError(f"{reason}; give another --side or --style_side") from None


def run(settings: Settings, network: Network, directory: RunDirectory | None, progress: bool) -> StyleResult:
    """Paints the content like the style, from coarse to fine."""
    from tfinvert.experiments.style import painting
    from tfinvert.images import parameterizations
    from tfinvert.optimization import solver, state
    from tfinvert.runs import provenance, recording

    scales = settings.scale_sizes()
    contents, styles = painting.load_images(settings, scales[-1])
    if directory is not None:
        painting.write_inputs(settings, directory, contents, styles)
    lines: list[dict[str, Any]] = []
    seconds, steps, image = 0.0, 0, None
    for number, scale in enumerate(scales):
        model = network.at_size(scale.size).cut(settings.layers_needed())
        content, own_styles = painting.prepare_images(settings, scale)
        problem = state.Problem(
            model,
            tuple(painting.build_terms(settings, painting.compute_targets(settings, network, model, content, own_styles))),
            parameterizations.normalized(),
            painting.build_optimizer(settings),
        )
        variables = state.init(problem, painting.first_image(settings, scale, content, image))
        (outcome,) = recording.record(
            solver.Solver([problem], [variables]),
            [recording.Recording(directory, painting.describe_scale(number if len(scales) > 1 else None))],
            settings.steps,
            settings.save_every,
            part=f"scale-{number}",
            before=number * (settings.steps + 1),
            resume=settings.resume,
            label=f"{scale.size[0]}x{scale.size[1]}",
            progress=progress,
        )
        outcome.raise_if_any()
        lines += outcome.lines
        seconds, steps = seconds + outcome.seconds, steps + outcome.steps
        image = state.current_image(problem, variables)  # as the course does; the last, small steps leave it near the best
    assert image is not None
    if settings.keep_color:
        image = image_files.with_color_of(image, contents)
    history = lines if directory is None else directory.read_metrics()
    losses = [line["loss"] for line in history if line.get("scale", 0) == len(scales) - 1]
    return StyleResult(
        images=np.clip(image, 0, 1),
        content=contents[0],
        styles=tuple(style[0] for style in styles),
        network=network.name,
        weights=network.weights,
        settings=dataclasses.asdict(settings),
        history=tuple(history),
        loss_at_start=losses[0],
        loss=min(losses),
        loss_ratio=min(losses) / losses[0],
        seconds=seconds,
        steps_per_second=steps / max(seconds, 1e-9),
        peak_memory_mb=provenance.peak_memory_mb(),
    )
