"""Train a decoder: a network that maps a layer's features back to the image, once for all images."""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from tfinvert import images as image_files
from tfinvert.decoders import data as data_files
from tfinvert.decoders.cluster import Share
from tfinvert.decoders.encoder import describe_encoder
from tfinvert.runs import places
from tfinvert.runs.directory import RunDirectory
from tfinvert.settings import flagfiles
from tfinvert.settings.fields import changed, define, setting
from tfinvert.settings.groups import NetworkSettings, ResumeSettings, WorkerSettings, folder_name
from tfinvert.system.errors import InputError

if TYPE_CHECKING:
    from tfinvert.decoders.training import Recipe
    from tfinvert.networks.network import Network
    from tfinvert.runs.executors import Connect
    from tfinvert.runs.tasks import TasksResult

SHORTEST_EPOCH = 512  # images, where fewer are there and --epoch_pictures is not given


@define
class Settings(WorkerSettings, ResumeSettings, NetworkSettings):
    """The decoder and its training"""

    positional: ClassVar[tuple[str, ...]] = ("network", "layers")
    model: str = changed(NetworkSettings, "model", default="alexnet")
    layers: tuple[str, ...] = setting(
        default=("conv2",),
        doc="The layer whose features the decoder inverts. With several, a decoder is trained for each.",
    )
    data: str = setting(
        default="samples",
        doc="The images to train on: samples for scikit-image's photographs, tiny-imagenet to download it, or a folder.",
        file=True,
    )
    class_count: int | None = setting(
        default=None, doc="Number of classes of Tiny ImageNet, drawn with the seed. Default: 20.", at_least=1
    )
    held_out: float = setting(
        default=0.1, doc="Fraction of the images, or of each class, that is only tested with.", above=0, below=1
    )
    augment: bool = setting(
        default=True, doc="Train on random crops, half of them mirrored, instead of the center of each image."
    )
    cache_features: bool = setting(
        default=False,
        doc="Keep the features of the images on disk instead of computing them in each epoch. It needs --noaugment.",
    )
    upsampling: str = setting(
        default="transposed",
        doc="transposed: 4x4 transposed convolutions of stride 2. resize: nearest neighbors and a 3x3 convolution.",
        choices=("transposed", "resize"),
    )
    width: int = setting(
        default=32,
        doc="Channels of the decoder at half the image's size, twice as many at each further halving, up to 256.",
        at_least=1,
    )
    picture_loss: str = setting(
        default="mse", doc="mse for squared, l1 for absolute differences of pixels.", choices=("mse", "l1")
    )
    feature_weight: float = setting(
        default=0.0, doc="Weight of the normalized feature error of the decoded image in the loss. 0 means none.", at_least=0
    )
    epochs: int = setting(default=20, doc="Number of passes over the images.", at_least=1)
    epoch_pictures: int | None = setting(
        default=None, doc="Number of images in an epoch. Default: as many as there are, but at least 512.", at_least=1
    )
    batch_size: int = setting(
        default=16, doc="Number of images in an update, for all devices and workers together.", at_least=1
    )
    learning_rate: float = setting(default=1e-3, doc="Adam's learning rate at the first step.", above=0)
    halve_every: int = setting(
        default=0, doc="Number of epochs after which the rate is halved. 0 means a cosine down to 0 instead.", at_least=0
    )
    beta_1: float = setting(default=0.9, doc="Adam's decay of the mean gradient.", at_least=0, below=1)
    beta_2: float = setting(default=0.99, doc="Adam's decay of the mean squared gradient.", at_least=0, below=1)
    weight_decay: float = setting(default=0.0, doc="This times each weight is added to its gradient.", at_least=0)
    patience: int = setting(
        default=0,
        doc="Number of epochs without progress on the held-out images after which the training ends. 0 means never.",
        at_least=0,
    )
    precision: str = setting(
        default="float32", doc="float32, tf32 (on a GPU) or bfloat16.", choices=("float32", "tf32", "bfloat16")
    )
    seed: int = setting(default=12345, doc="Seed of the random numbers.", at_least=0)
    tensorboard: bool = setting(default=False, doc="Also write scalars and images for TensorBoard.")

    def check(self) -> None:
        super().check()
        if not self.layers:
            raise InputError("--layers is empty; expected the layer whose features the decoder inverts, such as conv2")
        if self.cache_features and self.augment:
            raise InputError("--cache_features needs --noaugment: the features of random crops cannot be kept")

    @property
    def has_folder(self) -> bool:  # type: ignore[override]
        return len(self.layers) > 1  # whose run directories are in it

    @property
    def needs_tensorflow(self) -> bool:  # type: ignore[override]
        return len(self.layers) == 1

    def layers_needed(self) -> tuple[str, ...]:
        return self.layers if len(self.layers) == 1 else ()

    def of_layer(self, layer: str) -> Settings:
        """The settings of the training for one of several layers."""
        return dataclasses.replace(self, layers=(layer,), output_dir=str(self.run_folder() / folder_name(layer)))


@dataclasses.dataclass(frozen=True)
class TrainedDecoder:
    """What a training leaves.

    Attributes:
      decoder: the .keras file of the best decoder.
      history: the lines of metrics.jsonl, one for each epoch.
      figures: the quality of the best decoder on the held-out images, and speeds; empty in workers that write nothing.
      weights: where the network's weights came from.
    """

    decoder: Path
    history: tuple[dict[str, Any], ...]
    figures: dict[str, Any]
    weights: str

    def summary(self) -> str:
        """The figures, and where the decoder and its images are."""
        from tfinvert.runs.summary import describe_figures, where

        if not self.figures:
            return ""
        return f"{describe_figures({'result': self.figures, 'weights': self.weights})}\n{where(self.decoder.parent)}"


