"""What stands below the images of a run that are no steps, from the names of their files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

NAMES = {"tensorflow": "TensorFlow", "pytorch": "PyTorch", "difference": "TensorFlow - PyTorch", "losses": "losses of both"}


def caption(stem: str, info: Mapping[str, Any]) -> str:
    """The caption of an image.

    Args:
      stem: the name of its file without its ending, such as `00-grad_cam-overlay`.
      info: what run.json holds.

    Example:
      >>> caption("00-grad_cam-overlay", {})
      'grad cam overlay'
    """
    rows = info.get("result", {}).get("rows")
    if info.get("experiment") == "compare_decoders" and isinstance(rows, list):
        return _of_decoders(stem, [row for row in rows if isinstance(row, dict)])
    words = stem.lstrip("0123456789-").replace("-", " ").replace("_", " ") or stem
    return NAMES.get(words, words)


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


def is_map(stem: str, info: Mapping[str, Any]) -> bool:
    """Whether an image is a map of numbers in the colors of heat."""
    name = stem.lstrip("0123456789-")
    return info.get("experiment") == "saliency" and name != "image" and not name.endswith("-overlay")
