"""From what a user has to a `Network`: a name, a file, a Keras model, a PyTorch module, or the settings of a run."""

from __future__ import annotations

import sys
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfinvert.networks import homework, zoo
from tfinvert.networks.classes import NO_NAMES, read_names
from tfinvert.networks.network import Network
from tfinvert.networks.onnx_files import OnnxFile
from tfinvert.networks.preprocessing import parse
from tfinvert.settings.fields import as_size
from tfinvert.settings.groups import CONVERTERS, POOLS, WEIGHTS, WINOGRADS, NetworkSettings
from tfinvert.settings.inversion import PRECISIONS
from tfinvert.system.errors import InputError, choice_error
from tfinvert.system.received import located
from tfinvert.system.tensorflow import check_backend

if TYPE_CHECKING:
    from tfinvert.networks.keras_models import KerasModel

KERAS = ".keras"
OWN_WEIGHTS = "weights is 'random'; a Keras model keeps its own weights: make it with weights=None instead"
OTHERS = (
    "an .onnx file",
    "a .npy file of the homework",
    "a .keras file",
    "a keras.Model",
    "a torch.nn.Module",
    "a program of torch.export",
)
# What is to be done with files that are not read here, by their suffix.
OTHER_FILES = {
    (".h5", ".hdf5"): "read it with keras.models.load_model, and load the model that it gives",
    (".pt", ".pth", ".ckpt", ".safetensors"): "make the torch.nn.Module, give it these weights, and load the module",
    (
        ".pb",
        "saved_model.pb",
        ".tflite",
    ): "its layers have no names: load the keras.Model that it was made from, or an .onnx file",
}


def load(
    source: Any,
    *,
    weights: str = "auto",
    preprocessing: str | None = None,
    size: int | Sequence[int] | None = None,
    pool: str = "max",
    output: str | None = None,
    class_names: Any = None,
    precision: str = "float32",
    converter: str = "auto",
    winograd: str = "auto",
) -> Network:
    """The network that a user has, for many calls. Nothing is downloaded or converted until its features are needed.

    Args:
      source: the name of a network of the ONNX model zoo (vgg16-bn, resnet18, squeezenet1.1, alexnet), resnet18-homework, the
        path of an .onnx or .keras file or of a .npy file of the homework, a functional or sequential keras.Model, a
        torch.nn.Module that takes [batch, 3, height, width], or what torch.export.export made of one.
      weights: "pretrained" for those of the file, which is downloaded for a network of the zoo; "random" for seeded random
        ones; "auto" for random ones only where the zoo cannot be reached. Keras models keep their own.
      preprocessing: how the network takes its images, as in `preprocessing.parse`: torch, caffe, tf, none, 0..255, -1..1, or
        mean=...;std=... None: as its training is recognized, or its own first operations say, else as torch's networks.
      size: height and width of the images in pixels, one number or two; None for the network's own, or 224.
      pool: "avg" makes average pools of all max pools, "max" leaves them.
      output: name of the output that holds the class scores; None for the one that ends with a classifier.
      class_names: the names of the classes in order, as a list or a file with one name a line; "none" for no names. None for
        those of ImageNet where there are 1000 classes.
      precision: in which the network will be run: float32, tf32 or bfloat16.
      converter: "onnx2tf", "keras" for Keras layers that are built here, or "auto" for onnx2tf where it is right, and else for
        Keras layers.
      winograd: "auto" for Winograd's algorithm in convolutions of 3x3 that it makes faster, in float32 without a GPU; "off" for
        usual ones everywhere, which round less.

    Raises:
      InputError: there is no such network, it cannot be read, or a setting is not possible.

    Examples:
      >>> network = load("resnet18", weights="random")
      >>> network.layers["res2"].shape, network.layers["res2"].stride
      ((56, 56, 64), (4, 4))
    """
    chosen = (("weights", weights, WEIGHTS), ("pool", pool, POOLS), ("precision", precision, PRECISIONS))
    for name, value, choices in (*chosen, ("converter", converter, CONVERTERS), ("winograd", winograd, WINOGRADS)):
        if value not in choices:
            raise choice_error(name, str(value), choices)
    if preprocessing is not None:
        parse(preprocessing)
    pair = None if size is None else as_size("size", size)
    settings = {"model": "vgg16-bn", "onnx": None, "weights": weights, "preprocessing": preprocessing, "size": pair}
    settings |= {"pool": pool, "precision": precision, "output": output, "converter": converter, "winograd": winograd}
    if class_names is not None and class_names != NO_NAMES:
        read_names(class_names)  # what cannot be read is said now
    if "torch" in sys.modules:
        from tfinvert.networks import torch_modules

        if (file := torch_modules.exported(source, settings)) is not None:
            return _described(file, class_names)
    path = Path(source).expanduser() if isinstance(source, str | Path) else None
    if isinstance(source, str) and source in zoo.MODELS:
        return Network(OnnxFile(source, {**settings, "model": source}), class_names)
    if path is not None and path.suffix.lower() in (".onnx", ".npy"):
        return _described(OnnxFile(path.stem, {**settings, "onnx": _onnx(_file(path))}), class_names)
    is_model = "keras" in sys.modules and isinstance(source, sys.modules["keras"].Model)
    if not is_model and (path is None or path.suffix != KERAS):
        raise _no_network(source, path)
    return Network(_keras_model(source if path is None else path, settings), class_names)


