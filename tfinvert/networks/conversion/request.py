"""What determines a converted network, and the file that it is made from."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path

from tfinvert.networks import onnx as graphs
from tfinvert.networks import recognition, zoo
from tfinvert.networks.preprocessing import parse
from tfinvert.system import gpus
from tfinvert.system.cache import cache_folder
from tfinvert.system.errors import InputError

PROJECT_MODELS = Path(__file__).resolve().parents[3] / "models"
log = logging.getLogger("tfinvert")


@dataclasses.dataclass(frozen=True)
class Request:
    """What determines a converted network, and nothing else; its cache entry is named after it.

    Attributes:
      model: name of a zoo model; None where `file` alone says which network it is.
      file: the .onnx file; None for the graph of a zoo model with random weights.
      sha256: checksum of the file, and of the files that hold its weights (`onnx.checksum`).
      weights: "pretrained" for the weights of the file, "random" for seeded ones.
      layers: names of layers or tensors; empty for every named layer.
      size: (height, width) of the image; None for the size in the file.
      pool: "max" or "avg".
      preprocessing: how the network takes its images, as in `preprocessing.parse`.
      output: name of the output that holds the class scores; None for the one that ends with a classifier.
      pools_as_convolutions: whether average pools become convolutions, as in `graph.fold`.
      preprocessing_from: how the preprocessing is known, in words, which determines nothing.
      converter: "onnx2tf", "keras" for the builder of Keras layers, or "auto" for the first of them that is right.
      plain: whether the convolutions that read the image stay as they are, instead of in the form that runs fastest.
      winograd: whether onnx2tf's convolutions of 3x3 are computed as in `networks.winograd` where that is faster.
    """

    model: str | None
    file: str | None
    sha256: str | None
    weights: str
    layers: tuple[str, ...]
    size: tuple[int, int] | None
    pool: str
    preprocessing: str
    output: str | None = None
    pools_as_convolutions: bool = False
    preprocessing_from: str = dataclasses.field(default="", compare=False)
    converter: str = "auto"
    plain: bool = False
    winograd: bool = False


def request(
    *,
    model: str,
    onnx: str | None,
    weights: str,
    layers: tuple[str, ...],
    size: tuple[int, int] | None,
    pool: str,
    preprocessing: str | None = None,
    output: str | None = None,
    precision: str = "float32",
    converter: str = "auto",
    plain: bool = False,
    winograd: str = "auto",
    models_folder: Path | None = None,
    progress: bool = True,
) -> Request:
    """Finds the file that a run needs, and downloads it where it is missing.

    Args:
      model: name of a zoo model; without meaning where there is `onnx`.
      onnx: an .onnx file to use instead of the zoo's.
      weights: "pretrained" takes those of the file or fails; "auto" takes them where the file is there or can be
        downloaded, and random weights otherwise; "random" takes the graph alone.
      layers, size, pool: as in Request.
      preprocessing: how the network takes its images, as in `preprocessing.parse`; None to recognize that (`recognition`).
      output: as in Request.
      precision: the arithmetic that the network will be run in.
      converter, plain: as in Request.
      winograd: "auto" or "off".
      models_folder: the folder of downloaded files; None for models/ of the checkout, else the user's cache.
      progress: whether a bar shows how much of a download has arrived.

    Raises:
      InputError: there is no such model or file, or there are no pretrained weights where they are required.
    """
    known = zoo.model(model)
    if preprocessing is not None:
        parse(preprocessing)
    path = None
    if onnx is not None:
        path = Path(onnx)
        if not path.is_file():
            raise InputError(f"there is no .onnx file {onnx!r}")
        weights = "pretrained" if weights == "auto" else weights
    elif weights != "random":
        folder = models_folder or (PROJECT_MODELS if PROJECT_MODELS.is_dir() else cache_folder() / "models")
        try:
            path = zoo.pretrained_file(known, folder, progress=progress)
            weights = "pretrained"
        except InputError as error:
            if weights == "pretrained":
                raise
            log.warning("using seeded random weights for %s: %s", model, error)
            weights = "random"
    if preprocessing is not None:
        recognized = recognition.given(preprocessing)
    elif onnx is not None:
        assert path is not None
        recognized = recognition.of_file(path.resolve(), graphs.checksum(path))
    else:
        recognized = recognition.of_zoo_model(known)
    in_float32 = precision == "float32" and not plain  # and with the operations that are the fastest there
    return Request(
        model=None if onnx else model,
        file=str(path.resolve()) if path else None,
        sha256=graphs.checksum(path) if path else None,
        weights=weights,
        layers=tuple(dict.fromkeys(layers)),
        size=size,
        pool=pool,
        preprocessing=recognized.preprocessing,
        output=output,
        pools_as_convolutions=pool == "avg" and in_float32,
        preprocessing_from=recognized.reason,
        converter=converter,
        plain=plain,
        winograd=winograd == "auto" and converter != "keras" and in_float32 and not gpus.may_be_there(),
    )
