"""What a run has found, in the words with which it ends. All other figures are in run.json."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tfinvert import metrics
from tfinvert.runs import reading

# Figures that run.json keeps, and that nobody needs at the end of a run.
KEPT = ("seconds", "steps_per_second", "peak_memory_mb", "completeness_error", "integration_parts", "fooled", "original")
SHOWN_FILES = ("final.png", "sheet.png", "curves.png", "report.html", "table.md", "images", "decoder.keras")


def describe_inversion(info: Mapping[str, Any]) -> str:
    """Two or three lines: what was inverted, how well and how fast; the restarts if there are several; the weights.

    Args:
      info: what `RunDirectory.read_info` gives. A figure that is missing or damaged appears as nan.
    """
    result = info.get("result", {})
    psnr, error, seconds = (reading.number(result, name) for name in ("psnr", "normalized_feature_error", "seconds"))
    what = f"{_image(info)}, {info.get('network')} {'+'.join(info.get('layers', {}))}"
    made = seconds * reading.number(result, "steps_per_second")
    steps = round(made) if math.isfinite(made) else "?"
    lines = [f"{what}: PSNR {psnr:.2f} dB, feature error {error:.2g}, {steps} steps in {seconds:.1f} s"]
    restarts = reading.restarts(result)
    if restarts:
        mean, half = metrics.interval([restart["psnr"] for restart in restarts])
        lines.append(f"best of {len(restarts)} restarts; mean {mean:.2f} dB, 95 % interval +-{half:.2f}")
    return "\n".join([*lines, f"weights: {info.get('weights')}"])


def describe_figures(info: Mapping[str, Any]) -> str:
    """A line for each image or class, one for what else was measured, and the weights.

    Args:
      info: what `RunDirectory.read_info` gives.
    """
    result = {name: value for name, value in info.get("result", {}).items() if name not in KEPT}
    original = info.get("result", {}).get("original")
    lines, rest = [], []
    for name, value in result.items():
        items = value if isinstance(value, list) else [value]
        named = [item for item in items if isinstance(item, Mapping) and ("name" in item or "target" in item)]
        if named and len(named) == len(items):
            lines += [
                f"{image}{describe_class(item, original)}" for image, item in zip(_images(info, items), items, strict=True)
            ]
        else:
            rest += [f"{name.replace('_', ' ')} {_short(item)}" for item in items if not isinstance(item, (Mapping, list))]
    return "\n".join([*lines, *filter(None, [", ".join(rest)]), f"weights: {info.get('weights')}"])


def describe_class(found: Mapping[str, Any], original: Mapping[str, Any] | None = None) -> str:
    """A class of a result in words: "Egyptian cat 72 %", or what came of an attack on an image.

    Example:
      >>> describe_class({"name": "Egyptian cat", "probability": 0.7211})
      'Egyptian cat 72 %'
    """
    name = found.get("target", found.get("name"))
    if "probability_after" in found:
        was = f" (was {describe_class(original)})" if isinstance(original, Mapping) else ""
        fooled = "" if found.get("fooled", True) else f", not fooled: still {found.get('seen')}"
        change = f"{found.get('steps')} steps, largest change {found.get('largest_change')}/255"
        return f"→ {name} {_percent(found['probability_after'])}{was}{fooled}, {change}"
    if "probability" in found:
        return f"{name} {_percent(found['probability'])}"
    return f"{name}: score {_short(found.get('score'))}"


def where(folder: Path, view: str = "") -> str:
    """Where the files of a run are, and the command that shows them.

    Args:
      folder: the run directory.
      view: the command, to which the folder is added; empty for none.
    """
    files = [name for name in SHOWN_FILES if (folder / name).is_file() or any((folder / name).glob("*.png"))]
    shown = f"{folder}: {', '.join(files)}" if files else str(folder)
    return f"{shown}\nto see them: {view} {folder}" if view else shown


def _images(info: Mapping[str, Any], items: list) -> list[str]:
    """The name of the image that each item is about, with what separates it from the rest; empty where that is not known."""
    names = [name for name in str(info.get("image", "")).split(", ") if name]
    attacks = bool(items) and "probability_after" in items[0]
    if len(names) == 1 and attacks:
        return [f"{Path(names[0]).stem} "] * len(items)
    if len(names) == len(items) and not any(Path(name).is_dir() for name in names):
        return [f"{Path(name).stem}: " for name in names]
    return [""] * len(items)


def _image(info: Mapping[str, Any]) -> str:
    return Path(str(info.get("image", "?"))).stem


def _percent(value: object) -> str:
    """A probability as a percentage, exact where it is near 0 or 1."""
    number = reading.number({"value": value}, "value")
    return f"{100 * number:.{0 if number < 0.995 else 1}f} %" if number >= 0.01 else f"{100 * number:.2g} %"


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
