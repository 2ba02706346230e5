"""Invert the same features three ways: by optimization, by a decoder, and by optimization from what the decoder gives."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tfinvert import images as image_files
from tfinvert.decoders.encoder import describe_encoder
from tfinvert.decoders.files import complete_settings, encoder_of, load_decoder
from tfinvert.runs.result import Result
from tfinvert.settings.fields import changed, define, setting
from tfinvert.settings.groups import FIXED_SIZE, HomeworkNetworkSettings, ImageSettings, NetworkSettings, RunSettings, is_array
from tfinvert.settings.inversion import InversionSettings, Resolved
from tfinvert.system.errors import InputError

if TYPE_CHECKING:
    from tfinvert.networks.network import Network
    from tfinvert.runs.directory import RunDirectory

OF_DECODERS = "Default: what the decoders were trained with."


@define
class Settings(RunSettings, ImageSettings, HomeworkNetworkSettings):
    """The comparison"""

    positional: ClassVar[tuple[str, ...]] = ("image", "decoders")
    model: str = changed(NetworkSettings, "model", default="vgg16-bn", doc=f"A network of the ONNX model zoo. {OF_DECODERS}")
    resize: str = changed(ImageSettings, "resize", default="crop", choices=FIXED_SIZE)
    decoders: tuple[str, ...] = setting(
        default=(),
        doc="Run directories of --experiment=train_decoder, or their decoder.keras or decoder.onnx, separated by commas. Each "
        "is for another layer of one network.",
        file=True,
    )
    layers: tuple[str, ...] = setting(default=(), doc=f"The layer of each decoder. {OF_DECODERS}")
    steps: int = setting(default=300, doc="Number of steps of the optimization that starts from grey.", at_least=1)
    learning_rate: float | None = changed(InversionSettings, "learning_rate", default=None)
    tv_weight: float | None = changed(InversionSettings, "tv_weight", default=None)
    fewer_steps: int = setting(
        default=5, doc="The optimization that starts from the decoded image makes this many times fewer steps.", at_least=1
    )
    warm_rate: float = setting(
        default=0.6, doc="Factor of the learning rate for the optimization from the decoded image.", above=0
    )

    @classmethod
    def complete(cls, values: dict[str, Any]) -> dict[str, Any]:
        decoders = values.get("decoders", ())
        decoders = [decoders] if isinstance(decoders, str) else decoders
        return super().complete(complete_settings(values, decoders) if decoders else values)

    def check(self) -> None:
        super().check()
        if not self.decoders or len(self.layers) != len(self.decoders):
            raise InputError(
                f"--decoders names {len(self.decoders)} decoders for {len(self.layers)} layers; expected at least one, "
                "each for a layer of its own"
            )
        if len(set(self.layers)) < len(self.layers):
            raise InputError(f"--layers names a layer twice: {', '.join(self.layers)}; give one decoder for each")
        self.inversion(self.layers[0])

    def inversion(self, layer: str) -> InversionSettings:
        """The settings of the optimization that starts from grey, for one layer."""
        return InversionSettings(
            layers=(layer,),
            seed=self.seed,
            steps=self.steps,
            learning_rate=self.learning_rate,
            tv_weight=self.tv_weight,
            schedule="cosine",  # for both starts, however many steps they make
        )

    def warm(self, cold: Resolved) -> Resolved:
        """The settings of the optimization that starts from the decoded image: fewer and smaller steps."""
        steps = max(cold.steps // self.fewer_steps, 1)
        return dataclasses.replace(cold, steps=steps, learning_rate=cold.learning_rate * self.warm_rate)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class DecoderComparison(Result):
    """How the three ways compare; `images` are those that were inverted.

    Attributes:
      rows: as `comparison.compare_inversions` gives them, for all layers.
      table: the rows in Markdown, with the means over the images.
      inversions: (layer, way) -> float32 [n, height, width, 3].
    """

    rows: tuple[dict[str, Any], ...]
    table: str
    inversions: dict[tuple[str, str], np.ndarray]

    def figures(self) -> dict[str, Any]:
        return {"rows": list(self.rows)}

    def write(self, directory: RunDirectory, info: dict[str, Any]) -> None:
        """Writes the images, table.md, and sheet.png with a row for each layer and image; adds `decoders` to run.json."""
        from tfinvert.reports import sheet

        rows = {(row["layer"], row["image"], row["way"]): row for row in self.rows}
        names = list(dict.fromkeys(row["image"] for row in self.rows))
        ways = list(dict.fromkeys(way for _, way in self.inversions))
        for number, target in enumerate(self.images):
            image_files.save(directory.images / f"target-{number}.png", target)
        cells = []
        for layer in dict.fromkeys(layer for layer, _ in self.inversions):
            for number, name in enumerate(names):
                cells.append((directory.images / f"target-{number}.png", f"{name}, from {layer}"))
                for place, way in enumerate(ways):
                    row = rows[layer, name, way]
                    path = directory.images / f"{layer.replace('/', '_')}-{number}-{place}.png"
                    image_files.save(path, self.inversions[layer, way][number])
                    steps = f", {row['steps']} steps" if row["steps"] else ""
                    cells.append((path, f"{way}{steps}: {row['psnr']:.1f} dB"))
        directory.write_table(self.table)
        info["decoders"] = list(self.settings["decoders"])
        second = f"{sheet.describe_network(info)}; {self.settings['pool']} pooling; {', '.join(self.settings['decoders'])}"
        sheet.write_side_by_side(
            directory.sheet, [f"{info['network']}: one inversion, three ways", second], cells, 1 + len(ways)
        )


def prepare(settings: Settings, network: Network) -> None:
    """Refuses decoders for other layers or networks, and starts the conversions: the network is cut to each layer by itself."""
    for source, layer in zip(settings.decoders, settings.layers, strict=True):
        encoder_of(source).refuse_settings(settings, layer, source)
    for source, layer in zip(settings.decoders, settings.layers, strict=True):
        request = dataclasses.replace(network.request, layers=(layer,))
        encoder_of(source).refuse_request(settings, request, source)
    for layer in settings.layers:
        network.prepare((layer,))


def run(settings: Settings, network: Network, images: np.ndarray) -> DecoderComparison:
    """Inverts each image from each decoder's layer."""
    from tfinvert.decoders.comparison import compare_inversions, format_table, invert_three_ways
    from tfinvert.optimization import presets

    names = settings.image if is_array(settings.image) else list(image_files.expand(settings.image).values())
    rows: list[dict[str, Any]] = []
    inverted: dict[tuple[str, str], np.ndarray] = {}
    for source, name in zip(settings.decoders, settings.layers, strict=True):
        layer = network.layer(name)
        decode = load_decoder(source, describe_encoder(settings, layer, network.size, network.request))
        cold = presets.resolve(settings.inversion(name), {name: layer}, network.size)
        model = network.cut((name,))
        inversions = invert_three_ways(model, name, decode, images, cold, settings.warm(cold))
        inverted |= {(name, way): inversion.images for way, inversion in inversions.items()}
        rows += compare_inversions(model, name, inversions, images, names)
    return DecoderComparison(
        images=images,
        rows=tuple(rows),
        table=format_table(rows),
        inversions=inverted,
        weights=network.weights,
        settings=dataclasses.asdict(settings),
    )


def summarize(info: dict[str, Any], directory: RunDirectory) -> str:
    """The table."""
    return directory.table.read_text(encoding="utf-8").rstrip()
