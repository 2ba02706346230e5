"""Images to train on: decoded by several threads, cropped by their number.

Which crop of which image comes n-th depends on the seed and n alone, so that a training that is resumed, or that several
workers share, sees the same images.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage

from tfinvert.images import files
from tfinvert.system.errors import InputError
from tfinvert.system.progress import progress_bar

MEMORY = 2**31  # bytes of decoded images that are kept
SMALLEST_CROP = 0.4  # side of a random crop, as a fraction of the largest that fits into the image
CORNER_CROP = 0.6  # likewise of the crops at the corners
CENTER = (1.0, 0.5, 0.5)  # the box of the largest crop about the middle
CORNERS = tuple((CORNER_CROP, down, right) for down in (0.0, 1.0) for right in (0.0, 1.0))
MOST_NAMED = 5  # broken images that the log names
log = logging.getLogger("tfinvert")


class ImageSet:
    """Decoded images. Those that fit into memory are kept there.

    Attributes:
      files: the files that can be read.
      broken: (file, reason) of the files that cannot be read.
    """

    def __init__(self, paths: Sequence[Path], size: tuple[int, int], memory: int = MEMORY):
        """Reads every file once; the log names those that cannot be read.

        Args:
          paths: image files.
          size: (height, width) of the crops; larger images are kept at twice that.
          memory: bytes for decoded images; an image that does not fit is read again each time.

        Raises:
          InputError: no file can be read.
        """
        self._size = size
        self.files: list[Path] = []
        self.broken: list[tuple[Path, str]] = []
        self._kept: list[np.ndarray | None] = []
        used = 0
        with ThreadPoolExecutor() as pool, progress_bar("reading", len(paths), unit=" images") as bar:
            for path, result in zip(paths, pool.map(self._read_or_explain, paths), strict=True):
                bar.update()
                if isinstance(result, str):
                    self.broken.append((path, result))
                    continue
                used += result.nbytes
                self.files.append(path)
                self._kept.append(result if used <= memory else None)
        if self.broken:
            named = "; ".join(reason for _, reason in self.broken[:MOST_NAMED])
            more = f"; and {len(self.broken) - MOST_NAMED} more" if len(self.broken) > MOST_NAMED else ""
            log.warning("%d of %d images are skipped: %s%s", len(self.broken), len(paths), named, more)
        if not self.files:
            raise InputError(f"none of {len(paths)} images can be read")

    def __len__(self) -> int:
        return len(self.files)

    def crop(self, index: int, box: tuple[float, float, float], mirrored: bool = False) -> np.ndarray:
        """A part of an image, with the proportions of the set's size.

        Args:
          index: number of the image.
          box: (side, down, right), each from 0 to 1. `side` is the part's size, 1 for the largest that fits. `down` and
            `right` are its place in what is left over, 0 for the top or left edge.
          mirrored: whether left and right are exchanged.

        Returns:
          uint8 [height, width, 3].
        """
        kept = self._kept[index]
        image = PillowImage.fromarray(self._read(self.files[index]) if kept is None else kept)
        height, width = self._size
        largest = min(image.height / height, image.width / width)
        side, down, right = box
        part_height, part_width = side * largest * height, side * largest * width
        top, left = down * (image.height - part_height), right * (image.width - part_width)
        edges = (left, top, left + part_width, top + part_height)
        array = np.asarray(image.resize((width, height), PillowImage.Resampling.BILINEAR, box=edges))
        return array[:, ::-1] if mirrored else array

    def center(self, index: int) -> np.ndarray:
        """The largest part about the middle of an image, uint8 [height, width, 3]."""
        return self.crop(index, CENTER)

    def centers(self, *, corners: bool = False) -> np.ndarray:
        """The center of every image, followed by its four corners if `corners`, uint8 [count, height, width, 3]."""
        boxes = (CENTER, *CORNERS) if corners else (CENTER,)
        return np.stack([self.crop(index, box) for index in range(len(self)) for box in boxes])

    def draw(self, number: int, seed: int, *, augment: bool) -> tuple[int, np.ndarray]:
        """The n-th image of a training.

        Each pass over the images has its own order.

        Args:
          number: n, from 0.
          seed: seed of the training.
          augment: whether to take a random crop, mirrored half of the time, instead of the center.

        Returns:
          The index of the image, and uint8 [height, width, 3].
        """
        turn, place = divmod(number, len(self))
        index = int(_order(seed, turn, len(self))[place])
        if not augment:
            return index, self.center(index)
        rng = np.random.default_rng((seed, number))
        side = rng.uniform(SMALLEST_CROP, 1)
        return index, self.crop(index, (side, rng.uniform(), rng.uniform()), bool(rng.integers(2)))

    def _read_or_explain(self, path: Path) -> np.ndarray | str:
        try:
            return self._read(path)
        except InputError as error:
            return str(error)

    def _read(self, path: Path) -> np.ndarray:
        image = files.read(path)
        factor = 2 * max(self._size) / min(image.size)
        if factor < 1:
            sides = (round(image.width * factor), round(image.height * factor))
            image = image.resize(sides, PillowImage.Resampling.BILINEAR, reducing_gap=2.0)
        return np.asarray(image, np.uint8)


@functools.lru_cache(4)
def _order(seed: int, turn: int, count: int) -> np.ndarray:
    """The order of the images in pass `turn`."""
    return np.random.default_rng((seed, turn, count)).permutation(count)
