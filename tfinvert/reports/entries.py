"""The runs on a report page, read from their run directories."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import Any

import numpy as np

from tfinvert.images import files
from tfinvert.images.references import reference_psnr
from tfinvert.networks.layer import Layer
from tfinvert.optimization import presets
from tfinvert.runs import reading
from tfinvert.runs.directory import RunDirectory
from tfinvert.system.errors import InputError

FIGURES = ("psnr", "ssim", "normalized_feature_error", "seconds", "steps_per_second", "peak_memory_mb")


@dataclasses.dataclass(frozen=True)
class Entry:
    """A run that belongs on the page.

    Attributes:
      folder: its run directory.
      name: its heading.
      sentence: what the run is about.
      diff: the unified diff of its settings from the baseline.
      error: why it failed, if it did.
      usual_steps: the number of steps that its figures are meant for; None for those that its preset takes.
    """

    folder: Path
    name: str
    sentence: str = ""
    diff: str = ""
    error: str | None = None
    usual_steps: int | None = None


@dataclasses.dataclass(frozen=True)
class Run:
    """An entry with what its run directory holds.

    Attributes:
      entry: the entry.
      info: run.json.
      flags: run.flags, as names and texts.
      metrics: the lines of metrics.jsonl.
    """

    entry: Entry
    info: dict[str, Any]
    flags: dict[str, str]
    metrics: list[dict[str, Any]]

    @property
    def name(self) -> str:
        return self.entry.name

    @property
    def directory(self) -> RunDirectory:
        return RunDirectory(self.entry.folder)

    @property
    def experiment(self) -> str:
        return self.info.get("experiment", "invert")

    @property
    def layers(self) -> list[str]:
        return list(self.info.get("layers", {}))

    @property
    def result(self) -> dict[str, float]:
        """All figures of the run; empty where it has not ended, or where run.json or metrics.jsonl is damaged."""
        result = self.info.get("result", {})
        whole = self.metrics and self.layers and all(reading.is_number(result.get(name)) for name in FIGURES)
        return result if whole else {}

    @functools.cached_property
    def references(self) -> dict[str, float]:
        """The PSNR of images that hold nothing of the features (`references.reference_psnr`); empty without a target."""
        try:
            target = files.read(self.directory.target)
        except (InputError, OSError):
            return {}
        return reference_psnr(np.asarray(target, np.float32) / np.float32(255))

    @property
    def target(self) -> tuple[str, str]:
        """What tells the images apart that runs invert: only runs of the same target have PSNRs that can be compared."""
        return str(self.info.get("image_sha256", "")), str(self.info.get("image", ""))

    def cut_short(self) -> str:
        """Why the figures are of an image that is still on its way, in words; empty where the run is whole."""
        if "stopped" in self.info:
            return str(self.info["stopped"])
        chosen = self.info.get("settings", {})
        if not self.metrics or "steps" in (chosen if isinstance(chosen, dict) else {}):
            return ""
        made, usual = self.metrics[-1]["step"], self.entry.usual_steps or self._steps_of_the_preset()
        return f"{made} of {usual} steps" if made < usual else ""

    def _steps_of_the_preset(self) -> int:
        layers = {}
        for name, layer in self.info.get("layers", {}).items():
            sides = [layer.get("stride"), layer.get("receptive_field")]
            stride, field = (None if pair is None else (int(pair[0]), int(pair[1])) for pair in sides)
            layers[name] = Layer(name, "", (), stride, field)
        return presets.usual_steps(self.flags.get("preset", "auto"), layers) if layers else 0

    def setting(self, name: str) -> str:
        """A setting as text: the user's, else the one that the preset chose; empty where there is none."""
        return self.flags.get(name) or str(self.info.get("settings", {}).get(name, ""))

    def number(self, name: str) -> float:
        """A setting as a number: the one that the preset chose, else the user's; 0 where there is none."""
        try:
            value = float(self.info.get("settings", {}).get(name, self.flags.get(name, 0)))
        except (TypeError, ValueError):
            return 0.0
        return value if reading.is_number(value) else 0.0

    def steps(self) -> list[int]:
        """The step of each line."""
        return [line["step"] for line in self.metrics]

    def values(self, name: str) -> list[float]:
        """One value for each line, NaN where it is missing."""
        return [line.get(name, float("nan")) for line in self.metrics]

    def feature_loss(self) -> list[float]:
        """For each line the mean of the feature loss over the layers, without regularizers."""
        layers = self.layers
        return [sum(line.get(layer, float("nan")) for layer in layers) / max(len(layers), 1) for line in self.metrics]

    def label(self) -> str:
        """What tells runs apart in a sentence: the network and the layers."""
        return f"{self.info.get('network', '?')} {'+'.join(self.layers)}"


def read_run(entry: Entry) -> Run:
    """Reads the run directory of an entry. What is damaged or missing there is empty."""
    directory = RunDirectory(entry.folder)
    info = directory.read_info() or reading.read_outcome(entry.folder)
    return Run(entry, info, reading.read_flags(directory.flags), directory.read_metrics())
