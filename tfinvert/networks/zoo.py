"""The networks that tfinvert knows by name: where they come from, how their pictures are prepared."""

import concurrent.futures
import dataclasses
import errno
import hashlib
import logging
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import filelock
import numpy as np
from tqdm import tqdm

from tfinvert.errors import InputError, choice_error
from tfinvert.images import files as images
from tfinvert.networks import topologies
from tfinvert.networks.onnx.graph import LFS_HEADER, Graph
from tfinvert.system.files import replacing, sha256

if TYPE_CHECKING:
    import requests

log = logging.getLogger("tfinvert")
UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR)
CONNECT_TIMEOUT = 10.0  # seconds, for the connection and for each read
SLOWEST, SLOW_SECONDS = 1000, 60.0  # bytes a second, for so long: from there on another source is better


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """From RGB in [0, 1] to what a network was trained on: `value[..., channels] * scale + shift`.

    Attributes:
      channels: order of the color channels, (0, 1, 2) for RGB or (2, 1, 0) for BGR.
      scale, shift: per channel, in that order.
    """

    channels: tuple[int, int, int]
    scale: tuple[float, float, float]
    shift: tuple[float, float, float]


def _standardised(mean: tuple[float, ...], deviation: tuple[float, ...]) -> Preprocessing:
    scale = tuple(1 / d for d in deviation)
    shift = tuple(-m / d for m, d in zip(mean, deviation, strict=True))
    return Preprocessing((0, 1, 2), scale, shift)  # type: ignore[arg-type]


# The names are those of keras.applications; `caffe` subtracts the mean of BVLC's ilsvrc_2012_mean.npy.
PREPROCESSING = {
    "torch": _standardised(images.MEAN_COLOR, images.COLOR_DEVIATION),
    "caffe": Preprocessing((2, 1, 0), (255.0,) * 3, (-104.00698793, -116.66876762, -122.67891434)),
    "tf": Preprocessing((0, 1, 2), (2.0,) * 3, (-1.0,) * 3),
    "none": Preprocessing((0, 1, 2), (1.0,) * 3, (0.0,) * 3),
}


@dataclasses.dataclass(frozen=True)
class ZooModel:
    """A network of the ONNX model zoo.

    Attributes:
      name: as in `--model`.
      file: name of the .onnx file.
      sha256: of the file; the only thing that is trusted about it.
      sources: addresses, tried in order.
      preprocessing: key of PREPROCESSING.
      topology: the same graph without weights.
    """

    name: str
    file: str
    sha256: str
    sources: tuple[str, ...]
    preprocessing: str
    topology: Callable[[], Graph]


def _zoo_model(name: str, file: str, folder: str, sha256: str, preprocessing: str, topology: Callable[[], Graph]) -> ZooModel:
    stem = file.removesuffix(".onnx")
    sources = (
        f"https://huggingface.co/onnxmodelzoo/legacy_models/resolve/main/validated/vision/classification/{folder}/model/{file}",
        f"https://huggingface.co/onnxmodelzoo/{stem}/resolve/main/{file}",
    )
    return ZooModel(name, file, sha256, sources, preprocessing, topology)


MODELS = {
    model.name: model
    for model in (
        _zoo_model(
            "vgg16-bn",
            "vgg16-bn-7.onnx",
            "vgg",
            "4fdceabf1ef715c9ed3020fa2eac1cb2a448296c086b03633c80cf47e1c5afce",
            "torch",
            topologies.vgg16_bn,
        ),
        _zoo_model(
            "resnet18",
            "resnet18-v1-7.onnx",
            "resnet",
            "4e8f8653e7a2222b3904cc3fe8e304cd8b339ce1d05fd24688162f86fb6df52c",
            "torch",
            topologies.resnet18,
        ),
        _zoo_model(
            "squeezenet1.1",
            "squeezenet1.1-7.onnx",
            "squeezenet",
            "1eeff551a67ae8d565ca33b572fc4b66e3ef357b0eb2863bb9ff47a918cc4088",
            "torch",
            topologies.squeezenet1_1,
        ),
        _zoo_model(
            "alexnet",
            "bvlcalexnet-12.onnx",
            "alexnet",
            "6b0da9510f27f234ee96a85dc3809dd210150fdefad87f6850f9788513216945",
            "caffe",
            topologies.alexnet,
        ),
    )
}


# First eight bytes of the SHA-256 of the first kernel, float32 in ONNX's layout -> whose training it comes from. The same
# network has been trained more than once, and the files' names do not tell.
TRAININGS = {
    "59f2b41660aef251": "the training of the ONNX model zoo (GluonCV)",
    "08239221c2dd98ef": "the training of torchvision (IMAGENET1K_V1)",
    "773e4bd41d838a8f": "the training of torchvision (IMAGENET1K_V1)",
    "03c02e0544ea3b2a": "the training of torchvision (IMAGENET1K_V1)",
}


def training(graph: Graph) -> str:
    """Whose training the weights of SqueezeNet 1.1 and some other files come from; empty where it is not known."""
    kernel = next((graph.weights.get(node.input[1]) for node in graph.nodes if node.op_type == "Conv"), None)
    if kernel is None:
        return ""
    found = hashlib.sha256(np.ascontiguousarray(kernel, np.float32).tobytes()).hexdigest()
    return TRAININGS.get(found[:16], "")


