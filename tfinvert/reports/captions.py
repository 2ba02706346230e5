"""What stands below the images of a run that are no steps, from the names of their files and from its figures."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from tfinvert.runs.summary import describe_class

NAMES = {
    "compare": {
        "tensorflow": "TensorFlow",
        "pytorch": "PyTorch",
        "difference": "TensorFlow - PyTorch",
        "losses": "losses of both",
    },
    "diagnose": {"losses": "losses of both"},
    "fool": {"difference x10": "difference x 10"},
}
METHODS = {  # of saliency
    "gradient": "gradient",
    "smoothgrad": "SmoothGrad",
    "integrated": "integrated gradients",
    "guided": "guided backpropagation",
    "grad_cam": "Grad-CAM",
    "guided_grad_cam": "guided Grad-CAM",
}
LONGEST = 200  # characters
OVERLAY = "-overlay"  # ends the names of overlays of saliency, which have a row of their own below their maps
Image = TypeVar("Image")


def caption(stem: str, info: Mapping[str, Any]) -> str:
    """The caption of an image.

    Args:
      stem: the name of its file without its ending, such as `00-grad_cam-overlay`.
      info: what run.json holds.

    Example:
      >>> caption("00-grad_cam-overlay", {})
      'grad cam overlay'
      >>> targets = [{"target": "gorilla", "probability": 0.99}]
      >>> caption("class-00", {"experiment": "class_vis", "result": {"targets": targets}})
      'gorilla 99 %'
    """
    experiment, result = info.get("experiment"), info.get("result", {})
    if experiment == "compare_decoders" and (rows := _items(result, "rows")):
        return _of_decoders(stem, rows)
    if figures := _class_of(stem, info):
        return figures[:LONGEST]
    if experiment == "saliency" and (found := re.fullmatch(r"\d+-(\w+)(-overlay)?", stem)) and found[1] in METHODS:
        return METHODS[found[1]] + (", overlay" if found[2] else "")
    words = stem.lstrip("0123456789-").replace("-", " ").replace("_", " ") or stem
    return NAMES.get(str(experiment), {}).get(words, words)


def row(stem: str, info: Mapping[str, Any]) -> str:
    """What is the same for images that belong together and are shown in one row; empty for an image that belongs to none.

    Example:
      >>> row("01-gradient", {}), row("conv2-1-0", {"experiment": "compare_decoders"}), row("style-0", {})
      ('01', '1', '')
      >>> row("01-gradient-overlay", {"experiment": "saliency"})
      '01-overlay'
    """
    pattern = r"(?:target|.+?)-(\d{1,4})(?:-\d{1,4})?" if info.get("experiment") == "compare_decoders" else r"(\d{2,4})-.+"
    found = re.fullmatch(pattern, stem)
    below = OVERLAY if info.get("experiment") == "saliency" and stem.endswith(OVERLAY) else ""
    return f"{found[1]}{below}" if found else ""


def in_rows(images: Iterable[Image], stem: Callable[[Image], str], info: Mapping[str, Any]) -> list[list[Image]]:
    """Images in rows of what belongs together, in their order; the row with the first image comes first.

    Each row begins with the image that the others in it were made of, where there is one: the target, or the image of maps.

    Args:
      images: the images.
      stem: a function from an image to the name of its file without the ending.
      info: what run.json holds.
    """
    rows: dict[str, list[Image]] = {}
    for image in images:
        rows.setdefault(row(stem(image), info), []).append(image)
    for name, overlays in rows.items():
        above = rows.get(name.removesuffix(OVERLAY), [])
        if name.endswith(OVERLAY) and above and stem(above[0]).endswith("-image"):
            overlays.insert(0, above[0])
    if len(rows) > 1 and [stem(image) for image in rows.get("", [])] == ["target"]:
        target = rows.pop("")
        return [[*target, *others] for others in rows.values()]
    return list(rows.values())


def is_map(stem: str, info: Mapping[str, Any]) -> bool:
    """Whether an image is a map of numbers in the colors of heat."""
    name = stem.lstrip("0123456789-")
    return info.get("experiment") == "saliency" and name != "image" and not name.endswith(OVERLAY)


def _class_of(stem: str, info: Mapping[str, Any]) -> str:
    """What an image shows that has figures of its own; empty for another one."""
    kind = {
        "saliency": (r"(\d+)-image", "classes"),
        "fool": (r"(\d+)-fooled", "targets"),
        "class_vis": (r"class-(\d+)", "targets"),
    }.get(str(info.get("experiment")))
    if info.get("experiment") == "style" and (found := re.fullmatch(r"style-(\d{1,4})", stem)):
        names = list(info["style_images"]) if isinstance(info.get("style_images"), dict) else []
        return f"style: {Path(names[int(found[1])]).stem}" if int(found[1]) < len(names) else ""
    if kind is None or (found := re.fullmatch(kind[0], stem)) is None:
        return ""
    number, items = int(found[1][:9]), _items(info.get("result", {}), kind[1])
    if number >= len(items):
        return ""
    words = describe_class(items[number]).removeprefix("→ ")
    images = [name for name in str(info.get("image", "")).split(", ") if name]
    several = info.get("experiment") == "saliency" and len(images) == len(items)
    return f"{Path(images[number]).stem}: {words}" if several else words


def _items(result: Any, name: str) -> list[dict[str, Any]]:
    """The dictionaries of a list in a result; empty where there is no such list, or something else is in it."""
    items = result.get(name) if isinstance(result, dict) else None
    return items if isinstance(items, list) and all(isinstance(item, dict) for item in items) else []


def _of_decoders(stem: str, rows: list[dict[str, Any]]) -> str:
    """Of `target-IMAGE` and `LAYER-IMAGE-WAY`, with the numbers of the image and of the way."""
    images, ways = (list(dict.fromkeys(str(row.get(name)) for row in rows)) for name in ("image", "way"))
    found = re.fullmatch(r"(.+?)-(\d{1,4})(?:-(\d{1,4}))?", stem)
    if found is None:
        return stem
    layer, image, way = found[1], int(found[2]), found[3]
    name = images[image] if image < len(images) else str(image)
    if way is None:
        return f"{name}, {layer}"
    return f"{name}, {layer}, {ways[int(way)] if int(way) < len(ways) else way}"
