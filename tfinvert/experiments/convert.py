"""Write a network as a Keras file, which every backend of Keras reads.

Example:
  >>> import tfinvert
  >>> tfinvert.convert(network="resnet18", layers="res2", file="resnet18.keras").parameters
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from tfinvert.experiments.invert import Settings as InvertSettings
from tfinvert.runs.directory import check_writable
from tfinvert.settings.fields import Settings as AnySettings
from tfinvert.settings.fields import define, setting
from tfinvert.settings.groups import NetworkSettings
from tfinvert.system.errors import DiskError, InputError

if TYPE_CHECKING:
    from tfinvert.networks.network import Network


@define
class Settings(NetworkSettings):
    """The file"""

    positional: ClassVar[tuple[str, ...]] = ("network", "file")
    ignores: ClassVar[tuple[type[AnySettings], ...]] = (InvertSettings,)
    file: str | None = setting(
        default=None, doc="The file to write, which ends with .keras. Default: the network's name.", file=True
    )
    layers: tuple[str, ...] = setting(
        default=(), doc="The layers that the model returns, separated by commas. Default: all that have a name."
    )

    def check(self) -> None:
        super().check()
        if self.file is not None and Path(self.file).suffix != ".keras":
            raise InputError(f"--file is {self.file!r}; expected a name that ends with .keras")

    def path(self) -> Path:
        """Where the file is written."""
        return Path(self.file or f"{Path(self.network_name()).stem}.keras")


@dataclasses.dataclass(frozen=True)
class ConvertResult:
    """A network that was written as a Keras file.

    Attributes:
      path: the file.
      layers: the layers that the model returns.
      parameters: how many numbers its weights have.
    """

    path: Path
    layers: tuple[str, ...]
    parameters: int

    def summary(self) -> str:
        """One line about the file."""
        return f"{self.path}: {len(self.layers)} layers, {self.parameters} parameters; keras.models.load_model reads it"


def prepare(settings: Settings, network: Network) -> None:
    """Checks the folder of the file. Starts nothing: the model is converted as it is written."""
    check_writable(settings.path().parent, "--file")


def run(settings: Settings, network: Network) -> ConvertResult:
    """Writes the file."""
    names = settings.layers or tuple(network.layers)
    model = network.plain(names)
    try:
        settings.path().parent.mkdir(parents=True, exist_ok=True)
        model.save(settings.path())
    except OSError as error:
        raise DiskError(f"cannot write {settings.path()}: {error.strerror or error}") from None
    return ConvertResult(settings.path(), names, model.count_params())