def prepare(settings: Settings, network: Network) -> None:
    """Checks the run directory and finds the images, and starts the conversion."""
    if Share.from_environment().is_chief and len(settings.layers) == 1:  # the other workers find here what the first has begun
        places.find(settings, numbered=False, finished=True)
    _find_images(settings)
    if len(settings.layers) == 1:
        network.prepare(settings.layers)
    elif Share.from_environment().count > 1:
        raise InputError("--layers names several layers, and TF_CONFIG several workers for one training; give one layer")
    else:
        network.check(settings.layers)


def run(settings: Settings, network: Network, executor: Connect) -> TrainedDecoder | TasksResult:
    """Trains a decoder, or resumes its training, and leaves decoder.keras, decoder.onnx and their figures.

    With several layers, it trains a decoder for each, in a run directory of its own.

    Workers other than the first write nothing. A decoder whose loss becomes NaN or infinite keeps the best before that.
    """
    return _train(settings, network) if len(settings.layers) == 1 else _train_each(settings, executor)


def _train_each(settings: Settings, executor: Connect) -> TasksResult:
    from tfinvert.runs import tasks

    todo = [tasks.Task({layer: settings.of_layer(layer)}) for layer in settings.layers]
    tasks.check(todo)
    return tasks.run_with_report(todo, executor, lambda outcomes: settings.run_folder())


def _train(settings: Settings, network: Network) -> TrainedDecoder:
    import numpy as np

    from tfinvert.decoders.batches import TrainingData
    from tfinvert.decoders.cluster import join_cluster
    from tfinvert.decoders.evaluation import build_encode, measure_scale, tile_images
    from tfinvert.decoders.feature_cache import cached_features
    from tfinvert.decoders.image_set import ImageSet
    from tfinvert.decoders.model import build_decoder
    from tfinvert.decoders.session import fit_and_record, measure_best
    from tfinvert.decoders.training import Training
    from tfinvert.optimization import precision
    from tfinvert.reports import charts, page, sheet
    from tfinvert.runs import provenance

    directory = RunDirectory(settings.run_folder())
    if places.is_finished(directory, settings):
        info = directory.read_info()
        return TrainedDecoder(directory.decoder, tuple(directory.read_metrics()), info["result"], str(info.get("weights")))
    precision.let_weights_change()
    cluster = join_cluster()
    chief = cluster.share.is_chief
    with cluster.strategy.scope():
        model = network.cut(settings.layers)
    encoder = describe_encoder(settings, network.layer(settings.layers[0]), network.size, network.request)
    split = _find_images(settings)
    image_set = ImageSet(split.train, network.size)
    held_out = ImageSet(split.test, network.size).centers(corners=split.corners)
    with directory.locked() if chief else contextlib.nullcontext():
        if chief:
            info = provenance.describe(settings, network, held_out)
            info |= {"image": f"held out of {settings.data}", "encoder": dataclasses.asdict(encoder)}
            info["images"] = {"trained_on": len(image_set), "tested_with": len(held_out), "classes": list(split.classes)}
            info["images"]["skipped"] = [str(path) for path, _ in image_set.broken]
            directory.create(flagfiles.text(settings), info, resume=settings.resume)
            image_files.save(directory.target, tile_images(held_out / np.float32(255)))
        encode = build_encode(model, encoder.layer)
        features = cached_features(encoder, encode, image_set) if settings.cache_features else None
        data = TrainingData(image_set, settings.seed, settings.augment, features)
        with cluster.strategy.scope():
            decoder = build_decoder(
                encoder.shape,
                encoder.size,
                upsampling=settings.upsampling,
                width=settings.width,
                scale=measure_scale(encode, image_set),
                precision=settings.precision,
                seed=settings.seed,
            )
        recipe = _choose_recipe(settings, len(image_set))
        training = Training(recipe, cluster, decoder, encode, from_features=features is not None)
        outcome = fit_and_record(
            training,
            data,
            encoder,
            held_out,
            directory,
            resume=settings.resume,
            patience=settings.patience,
            tensorboard=settings.tensorboard,
        )
        figures: dict[str, Any] = {}
        if chief and directory.decoder.exists():
            figures = measure_best(training, data, encoder, held_out, directory, outcome)
            info = {name: value for name, value in directory.read_info().items() if name not in ("result", "stopped")}
            info |= {**({"stopped": outcome.stopped} if outcome.stopped else {}), "result": figures}
            sheet.write(directory, info)
            charts.write_curves(directory)
            page.write_alone(directory, info)
            directory.write_info(info)  # comes last: it says that the training is finished
        outcome.raise_if_any()
    return TrainedDecoder(directory.decoder, tuple(directory.read_metrics()), figures, network.weights)


def _find_images(settings: Settings) -> data_files.Split:
    return data_files.find(settings.data, class_count=settings.class_count, held_out=settings.held_out, seed=settings.seed)


def _choose_recipe(settings: Settings, image_count: int) -> Recipe:
    from tfinvert.decoders.training import Recipe

    epoch_images = settings.epoch_pictures or max(image_count, SHORTEST_EPOCH)
    return Recipe(
        epochs=settings.epochs,
        steps_per_epoch=max(epoch_images // settings.batch_size, 1),
        batch_size=settings.batch_size,
        image_loss=settings.picture_loss,
        feature_weight=settings.feature_weight,
        learning_rate=settings.learning_rate,
        halve_every=settings.halve_every,
        beta_1=settings.beta_1,
        beta_2=settings.beta_2,
        weight_decay=settings.weight_decay,
    )