def model(name: str) -> ZooModel:
    """The zoo model of that name; raises InputError with the valid names."""
    if name not in MODELS:
        raise choice_error("model", name, MODELS)
    return MODELS[name]


def pretrained_file(model: ZooModel, folder: Path) -> Path:
    """The checked .onnx file of a model, downloaded into `folder` if it is not there.

    Raises:
      InputError: it is neither there nor to be had; the message says where to get it and where to put it.
    """
    path = folder / model.file
    if path.exists():
        with open(path, "rb") as file:
            pointer = file.read(len(LFS_HEADER)) == LFS_HEADER
        if pointer:
            raise InputError(f"{path} is a Git LFS pointer, not the network: delete it, or fetch it with 'git lfs pull'")
        found = sha256(path)
        if found != model.sha256:
            raise InputError(
                f"{path} has the SHA-256 {found}; expected {model.sha256}: "
                "delete it to download it again, or use it as it is with --onnx"
            )
        return path
    return fetch(path, model.sources, f"sha256:{model.sha256}", "or run with --weights=random")


def fetch(path: Path, sources: Sequence[str], known_hash: str, otherwise: str) -> Path:
    """Downloads a file from the first of several addresses that has it; of two processes that want it, one does.

    Args:
      path: where it goes.
      sources, known_hash: as in `download`.
      otherwise: what else the user can do, for the error.

    Raises:
      InputError: it is not to be had, or cannot be written; the message says where to get it and where to put it.
    """
    reasons = []
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(path.parent / ".lock"):
            if path.is_file() and _is(path, known_hash):  # another process has had it
                return path
            for part in path.parent.glob(f".{path.name}.*.part"):  # of a download that was killed
                part.unlink()
            for source in sources:
                log.info("%s is not in %s: downloading %s", path.name, path.parent, source)
                try:
                    download(source, known_hash, path)
                    return path
                except OSError as error:
                    if error.errno in UNWRITABLE:
                        raise
                    reasons.append(f"{source}: {_reason(error)}")
                except ValueError as error:  # the checksum
                    reasons.append(f"{source}: {_reason(error)}")
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from None
    raise InputError(
        f"{path.name} could not be downloaded ({'; '.join(reasons)}): get it from there yourself and put it at {path}, "
        f"{otherwise}"
    )


def download(source: str, known_hash: str, path: Path) -> None:
    """Fetches an address to `path`, with a progress bar; the file appears there whole and checked, or not at all.

    Args:
      source: the address.
      known_hash: "sha256:..." or "md5:...".
      path: the file.

    Raises:
      OSError: no connection, no answer in time, an error of the server, less than `SLOWEST` for `SLOW_SECONDS`, or the disk.
      ValueError: what came has another checksum, or the address is none.
    """
    import urllib3  # not needed by runs that find their file

    with replacing(path) as part:
        try:
            with _answer(source) as response, open(part, "wb") as file:
                response.raise_for_status()
                with tqdm(total=response.raw.length_remaining, unit="B", unit_scale=True, desc=path.name) as bar:
                    count, since = 0, time.monotonic()
                    while data := response.raw.read1(2**20):  # what is there; to wait for more could take for ever
                        file.write(data)
                        bar.update(len(data))
                        count, seconds = count + len(data), time.monotonic() - since
                        if seconds > SLOW_SECONDS:
                            if count < SLOWEST * seconds:
                                raise OSError(f"it sends less than {SLOWEST} bytes a second")
                            count, since = 0, time.monotonic()
        except urllib3.exceptions.HTTPError as error:  # requests passes on what happens while it reads
            late = isinstance(error, urllib3.exceptions.TimeoutError)
            raise TimeoutError if late else ConnectionError from None
        if not _is(part, known_hash):
            raise ValueError("what came has another checksum")


def _answer(source: str) -> "requests.Response":
    """What a server answers, its body unread. The time-out of requests is for one read, and headers may take a million."""
    import requests

    answer: concurrent.futures.Future[requests.Response] = concurrent.futures.Future()

    def ask() -> None:
        headers = {"Accept-Encoding": "identity"}
        try:
            answer.set_result(requests.get(source, stream=True, timeout=CONNECT_TIMEOUT, headers=headers))
        except Exception as error:
            answer.set_exception(error)

    threading.Thread(target=ask, daemon=True).start()
    return answer.result(SLOW_SECONDS)


def _is(path: Path, known_hash: str) -> bool:
    algorithm, _, wanted = known_hash.partition(":")
    with open(path, "rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest() == wanted


def _reason(error: Exception) -> str:
    """Why a download failed, in a few words; the messages of requests are paragraphs."""
    import requests

    if isinstance(error, requests.exceptions.HTTPError) and error.response is not None:
        return f"the server answered {error.response.status_code}"
    if isinstance(error, requests.exceptions.Timeout | TimeoutError):
        return "timed out"
    if isinstance(error, requests.exceptions.TooManyRedirects):
        return "redirected in a circle"
    if isinstance(error, requests.exceptions.ConnectionError | ConnectionError):
        return "no connection"
    if isinstance(error, ValueError):
        return "what came has another checksum"
    return " ".join(str(error).split())[:160] or type(error).__name__