def is_keras_file(settings: NetworkSettings) -> bool:
    """Whether the network of a run is read by Keras, which needs TensorFlow at once."""
    return settings.onnx is not None and Path(settings.onnx).suffix.lower() == KERAS


def from_settings(settings: NetworkSettings) -> Network:
    """The network of a run.

    Nothing is read, downloaded or converted yet, unless `is_keras_file`.

    Raises:
      InputError: the model is unknown, or the file is one that is not read here.
    """
    zoo.model(settings.model)
    if settings.preprocessing is not None:
        parse(settings.preprocessing)
    names = ("model", "onnx", "weights", "preprocessing", "size", "pool")
    values = {name: getattr(settings, name) for name in names}
    class_names = getattr(settings, "class_names", None)
    if is_keras_file(settings):
        values["output"] = getattr(settings, "output", None)
        return Network(_keras_model(located(Path(settings.onnx or "")), values), class_names)
    values |= {"converter": settings.converter or "auto", "winograd": settings.winograd or "auto"}
    values |= {"precision": getattr(settings, "precision", "float32"), "output": getattr(settings, "output", None)}
    if settings.onnx is not None:
        path = Path(settings.onnx)
        if advice := _advice(path):
            raise InputError(f"--onnx={path} is no .onnx or .keras file; {advice}")
        values["onnx"] = _onnx(path)
    return Network(OnnxFile(settings.network_name(), values), class_names)


def _keras_model(source: Any, settings: Mapping[str, Any]) -> KerasModel:
    """A Keras model, or the path of its file, as a network; `settings` has those of `load`."""
    if settings["weights"] == "random":
        raise InputError(OWN_WEIGHTS)
    check_backend()
    from tfinvert.networks.keras_models import KerasModel, read_model

    path = source if isinstance(source, Path) else None
    model, name = (source, source.name) if path is None else (read_model(_file(path)), path.stem)
    same = {key: settings[key] for key in ("preprocessing", "size", "pool", "output")}
    return KerasModel(model, name, file=path, **same)


def _onnx(path: Path) -> str:
    """The path of an .onnx file; for the homework's weights in a .npy file, that of the file which is made of them."""
    path = located(path)
    return str(homework.as_onnx(path) if path.suffix.lower() == ".npy" else path)


def _described(file: OnnxFile, class_names: Any) -> Network:
    """The network of a file that can be read; raises InputError for another."""
    _ = file.description
    return Network(file, class_names)


def _file(path: Path) -> Path:
    if path.is_dir():
        raise InputError(f"{path} is a folder; expected {_expected()}")
    if not path.is_file():
        raise InputError(f"there is no file {str(path)!r}; expected {_expected()}")
    return path


def _expected() -> str:
    return f"one of: {', '.join((*zoo.MODELS, *OTHERS))}"


def _no_network(source: Any, path: Path | None) -> InputError:
    """The error for what cannot be loaded."""
    if isinstance(source, Network):
        return InputError("the network is loaded already; call tfinvert.load with what it was loaded from, or use it as it is")
    if isinstance(source, type | types.FunctionType):
        kind = "class" if isinstance(source, type) else "function"
        return InputError(f"{source.__name__} is a {kind}; expected the network that it makes when it is called")
    if path is None:
        given = type(source)
        name = given.__qualname__ if given.__module__ == "builtins" else f"{given.__module__}.{given.__qualname__}"
        return InputError(f"a network cannot be loaded from a value of type {name}; expected {_expected()}")
    if not str(source).strip():
        return InputError(f"the name of the network is empty; expected {_expected()}")
    if advice := _advice(path):
        return InputError(f"{path} is no .onnx or .keras file; {advice}")
    if path.exists():
        return InputError(f"{path} is {'a folder' if path.is_dir() else 'no .onnx or .keras file'}; expected {_expected()}")
    return choice_error("network", str(source), (*zoo.MODELS, *OTHERS))


def _advice(path: Path) -> str:
    """What is to be done with a file that is not read here; an empty text for others."""
    kind = "saved_model.pb" if (path / "saved_model.pb").exists() else path.suffix.lower()
    return next((text for kinds, text in OTHER_FILES.items() if kind in kinds), "")
