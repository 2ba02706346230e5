"""The figures of a finished inversion in words."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tfinvert import metrics
from tfinvert.runs import reading


def describe_inversion(info: Mapping[str, Any]) -> str:
    """Three or four lines: quality and speed, the errors of the papers, the restarts if there are several, the weights.

    Args:
      info: what `RunDirectory.read_info` gives. A figure that is missing or damaged appears as nan.
    """
    result = info.get("result", {})

    def figure(name: str) -> float:
        return reading.number(result, name)

    lines = [
        f"PSNR {figure('psnr'):.2f} dB, SSIM {figure('ssim'):.4f}, "
        f"normalized feature error {figure('normalized_feature_error'):.3g}; "
        f"{figure('seconds'):.1f} s, {figure('steps_per_second'):.1f} steps/s, {figure('peak_memory_mb'):.0f} MB at most",
        f"error of Mahendran & Vedaldi 2015 {figure('mv2015_error'):.3g}, of 2016 {figure('mv2016_error'):.3g}",
    ]
    restarts = reading.restarts(result)
    if restarts:
        mean, half = metrics.interval([restart["psnr"] for restart in restarts])
        lines.append(f"best of {len(restarts)} restarts; mean {mean:.2f} dB, 95 % interval +-{half:.2f}")
    return "\n".join([*lines, f"weights: {info.get('weights')}"])


def describe_figures(figures: Mapping[str, Any], weights: str, folder: Path) -> str:
    """One line for each figure of a result, and where its images are.

    Args:
      figures: the result of run.json.
      weights: where the network's weights came from.
      folder: the run directory.
    """
    lines = []
    for name, value in figures.items():
        for item in value if isinstance(value, (list, tuple)) else [value]:
            pairs = item.items() if isinstance(item, Mapping) else ()
            text = ", ".join(f"{key} {_short(each)}" for key, each in pairs) or _short(item)
            lines.append(f"{name.replace('_', ' ')}: {text}")
    return "\n".join([*lines, f"weights: {weights}", f"images: {folder / 'sheet.png'}, {folder / 'images'}"])


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
