"""Groups of settings that experiments combine. The first line of a group's docstring is its title in the help."""

from __future__ import annotations

import os
import re
from pathlib import Path

from tfinvert.settings.fields import Settings, define, setting
from tfinvert.system.errors import InputError

WEIGHTS = ("auto", "pretrained", "random")
POOLS = ("avg", "max")
CONVERTERS = ("auto", "keras", "onnx2tf")
WINOGRADS = ("auto", "off")
RESIZES = ("crop", "squash", "keep")
FIXED_SIZE = RESIZES[:2]  # for what takes images of one size
UNNAMED_LAYERS = ("all", "last")  # values of --layers that say nothing in the name of a folder
LOCAL = "local"  # the value of --scheduler for this machine
LONGEST_FOLDER, LONGEST_NAME = 100, 255  # characters of a default folder; bytes of a name in a file system


@define
class NetworkSettings(Settings):
    """The network"""

    model: str = setting(
        default="vgg16-bn",
        doc="A network of the ONNX model zoo: vgg16-bn, resnet18, squeezenet1.1 or alexnet. Or resnet18-homework, the original "
        "homework's own ResNet18, which has random weights only.",
    )
    onnx: str | None = setting(
        default=None,
        doc="A file to use instead of a network of the zoo: .onnx, .keras, or a .npy file of the original homework's weights.",
        file=True,
    )
    weights: str = setting(
        default="auto",
        doc="pretrained takes the weights of the file, which is downloaded if it is not there. random fills the network with "
        "seeded random weights. auto takes the pretrained weights if they can be had, else random ones.",
        choices=WEIGHTS,
    )
    preprocessing: str | None = setting(
        default=None,
        doc="How the network takes its images: torch, caffe, tf or -1..1, none (0..1), 0..255, or mean=...;std=... with one "
        "number or three each. Add ;order=bgr where blue comes first. Default: what the network's first operations say, else "
        "what is known of its training by its checksum or first kernel, else torch.",
    )
    size: tuple[int, int] | None = setting(
        default=None, doc="Pixels of the image: 224, or 224x320 for height x width. Default: the network's own size.", size=True
    )
    pool: str = setting(
        default="max",
        doc="max keeps the pooling that the network was trained with. avg replaces max pools by average pools, as in the "
        "homework.",
        choices=POOLS,
    )
    converter: str | None = setting(
        default=None,
        doc="What turns an .onnx file into a Keras model: onnx2tf, or keras, which is tfinvert's own converter. Default: auto, "
        "which takes onnx2tf, and keras where onnx2tf fails or differs from onnxruntime.",
        choices=CONVERTERS,
    )
    winograd: str | None = setting(
        default=None,
        doc="auto, the default, computes 3x3 convolutions by Winograd's algorithm where it is faster. off does not.",
        choices=WINOGRADS,
    )

    def network_name(self) -> str:
        """The network in words: the name of the zoo's model, or of the file."""
        return Path(self.onnx).stem if self.onnx else self.model


@define
class ClassifierSettings(NetworkSettings):
    """The network"""

    output: str | None = setting(
        default=None, doc="The output with the class scores, by name. Default: the one output that ends with a classifier."
    )
    class_names: str | None = setting(
        default=None,
        doc="A file with the names of the classes, one a line, or none. Default: the names of ImageNet for a network with its "
        "1000 classes.",
        file=True,
    )


@define
class HomeworkNetworkSettings(NetworkSettings):
    """The network"""

    pool: str = setting(
        default="avg",
        doc="avg replaces max pools by average pools, as in the homework. max keeps the pooling that the network was "
        "trained with.",
        choices=POOLS,
    )


@define
class ImageFileSettings(Settings):
    """The image"""

    image: tuple[str, ...] = setting(
        default=("astronaut",),
        doc="An image file, several files separated by commas, a folder of images, or a sample photograph: astronaut, chelsea, "
        "coffee or rocket.",
        file=True,
        aliases=("pictures", "images"),
    )

    def check(self) -> None:
        super().check()
        if not self.image:
            raise InputError("--image is empty; expected an image file, a folder of images, or a sample such as astronaut")

    def image_name(self) -> str:
        """The image in words: the name of its file or folder without the suffix, and how many more there are."""
        more = f"+{len(self.image) - 1}" if len(self.image) > 1 else ""
        return f"{Path(self.image[0]).stem}{more}"


@define
class ImageSettings(ImageFileSettings):
    """The image"""

    resize: str = setting(
        default="crop",
        doc="How an image and the network get the same proportions. crop fits the image's shorter side and cuts off both ends "
        "of the longer one. squash changes the image's proportions, as in the homework. keep keeps all of the image: the "
        "network then takes images of its proportions, whose shorter side is --size.",
        choices=RESIZES,
    )


@define
class OneImageFileSettings(ImageFileSettings):
    """The image"""

    image: tuple[str, ...] = setting(
        default=("astronaut",), doc="An image file, or a sample photograph: astronaut, chelsea, coffee or rocket.", file=True
    )

    def check(self) -> None:
        super().check()
        if len(self.image) != 1:
            raise InputError(f"--image names {len(self.image)} images; --experiment={self.experiment} expects one")


