"""The cells of a benchmark: one inversion each. A cell that is there is not computed again."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

from tfinvert.settings.groups import folder_name
from tfinvert.system.files import read_text, write_text


@dataclasses.dataclass(frozen=True)
class Cell:
    """One inversion of a benchmark.

    Attributes:
      network, layer, image, method: their names.
    """

    network: str
    layer: str
    image: str
    method: str

    def folder(self, benchmark: Path) -> Path:
        """The folder of all methods for the same target."""
        return benchmark.joinpath("cells", *map(folder_name, (self.network, self.layer, self.image)))

    def file(self, benchmark: Path) -> Path:
        """The figures of the cell."""
        return self.folder(benchmark) / f"{folder_name(self.method)}.json"

    def end(self, benchmark: Path) -> Path:
        """The method's last image."""
        return self.folder(benchmark) / f"{folder_name(self.method)}.png"

    def equal(self, benchmark: Path) -> Path:
        """The method's image at the time that the first method takes."""
        return self.folder(benchmark) / f"{folder_name(self.method)}-at-equal-time.png"

    def read(self, benchmark: Path) -> dict[str, Any] | None:
        """The figures, or None where the cell is to be computed."""
        try:
            figures = json.loads(read_text(self.file(benchmark)))
        except (OSError, ValueError):
            return None
        return figures if isinstance(figures, dict) and "error" not in figures else None

    def is_there(self, benchmark: Path, key: str, longest: float) -> bool:
        """Whether the cell needs no computation.

        Args:
          benchmark: the output folder.
          key: what identifies network, target image and settings.
          longest: as in the settings. A cell that was cut after less is computed again, and one that ended by itself is not.
        """
        figures = self.read(benchmark) or {}
        return figures.get("key") == key and figures.get("cut", math.inf) >= longest

    def write(self, benchmark: Path, figures: dict[str, Any]) -> None:
        """Writes the figures, which come after the cell's images and say that it is finished."""
        self.folder(benchmark).mkdir(parents=True, exist_ok=True)
        write_text(self.file(benchmark), json.dumps({**dataclasses.asdict(self), **figures}, indent=1) + "\n")
