"""The networks that tfinvert knows by name: those of the ONNX model zoo with their files, and the homework's own ResNet18."""

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path

from tfinvert.networks import homework, topologies
from tfinvert.networks.onnx import LFS_HEADER, Graph
from tfinvert.system.cache import remembered_sha256
from tfinvert.system.downloads import fetch
from tfinvert.system.errors import InputError, choice_error

FILES = (".onnx", ".keras", ".npy")  # what is given as `--onnx`


@dataclasses.dataclass(frozen=True)
class ZooModel:
    """A network of the ONNX model zoo.

    Attributes:
      name: value of `--model`.
      file: name of the .onnx file.
      sha256: checksum of the file, which is the only thing that is trusted about it.
      sources: addresses of the file, tried in order; none for the homework's ResNet18, whose file cannot be downloaded.
      preprocessing: how it takes its images, as in `preprocessing.parse`.
      topology: makes the same graph without weights.
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
        ZooModel("resnet18-homework", "resnet18.npy", "", (), "torch", homework.resnet18),
    )
}


def model(name: str) -> ZooModel:
    """The zoo model of that name; raises InputError with the valid names, or with the flag for a file."""
    if Path(name).suffix.lower() in FILES:
        raise InputError(f"--model is {name!r}, which is a file; give it as --onnx={name}")
    if name not in MODELS:
        raise choice_error("model", name, MODELS)
    return MODELS[name]


def setting(source: str | os.PathLike) -> str:
    """The setting that takes a name or a path: model for a name of the zoo, onnx for a file; an empty text for others."""
    return "onnx" if Path(source).suffix.lower() in FILES else "model" if source in MODELS else ""


def pretrained_file(model: ZooModel, folder: Path, *, progress: bool = True) -> Path:
    """The checked .onnx file of a model, downloaded into `folder` if it is not there.

    Args:
      model: the model.
      folder: where its file is, or will be.
      progress: whether a bar shows how much of a download has arrived.

    Raises:
      InputError: the file is neither there nor at any of its addresses, or is not the right one; the message says what to do.
    """
    path = folder / model.file
    if not model.sha256:  # the course's own file, which no address is known for
        raise InputError(
            f"the weights of {model.name} cannot be downloaded: give the homework's {model.file} with --onnx={model.file}, "
            "or run with --weights=random"
        )
    if path.exists():
        with open(path, "rb") as file:
            pointer = file.read(len(LFS_HEADER)) == LFS_HEADER
        if pointer:
            raise InputError(f"{path} is a Git LFS pointer, not the network: delete it, or fetch it with 'git lfs pull'")
        checksum = remembered_sha256(path)
        if checksum != model.sha256:
            raise InputError(
                f"{path} has the SHA-256 {checksum}; expected {model.sha256}: "
                "delete it to download it again, or use it as it is with --onnx"
            )
        return path
    return fetch(path, model.sources, f"sha256:{model.sha256}", "or run with --weights=random", progress=progress)
