"""The photographs of the benchmark, which come with packages. They were divided once, for tuning and for reporting.

What is chosen about a method is chosen on the photographs for tuning, and no reported figure is from these.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import logging
import os
from collections.abc import Sequence
from pathlib import Path

from tfinvert import images
from tfinvert.system.errors import InputError

log = logging.getLogger("tfinvert")


@dataclasses.dataclass(frozen=True)
class Photograph:
    """A photograph that comes with a package.

    Attributes:
      name: of the image, as in the tables.
      package: the module that has it.
      file: its path in the package.
      license: as the package states it.
    """

    name: str
    package: str
    file: str
    license: str

    def path(self) -> Path | None:
        """The file, or None where the package is not installed."""
        package = importlib.util.find_spec(self.package)
        path = None if package is None or package.origin is None else Path(package.origin).parent / self.file
        return path if path is not None and path.is_file() else None


def _skimage(file: str, license: str) -> Photograph:  # noqa: A002 - the word of the packages
    return Photograph(Path(file).stem, "skimage", f"data/{file}", license)


TUNING, REPORTING = "tuning", "reporting"
SETS: dict[str, tuple[Photograph, ...]] = {
    TUNING: (
        _skimage("chelsea.png", "CC0, Stefan van der Walt"),
        _skimage("coffee.png", "CC0, Rachel Michetti"),
        Photograph("flower", "sklearn", "datasets/images/flower.jpg", "CC BY 2.0, vultilion"),
        Photograph("china", "sklearn", "datasets/images/china.jpg", "CC BY 2.0, danielbuechele"),
        _skimage("grass.png", "CC0"),
        _skimage("moon.png", "no license is stated"),
        _skimage("text.png", "public domain"),
        _skimage("cell.png", "CC0"),
    ),
    REPORTING: (
        _skimage("astronaut.png", "public domain, NASA"),
        _skimage("rocket.jpg", "public domain, SpaceX"),
        Photograph("grace_hopper", "matplotlib", "mpl-data/sample_data/grace_hopper.jpg", "public domain, US Navy"),
        _skimage("motorcycle_left.png", "no license is stated; Middlebury stereo data of 2014"),
        _skimage("camera.png", "CC0, Lav Varshney"),
        _skimage("coins.png", "no known restrictions, Brooklyn Museum"),
        _skimage("retina.jpg", "CC0"),
        _skimage("ihc.png", "no known restrictions"),
        _skimage("brick.png", "CC0"),
        _skimage("page.png", "no license is stated"),
        _skimage("gravel.png", "CC0"),
        _skimage("hubble_deep_field.jpg", "public domain, NASA"),
    ),
}


def expand(chosen: Sequence[str], count: int | None = None) -> dict[str, str]:
    """The image files that a setting stands for: those of `images.expand`, and the photographs of `tuning` and `reporting`.

    Args:
      chosen: files, folders, names of sample photographs, and names of `SETS`.
      count: how many of the photographs of a set are taken; None for all.

    Returns:
      The name of each image -> the file.

    Raises:
      InputError: as `images.expand`, or no package with photographs is installed.
    """
    files: list[str] = []
    for name in chosen:
        if name not in SETS or os.path.exists(name):
            files.append(name)
            continue
        there = [(photograph, path) for photograph in SETS[name] if (path := photograph.path()) is not None]
        missing = [photograph for photograph in SETS[name] if photograph.path() is None]
        if missing:
            packages = ", ".join(sorted({photograph.package for photograph in missing}))
            log.warning("%d of the photographs for %s are not here, because %s is missing", len(missing), name, packages)
        files += [str(path) for _, path in there[:count]]
    return images.expand(files, "--image")


def check_sets(files: dict[str, str]) -> None:
    """Raises InputError where images for tuning and for reporting are mixed, because no reported figure may have both."""
    sets = {
        name
        for name, photographs in SETS.items()
        for photograph in photographs
        if photograph.path() is not None and str(photograph.path()) in map(os.path.realpath, files.values())
    }
    if len(sets) > 1:
        raise InputError("--image has photographs for tuning and for reporting; expected one of the two")
