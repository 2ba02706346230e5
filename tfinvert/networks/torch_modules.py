"""A PyTorch module or exported program as an .onnx file. PyTorch is imported here alone, and only for a caller who has one."""

from __future__ import annotations

import contextlib
import inspect
import io
import os
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tfinvert.networks.onnx_files import OnnxFile
from tfinvert.system.cache import cache_folder
from tfinvert.system.errors import InputError
from tfinvert.system.files import sha256

if TYPE_CHECKING:
    import torch

TOLERANCE = 1e-2  # by which an exported file may differ, relative to the largest value: far less than another computation would
SIZE = (224, 224)  # of the images, where none is given


class TorchModule(OnnxFile):
    """A PyTorch module as a network: the .onnx file that it is exported to, for each size of images a file of its own."""

    def __init__(self, module: torch.nn.Module, name: str, settings: Mapping[str, Any]):
        """Exports the module.

        Args:
          module: takes one argument, images [batch, 3, height, width].
          name: of the network.
          settings: as for `OnnxFile`, without the file.

        Raises:
          InputError: the module cannot be exported.
        """
        size = settings["size"] or SIZE
        super().__init__(name, {**settings, "size": size, "onnx": str(export(module, size))})
        self._module = module

    def settings(self) -> dict[str, Any]:
        return {**super().settings(), "onnx": self._settings["onnx"]}

    def _with(self, **changes: Any) -> TorchModule:
        return TorchModule(self._module, self.name, {**self._settings, **changes})


def exported(source: Any, settings: Mapping[str, Any]) -> OnnxFile | None:
    """The network of a PyTorch module or exported program; None for anything else.

    Args:
      source: of a caller who has imported PyTorch.
      settings: as for `OnnxFile`, without the file.

    Raises:
      InputError: it cannot be exported.
    """
    import torch

    name = type(source).__name__
    if isinstance(source, torch.nn.Module):
        return TorchModule(source, name, settings)
    if isinstance(source, torch.export.ExportedProgram):
        return OnnxFile(name, {**settings, "onnx": str(export_program(source))})
    return None


def export(module: torch.nn.Module, size: tuple[int, int]) -> Path:
    """The .onnx file of a module in evaluation mode, in the cache under the checksum of its bytes; the module is not changed.

    PyTorch's older exporter is tried first, because it is faster and needs no other package; then its newer one. The older one
    writes down what the module does with one image; its file is not taken where the module does something else with another.

    Args:
      module: takes one argument, images [batch, 3, height, width].
      size: (height, width) of the images.

    Raises:
      InputError: the module has weights that are not float32, or cannot be exported.
    """
    import torch

    name = type(module).__name__
    weights = [*module.parameters(), *module.buffers()]
    kind = next((str(weight.dtype) for weight in weights if weight.is_floating_point() and weight.dtype != torch.float32), "")
    if kind:
        raise InputError(f"the torch.nn.Module {name} has weights of {kind}; expected float32: give module.float()")
    image = torch.zeros(1, 3, *size, device=weights[0].device if weights else "cpu")
    reasons = []
    for is_new in (False, True):
        with _evaluating(module), _of_one_argument(module):
            try:
                path = _exported(module, name, (image,), is_new=is_new)
                if is_new or _agrees(module, path, image):
                    return path
                reasons.append("it does something else with another image, by the values of the image or by chance")
            except Exception as error:  # of the module itself as well as of the exporter
                reasons.append(_reason(error))
    raise InputError(
        f"the torch.nn.Module {name} cannot be exported for images of {size[0]}x{size[1]} pixels ({reasons[0]}; by PyTorch's "
        f"newer exporter: {reasons[1]}); expected a module that takes images [batch, 3, height, width]"
    )


def export_program(program: torch.export.ExportedProgram) -> Path:
    """The .onnx file of a program that `torch.export.export` gave, in the cache under the checksum of its bytes.

    Raises:
      InputError: the program cannot be exported.
    """
    try:
        return _exported(program, "ExportedProgram", (), is_new=True)
    except Exception as error:  # of the exporter, or of an operator that it does not know
        raise InputError(
            f"the torch.export.ExportedProgram cannot be written as ONNX ({_reason(error)}); give the module itself"
        ) from None


def _exported(source: Any, name: str, inputs: tuple, *, is_new: bool) -> Path:
    import torch

    folder = cache_folder() / "exported"
    folder.mkdir(parents=True, exist_ok=True)
    options: dict[str, Any] = {"external_data": False, "verbose": False} if is_new else {"input_names": ["image"]}
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        file = Path(scratch, f"{name}.onnx")
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")  # the older exporter announces its end, and prints all of what it cannot export
            torch.onnx.export(source, inputs, str(file), dynamo=is_new, **options)
        path = folder / sha256(file) / file.name
        path.parent.mkdir(exist_ok=True)
        os.replace(file, path)
    return path


@contextlib.contextmanager
def _evaluating(module: torch.nn.Module) -> Iterator[None]:
    """Puts a module into evaluation mode, without the fast path of its attention, which exporters do not know."""
    import torch

    modes = [(part, part.training) for part in module.modules()]
    is_fast = torch.backends.mha.get_fastpath_enabled()
    try:
        torch.backends.mha.set_fastpath_enabled(False)
        module.eval()
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(is_fast)
        for part, training in modes:  # the exporter sets all parts to the mode of the whole
            part.training = training


@contextlib.contextmanager
def _of_one_argument(module: torch.nn.Module) -> Iterator[None]:
    """Takes the arguments that have defaults away: the older exporter would make inputs of numbers among them."""
    forward = module.forward
    try:
        has_others = len(inspect.signature(forward).parameters) > 1
    except (TypeError, ValueError):  # a scripted module
        has_others = False
    own = vars(module).get("forward")
    try:
        if has_others:
            module.__dict__["forward"] = lambda image: forward(image)
        yield
    finally:
        if own is not None:
            module.__dict__["forward"] = own
        elif has_others:
            del module.__dict__["forward"]


def _agrees(module: torch.nn.Module, file: Path, image: torch.Tensor) -> bool:
    """Whether a file gives what the module gives, for another image of the same shape than it was exported with."""
    import onnxruntime
    import torch

    other = 2 * torch.sin(torch.arange(image.numel(), dtype=torch.float32, device=image.device)).reshape(image.shape)
    with torch.no_grad():
        expected = [value.cpu().numpy() for value in _tensors(module(other))]
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    reached = session.run(None, {session.get_inputs()[0].name: other.cpu().numpy()})
    pairs = list(zip(expected, reached, strict=False))
    return all(
        a.shape == b.shape and np.allclose(a, b, rtol=0, atol=TOLERANCE * float(np.abs(a).max(initial=0)), equal_nan=True)
        for a, b in pairs
    )


def _tensors(value: Any) -> list[torch.Tensor]:
    """The tensors of an output, in the order of the exporter."""
    if hasattr(value, "detach"):
        return [value]
    parts = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
    return [tensor for part in parts for tensor in _tensors(part)]


def _reason(error: Exception) -> str:
    """The first words of an error; PyTorch's newer exporter keeps the cause of its own behind it."""
    if isinstance(error, ImportError):
        return f"{error}; install it with: pip install torch onnxscript"
    cause = error.__cause__ or error
    return " ".join(str(cause).split())[:200]