@define
class OneImageSettings(OneImageFileSettings, ImageSettings):
    """The image"""


@define
class FolderSettings(Settings):
    """Where the results go"""

    output_dir: str | None = setting(
        default=None,
        doc="The folder that the results are written to. Default: a folder in out/<experiment> that is named after network, "
        "layers and image, and numbered where a run with other settings has it.",
        file=True,
        placement=True,
    )
    overwrite: bool = setting(default=False, doc="Replace the run that is in the folder.", placement=True)

    def check(self) -> None:
        super().check()
        longest = max(Path(self.output_dir or "").parts, default="", key=len)
        if len(os.fsencode(longest)) > LONGEST_NAME:
            raise InputError(
                f"--output_dir has the part {longest[:60]!r}..., of {len(longest)} characters; expected at most {LONGEST_NAME}"
            )

    def run_folder(self) -> Path:
        """The folder that the results are written to, by default out/<experiment>/<network>-<layers>-<image>."""
        if self.output_dir:
            return Path(self.output_dir)
        name = folder_name("-".join(filter(None, self.name_parts())))[:LONGEST_FOLDER]
        return Path("out") / Path(self.experiment).stem / (name or "run")

    def name_parts(self) -> list[str]:
        """What the default folder is named after: network, layers and image, as far as the experiment has them."""
        network = self.network_name() if isinstance(self, NetworkSettings) else ""
        layers = [name for name in getattr(self, "layers", ()) if name not in UNNAMED_LAYERS]
        image = self.image_name() if isinstance(self, ImageFileSettings) else ""
        return [network, "+".join(layers), image]

    def how_to_go_on(self) -> str:
        """What continues a run that a signal has ended, in words; empty where nothing does."""
        return ""


@define
class RunSettings(FolderSettings):
    """Where the results go"""

    has_run_directory = True
    seed: int = setting(default=12345, doc="Seed of the random numbers.", at_least=0)


@define
class ResumeSettings(FolderSettings):
    """Where the results go"""

    resume: bool = setting(default=False, doc="Continue from the newest checkpoint in the run directory.", placement=True)

    def check(self) -> None:
        super().check()
        if self.resume and self.overwrite:
            raise InputError("--resume and --overwrite exclude each other; give one")

    def how_to_go_on(self) -> str:
        return "--resume goes on"


@define
class ResumableSettings(ResumeSettings, RunSettings):
    """Where the results go"""

    save_every: int = setting(default=10, doc="Number of steps between images and lines of metrics.jsonl.", at_least=1)


@define
class WorkerSettings(Settings):
    """Who makes the runs"""

    scheduler: str = setting(
        default=LOCAL,
        doc="Who hands the runs out: local for this machine; or a scheduler of Dask, as tcp://HOST:PORT, tls://HOST:PORT or "
        "the .json file that it wrote for its clients. docs/cluster.md shows how to start one.",
        file=True,
        placement=True,
    )
    workers: int = setting(
        default=1,
        doc="Number of processes that make runs on this machine. 1 means that the program makes them itself, one after the "
        "other.",
        at_least=1,
        at_most=1024,
        placement=True,
    )
    threads_per_worker: int | None = setting(
        default=None,
        doc="Number of threads with which each worker on this machine computes. Default: an equal share of the processors.",
        at_least=1,
        at_most=1024,
        placement=True,
    )
    retries: int = setting(
        default=0,
        doc="How often to repeat a run that failed for another reason than its settings, such as a full disk.",
        at_least=0,
        at_most=100,
        placement=True,
    )
    gather: bool = setting(
        default=False,
        doc="Let workers that do not share the folder of the results send them to this machine.",
        placement=True,
    )

    def check(self) -> None:
        super().check()
        if self.scheduler != LOCAL and not self.scheduler.startswith(("tcp://", "tls://")) and not self._is_file():
            raise InputError(
                f"--scheduler is {self.scheduler!r}; expected local, tcp://HOST:PORT, tls://HOST:PORT, or a .json file that a "
                "scheduler of Dask wrote"
            )
        if self.scheduler != LOCAL and (self.workers, self.threads_per_worker) != (1, None):
            raise InputError(
                "--workers and --threads_per_worker are for --scheduler=local; the workers of another scheduler are started by "
                "hand, as docs/cluster.md shows"
            )
        if self.gather and self.scheduler == LOCAL:
            raise InputError("--gather is for workers on other machines; give --scheduler, or leave it out")

    def _is_file(self) -> bool:
        return self.scheduler.endswith(".json") and Path(self.scheduler).is_file()


def folder_name(text: str) -> str:
    """A text as the name of a folder."""
    return re.sub(r"[^A-Za-z0-9._+-]", "_", text)


ARRAY = "(array"  # begins the name of an image that came from no file


def array_names(count: int) -> tuple[str, ...]:
    """What stands in the settings for images that a caller of the library gave as arrays."""
    return (f"{ARRAY})",) if count == 1 else tuple(f"{ARRAY} {number})" for number in range(count))


def is_array(names: tuple[str, ...]) -> bool:
    """Whether the names stand for arrays."""
    return all(name.startswith(ARRAY) for name in names)
