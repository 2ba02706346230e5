"""A PyTorch module as an .onnx file. PyTorch is imported here alone, and only for a caller who has a module."""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfinvert.networks.onnx_files import OnnxFile
from tfinvert.system.cache import cache_folder
from tfinvert.system.errors import InputError
from tfinvert.system.files import sha256

if TYPE_CHECKING:
    import torch

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

    def at_size(self, size: tuple[int, int]) -> TorchModule:
        return TorchModule(self._module, self.name, {**self._settings, "size": size})


def export(module: torch.nn.Module, size: tuple[int, int]) -> Path:
    """The .onnx file of a module in evaluation mode, in the cache under the checksum of its bytes; the module is not changed.

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
    folder = cache_folder() / "exported"
    folder.mkdir(parents=True, exist_ok=True)
    modes = [(part, part.training) for part in module.modules()]
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        file = Path(scratch, f"{name}.onnx")
        try:
            module.eval()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # it announces its end; the newer exporter needs onnxscript
                torch.onnx.export(module, (image,), str(file), dynamo=False, input_names=["image"])
        except Exception as error:  # of the module itself as well as of the exporter
            reason = " ".join(str(error).split())[:300]
            raise InputError(
                f"the torch.nn.Module {name} cannot be exported for images of {size[0]}x{size[1]} pixels ({reason}); "
                "expected a module that takes images [batch, 3, height, width]"
            ) from None
        finally:
            for part, training in modes:  # the exporter sets all parts to the mode of the whole
                part.training = training
        path = folder / sha256(file) / file.name
        path.parent.mkdir(exist_ok=True)
        os.replace(file, path)
    return path
