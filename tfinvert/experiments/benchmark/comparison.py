"""Two benchmarks side by side: what a change has brought, or another machine."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tfinvert import metrics
from tfinvert.experiments.benchmark.summary import FIGURES, read
from tfinvert.experiments.benchmark.tables import markdown_table
from tfinvert.system.errors import InputError

SECONDS = "seconds"


def compare(first: Path, second: Path) -> str:
    """A table in Markdown: for each method of both files, the mean at its end in each, over the cells that both have.

    Raises:
      InputError: a file is no benchmark.json, or they have no cell in common.
    """
    before, after = (_ends(read(path)) for path in (first, second))
    places = [place for place in before if place in after]
    if not places:
        raise InputError(f"{first} and {second} have no cell in common; expected the same networks, layers, images and methods")
    rows = []
    for method in dict.fromkeys(place[3] for place in places):
        own = [place for place in places if place[3] == method]
        for figure, (title, _, form) in {**FIGURES, SECONDS: ("time (s)", False, ".2f")}.items():
            shared = [place for place in own if figure in before[place] and figure in after[place]]
            if not shared:
                continue
            old, new = ([ends[place][figure] for place in shared] for ends in (before, after))
            p = metrics.paired_test(*_by_image(shared, old, new))
            rows.append(
                [method, title, str(len(shared)), f"{np.mean(old):{form}}", f"{np.mean(new):{form}}", f"{p:.2g}"],
            )
    heads = ["method", "figure", "cells", str(first), str(second), "p over the images"]
    return markdown_table(heads, rows) + "\n"


def _ends(data: Mapping[str, Any]) -> dict[tuple[str, ...], Mapping[str, float]]:
    names = ("network", "layer", "image", "method")
    return {tuple(cell[name] for name in names): cell["curve"][-1] for cell in data["cells"]}


def _by_image(places: list[tuple[str, ...]], old: list[float], new: list[float]) -> tuple[list[float], list[float]]:
    """The means of each image, because its layers are not independent of each other."""
    images = [place[2] for place in places]
    means = [
        [
            float(np.mean([value for value, image in zip(values, images, strict=True) if image == name]))
            for name in dict.fromkeys(images)
        ]
        for values in (old, new)
    ]
    return means[0], means[1]
