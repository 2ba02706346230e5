"""Invert an image in one pass: its features, through a trained decoder."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tfinvert import images as image_files
from tfinvert import metrics
from tfinvert.decoders.encoder import describe_encoder
from tfinvert.decoders.files import complete_settings, encoder_of, load_decoder
from tfinvert.runs.result import Result
from tfinvert.settings.fields import changed, define, setting
from tfinvert.settings.groups import (
    FIXED_SIZE,
    HomeworkNetworkSettings,
    ImageSettings,
    NetworkSettings,
    OneImageSettings,
    RunSettings,
)
from tfinvert.system.errors import InputError
from tfinvert.system.progress import progress_bar

if TYPE_CHECKING:
    from tfinvert.networks.network import Network
    from tfinvert.runs.directory import RunDirectory

TIMED_PASSES = 10
OF_DECODER = "Default: what the decoder was trained with."


@define
class Settings(RunSettings, OneImageSettings, HomeworkNetworkSettings):
    """The decoder"""

    positional: ClassVar[tuple[str, ...]] = ("image", "decoder")
    seed: int = changed(RunSettings, "seed", default=12345, doc="Has no effect: no random numbers are drawn.")
    model: str = changed(NetworkSettings, "model", default="vgg16-bn", doc=f"A network of the ONNX model zoo. {OF_DECODER}")
    resize: str = changed(ImageSettings, "resize", default="crop", choices=FIXED_SIZE)
    decoder: str = setting(
        default="", doc="A run directory of --experiment=train_decoder, or its decoder.keras or decoder.onnx.", file=True
    )
    layers: tuple[str, ...] = setting(default=(), doc=f"The layer whose features are decoded. {OF_DECODER}")

    @classmethod
    def complete(cls, values: dict[str, Any]) -> dict[str, Any]:
        return super().complete(complete_settings(values, [values["decoder"]]) if values.get("decoder") else values)

    def check(self) -> None:
        super().check()
        if not self.decoder:
            raise InputError("--experiment=decode expects --decoder, a run of --experiment=train_decoder or its file")


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class DecodeResult(Result):
    """A decoded image.

    Attributes:
      target: the image whose features were decoded, float32 [height, width, 3].
      decoder: where the decoder is.
      psnr: in dB.
      seconds_per_image: through encoder and decoder.
    """

    target: np.ndarray
    decoder: str
    psnr: float
    ssim: float
    normalized_feature_error: float
    seconds_per_image: float

    def write(self, directory: RunDirectory, info: dict[str, Any]) -> None:
        """Writes target.png, final.png and sheet.png."""
        from tfinvert.reports import sheet

        image_files.save(directory.target, self.target)
        image_files.save(directory.final, self.image)
        info["decoder"] = self.decoder
        sheet.write(directory, info)


def prepare(settings: Settings, network: Network) -> None:
    """Refuses a decoder for another layer or network, and starts the conversion."""
    encoder = encoder_of(settings.decoder)
    encoder.refuse_settings(settings, settings.layers[0], settings.decoder)
    encoder.refuse_request(settings, dataclasses.replace(network.request, layers=settings.layers), settings.decoder)
    network.prepare(settings.layers)


def run(settings: Settings, network: Network, images: np.ndarray, progress: bool) -> DecodeResult:
    """Decodes the features of an image."""
    import tensorflow as tf

    from tfinvert.decoders.evaluation import LARGEST_PSNR, build_encode

    layer = network.layer(settings.layers[0])
    decode = load_decoder(settings.decoder, describe_encoder(settings, layer, network.size, network.request))
    encode = build_encode(network.cut(settings.layers), layer.name)
    with progress_bar("decoding", 1 + TIMED_PASSES, show=progress, unit=" passes") as bar:
        features = encode(tf.constant(images)).numpy()
        decoded = np.clip(decode(features), 0, 1).astype(np.float32)
        bar.update()
        started = time.perf_counter()
        for _ in range(TIMED_PASSES):
            decode(encode(tf.constant(images)).numpy())
            bar.update()
        seconds = (time.perf_counter() - started) / TIMED_PASSES
    return DecodeResult(
        images=decoded,
        target=images[0],
        decoder=settings.decoder,
        weights=network.weights,
        psnr=min(metrics.psnr(decoded, images), LARGEST_PSNR),
        ssim=metrics.ssim(decoded, images),
        normalized_feature_error=metrics.normalized_feature_error(encode(tf.constant(decoded)).numpy(), features),
        seconds_per_image=seconds,
    )
