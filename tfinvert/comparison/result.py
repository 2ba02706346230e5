"""What the comparison of two sides says: its figures, its table, its images."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np

from tfinvert import images, metrics
from tfinvert.comparison.sides import Side
from tfinvert.images.references import EVEN_GREY, MEAN_IMAGE, reference_psnr
from tfinvert.system.errors import InputError
from tfinvert.system.files import write_text

FIGURES = "compare.json"
FIRST = 50
DIFFERENCE = 0.05  # of the range of an image, which has the color of an end
LARGEST_PSNR = 200.0  # dB; JSON has no infinity


@dataclasses.dataclass(frozen=True)
class CompareResult:
    """TensorFlow beside PyTorch.

    Attributes:
      network, weights, layers, steps, precision: what was run.
      feature_difference: the largest difference of each layer's features at the start, relative to the largest feature.
      gradient_cosine, gradient_relative_error: between the two gradients at the start.
      loss_gap_first_50_steps, loss_gap: the largest relative difference of the losses over the first 50 and over all steps.
      psnr_between, largest_image_difference: between the two last images (dB; as a fraction of white).
      gflop_per_step: the arithmetic of a step's forward pass.
      tensorflow: `psnr` (dB) and `ssim` against the target, `steps_per_second`, `seconds_to_first_step`, `peak_memory_mb`, and
        the `loss` before each update and at the end.
      pytorch: likewise, with the figures of speed by variant in `variants`.
      fastest_pytorch: the variant that makes the most steps per second.
      images: `target`, `tensorflow` and `pytorch`, float32 [1, H, W, 3], not clipped.
      folder: where `write` puts the files.
    """

    network: str
    weights: str
    layers: list[str]
    steps: int
    precision: str
    feature_difference: dict[str, float]
    gradient_cosine: float
    gradient_relative_error: float
    loss_gap_first_50_steps: float
    loss_gap: float
    psnr_between: float
    largest_image_difference: float
    gflop_per_step: float
    tensorflow: dict[str, Any]
    pytorch: dict[str, Any]
    fastest_pytorch: str
    images: dict[str, np.ndarray]
    folder: Path

    def figures(self) -> dict[str, Any]:
        """Everything but the images, as compare.json holds it."""
        names = [field.name for field in dataclasses.fields(self) if field.name not in ("images", "folder")]
        return {name: getattr(self, name) for name in names}

    def summary(self) -> str:
        """The figures as two tables: how near the sides are, and how fast."""
        ours, theirs, references = self.tensorflow, self.pytorch, reference_psnr(self.images["target"][0])
        rows = [(f"features of {name} at the start", f"{value:.1e}") for name, value in self.feature_difference.items()]
        rows += [
            ("gradient at the start, relative error", f"{self.gradient_relative_error:.1e}"),
            ("gradient at the start, cosine", f"{self.gradient_cosine:.9f}"),
            (f"loss, largest gap over {FIRST} steps", f"{self.loss_gap_first_50_steps:.2e}"),
            ("loss, largest gap over all steps", f"{self.loss_gap:.2e}"),
            ("PSNR, TensorFlow and PyTorch", f"{ours['psnr']:.2f} and {theirs['psnr']:.2f} dB"),
            *((f"PSNR of {name}", f"{references[name]:.2f} dB") for name in (EVEN_GREY, MEAN_IMAGE)),
            ("SSIM, TensorFlow and PyTorch", f"{ours['ssim']:.4f} and {theirs['ssim']:.4f}"),
            ("PSNR between the two", f"{self.psnr_between:.1f} dB"),
            ("arithmetic of a step", f"{self.gflop_per_step:.1f} GFLOP"),
        ]
        width = max(len(name) for name, _ in rows)
        lines = [f"{name:{width}}  {value}" for name, value in rows]
        lines.append(f"{self.precision:{width}}  steps/s  GFLOP/s  to the first step (s)  peak memory (MB)")
        sides = {"TensorFlow": ours} | {f"PyTorch, {variant}": speed for variant, speed in theirs["variants"].items()}
        for name, speed in sides.items():
            rate, first, memory = speed["steps_per_second"], speed["seconds_to_first_step"], speed["peak_memory_mb"]
            lines.append(f"{name:{width}}  {rate:7.2f}  {rate * self.gflop_per_step:7.0f}  {first:21.1f}  {memory:16.0f}")
        lines.append(
            f"page: {self.folder / 'report.html'}; images: {self.folder / 'compare.png'}, {self.folder / 'curves.png'}"
        )
        return "\n".join(lines)

    def write(self) -> None:
        """Writes compare.json, compare.png, curves.png, report.html and the images into the folder, which is made if need be.

        Raises:
          InputError: the folder cannot be written to.
        """
        from tfinvert.reports import page

        folder = self.folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._write_images(folder)
            write_text(folder / FIGURES, json.dumps(self.figures(), indent=1) + "\n")  # with it, the comparison is finished
            page.write(folder, "TensorFlow beside PyTorch", [page.Entry(folder, folder.name)])
        except OSError as error:
            raise InputError(f"cannot write to {folder}: {error.strerror or error}") from None

    def _write_images(self, folder: Path) -> None:
        from tfinvert.reports import charts, differences, sheet

        ours, theirs = (np.clip(self.images[name][0], 0, 1) for name in ("tensorflow", "pytorch"))
        difference = differences.signed(ours, theirs, DIFFERENCE)[None]
        for name, image in {**self.images, "difference": difference}.items():
            images.save(folder / f"{name}.png", image)
        cells = {
            "target": ("target", None),
            "tensorflow": (f"TensorFlow, {self.tensorflow['psnr']:.2f} dB", None),
            "pytorch": (f"PyTorch, {self.pytorch['psnr']:.2f} dB", None),
            "difference": ("TensorFlow - PyTorch", sheet.difference_bar(DIFFERENCE)),
        }
        sheet.write_side_by_side(
            folder / "compare.png",
            [f"{self.network}: {', '.join(self.layers)}", f"weights: {self.weights}; {self.steps} steps"],
            [(folder / f"{name}.png", *words) for name, words in cells.items()],
        )
        curves = {"TensorFlow": self.tensorflow["loss"], "PyTorch": self.pytorch["loss"]}
        charts.write_two_curves(folder / "curves.png", curves)


def compare_sides(ours: Side, theirs: Side, speeds: dict[str, dict[str, float]], target: np.ndarray) -> dict[str, Any]:
    """How near two sides that made the same steps are, and how near each came to the target.

    Args:
      ours, theirs: TensorFlow's side and PyTorch's.
      speeds: variant of PyTorch -> its figures of speed.
      target: the image that was inverted, [1, H, W, 3].

    Returns:
      The fields of a CompareResult that follow from these alone.
    """
    gaps = [abs(a - b) / max(abs(b), 1e-30) for a, b in zip(ours.losses, theirs.losses, strict=True)]
    shown = np.clip(theirs.image, 0, 1)
    difference = np.abs(np.clip(ours.image, 0, 1) - shown)
    return {
        "feature_difference": {
            name: float(np.abs(ours.features[name] - value).max() / max(np.abs(value).max(), 1e-12))
            for name, value in theirs.features.items()
        },
        "gradient_cosine": _cosine(ours.gradient, theirs.gradient),
        "gradient_relative_error": float(np.linalg.norm(ours.gradient - theirs.gradient) / np.linalg.norm(theirs.gradient)),
        "loss_gap_first_50_steps": max(gaps[: FIRST + 1]),
        "loss_gap": max(gaps),
        "psnr_between": min(metrics.psnr(ours.image, shown), LARGEST_PSNR),
        "largest_image_difference": float(difference.max()),
        "tensorflow": {**_quality(ours, target), **ours.speed(), "loss": ours.losses},
        "pytorch": {**_quality(theirs, target), "variants": speeds, "loss": theirs.losses},
        "fastest_pytorch": max(speeds, key=lambda variant: speeds[variant]["steps_per_second"]),
        "images": {"target": target, "tensorflow": ours.image, "pytorch": theirs.image},
    }


def _quality(side: Side, target: np.ndarray) -> dict[str, float]:
    return {"psnr": min(metrics.psnr(side.image, target), LARGEST_PSNR), "ssim": metrics.ssim(side.image, target)}


def _cosine(first: np.ndarray, second: np.ndarray) -> float:
    a, b = first.ravel().astype(np.float64), second.ravel().astype(np.float64)
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))
