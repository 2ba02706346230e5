"""Pictures to train on: found in folders, read with several threads, cropped by a tf.data pipeline.

Which crop of which picture comes n-th depends on the seed and n alone, so that a training that goes on after it was ended,
or that is shared by several workers, sees the same pictures.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import logging
import os
import shutil
import zipfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage

from tfinvert.errors import InputError
from tfinvert.images import files as images
from tfinvert.networks import zoo

SAMPLES, TINY_IMAGENET = "samples", "tiny-imagenet"
# Photographs of scikit-image's wheel; those held out are never trained on.
TRAINING_SAMPLES = tuple(
    "coffee rocket motorcycle_left motorcycle_right hubble_deep_field retina ihc camera coins brick".split()
)
HELD_OUT_SAMPLES = ("astronaut", "chelsea")
TINY_IMAGENET_SOURCES = ("http://cs231n.stanford.edu/tiny-imagenet-200.zip",)
TINY_IMAGENET_HASH = "md5:90528d7ca1a48142e341f4ef8d21d0de"
MEMORY = 2**31  # bytes of decoded pictures that are kept
SMALLEST_CROP = 0.4  # side of a random crop, as a fraction of the shorter side of the picture
CORNER_CROP = 0.6  # likewise of the crops of a held-out sample photograph
NAMED = 5  # broken pictures that are named one by one
log = logging.getLogger("tfinvert")


@dataclasses.dataclass(frozen=True)
class Split:
    """Files to train on and files held out.

    Attributes:
      train, test: the files.
      corners: whether four corners of each held-out picture are tested on beside its center.
      classes: names of the classes that were drawn, if any.
    """

    train: tuple[Path, ...]
    test: tuple[Path, ...]
    corners: bool = False
    classes: tuple[str, ...] = ()


def find(data: str, *, class_count: int, held_out: float, seed: int) -> Split:
    """The pictures that `--data` means.

    Args:
      data: "samples" for scikit-image's photographs; a folder in Tiny ImageNet's layout (train/<wnid>/images/*.JPEG,
        words.txt); any other folder of pictures, subfolders included.
      class_count: of Tiny ImageNet, drawn with the seed.
      held_out: fraction of each class, or of the folder's pictures, that is not trained on, drawn likewise.
      seed: of both.

    Raises:
      InputError: there are no pictures, a class has none, or the layout is another.
    """
    if data == SAMPLES and not Path(data).exists():
        return Split(tuple(map(images.sample, TRAINING_SAMPLES)), tuple(map(images.sample, HELD_OUT_SAMPLES)), corners=True)
    root = Path(data)
    if not root.is_dir():
        raise InputError(f"--data is {data!r}; expected samples, tiny-imagenet or a folder of pictures")
    rng = np.random.default_rng(seed)
    if (root / "words.txt").is_file() or (root / "wnids.txt").is_file():
        return _tiny_imagenet(root, class_count, held_out, rng)
    files = sorted(path for path in root.rglob("*") if path.suffix.lower() in images.SUFFIXES and path.is_file())
    if len(files) < 2:
        raise InputError(f"{root} holds {len(files)} pictures; expected at least 2: one to train on and one to test with")
    train, test = _divided(files, held_out, rng)
    return Split(train, test)


def _tiny_imagenet(root: Path, class_count: int, held_out: float, rng: np.random.Generator) -> Split:
    wanted = f"{root} has words.txt but is not laid out as Tiny ImageNet, train/<wnid>/images/*.JPEG"
    if not (root / "train").is_dir():
        raise InputError(f"{wanted}: there is no folder train")
    names = sorted(path.name for path in (root / "train").iterdir() if path.is_dir())
    if len(names) < class_count:
        raise InputError(f"{root / 'train'} holds {len(names)} classes; --class_count={class_count} expects as many at least")
    words = _words(root / "words.txt")
    train: list[Path] = []
    test: list[Path] = []
    drawn = sorted(rng.permutation(names)[:class_count])
    for name in drawn:
        folder = root / "train" / name / "images"
        if not folder.is_dir():
            raise InputError(f"{wanted}: there is no folder {folder}")
        files = sorted(path for path in folder.iterdir() if path.suffix.lower() in images.SUFFIXES)
        if len(files) < 2:
            raise InputError(
                f"the class {name} ({words.get(name, '?')}) has {len(files)} pictures in {folder}; expected 2 at least"
            )
        kept, out = _divided(files, held_out, rng)
        train += kept
        test += out
    return Split(tuple(train), tuple(test), classes=tuple(f"{name} {words.get(name, '?')}" for name in drawn))


def _words(path: Path) -> dict[str, str]:
    """WordNet id -> first word, of the lines `n01443537<tab>goldfish, Carassius auratus`."""
    if not path.is_file():
        return {}
    pairs = (line.partition("\t") for line in path.read_text(encoding="utf-8", errors="replace").splitlines())
    return {name: words.partition(",")[0].strip() for name, _, words in pairs}


def _divided(files: Sequence[Path], held_out: float, rng: np.random.Generator) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    """(trained on, held out), one picture of each at least."""
    order = rng.permutation(len(files))
    count = min(max(round(held_out * len(files)), 1), len(files) - 1)
    return tuple(files[i] for i in sorted(order[count:])), tuple(files[i] for i in sorted(order[:count]))


def tiny_imagenet(folder: Path) -> Path:
    """Tiny ImageNet's folder in `folder`, downloaded and unpacked if it is not there; it appears whole or not at all.

    Raises:
      InputError: it is not to be had, or the disk is full or cannot be written.
    """
    whole = folder / "tiny-imagenet-200"
    if whole.is_dir():
        return whole
    archive = folder / "tiny-imagenet-200.zip"
    zoo.fetch(archive, TINY_IMAGENET_SOURCES, TINY_IMAGENET_HASH, "or give --data=FOLDER")
    part = folder / f".tiny-imagenet-200.{os.getpid()}.part"
    try:
        with zipfile.ZipFile(archive) as zipped:
            zipped.extractall(part)
        os.replace(part / "tiny-imagenet-200", whole)
    except OSError as error:
        raise InputError(f"cannot unpack {archive} into {folder}: {error.strerror or error}") from None
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return whole


class Pictures:
    """Decoded pictures, those that fit into memory kept there.

    Attributes:
      files: those that can be read.
      broken: (file, reason) of the others.
    """

    def __init__(self, files: Sequence[Path], size: tuple[int, int], memory: int = MEMORY):
        """Reads every file once.

        Args:
          files: of pictures.
          size: (height, width) of what will be cut out of them; larger pictures are kept at twice that.
          memory: bytes to keep them in; what does not fit is read again each time.

        Raises:
          InputError: none can be read.
        """
        self._size = size
        with ThreadPoolExecutor() as pool:
            found = []
            used = 0
            for path, result in zip(files, pool.map(self._try, files), strict=True):
                if isinstance(result, np.ndarray):
                    used += result.nbytes
                found.append((path, result if isinstance(result, str) or used <= memory else None))
        self.broken = [(path, result) for path, result in found if isinstance(result, str)]
        good = [(path, result) for path, result in found if not isinstance(result, str)]
        self.files = [path for path, _ in good]
        self._kept = [result for _, result in good]
        if self.broken:
            some = "; ".join(reason for _, reason in self.broken[:NAMED])
            more = f"; and {len(self.broken) - NAMED} more" if len(self.broken) > NAMED else ""
            log.warning("%d of %d pictures are skipped: %s%s", len(self.broken), len(files), some, more)
        if not self.files:
            raise InputError(f"none of {len(files)} pictures can be read")

    def __len__(self) -> int:
        return len(self.files)

    def _try(self, path: Path) -> np.ndarray | str:
        try:
            return self._read(path)
        except InputError as error:
            return str(error)

    def _read(self, path: Path) -> np.ndarray:
        picture = images.read(path)
        factor = 2 * max(self._size) / min(picture.size)
        if factor < 1:
            sides = (round(picture.width * factor), round(picture.height * factor))
            picture = picture.resize(sides, PillowImage.Resampling.BILINEAR, reducing_gap=2.0)
        return np.asarray(picture, np.uint8)

    def crop(self, index: int, box: tuple[float, float, float], mirrored: bool = False) -> np.ndarray:
        """A part of a picture, with the proportions of the wanted size.

        Args:
          index: of the picture.
          box: (side, down, right), each from 0 to 1: the part's size, 1 for the largest that fits; where it lies in what
            is left over, 0 for the top or left edge.
          mirrored: left and right exchanged.

        Returns:
          uint8 [height, width, 3].
        """
        kept = self._kept[index]
        picture = PillowImage.fromarray(self._read(self.files[index]) if kept is None else kept)
        height, width = self._size
        largest = min(picture.height / height, picture.width / width)
        side, down, right = box
        tall, wide = side * largest * height, side * largest * width
        top, left = down * (picture.height - tall), right * (picture.width - wide)
        part = picture.resize((width, height), PillowImage.Resampling.BILINEAR, box=(left, top, left + wide, top + tall))
        array = np.asarray(part)
        return array[:, ::-1] if mirrored else array

    def center(self, index: int) -> np.ndarray:
        """The largest part about the middle, uint8 [height, width, 3]."""
        return self.crop(index, (1.0, 0.5, 0.5))

    def centers(self, *, corners: bool = False) -> np.ndarray:
        """Every picture's center, and its four corners where asked for, uint8 [count, height, width, 3]."""
        boxes = [(1.0, 0.5, 0.5)]
        if corners:
            boxes += [(CORNER_CROP, down, right) for down in (0.0, 1.0) for right in (0.0, 1.0)]
        return np.stack([self.crop(index, box) for index in range(len(self)) for box in boxes])

    def drawn(self, number: int, seed: int, *, augment: bool) -> tuple[int, np.ndarray]:
        """The n-th picture of a training: its index and uint8 [height, width, 3].

        Each pass over the pictures has an order of its own; with `augment`, each crop a place, size and side of its own.
        """
        turn, place = divmod(number, len(self))
        index = int(_order(seed, turn, len(self))[place])
        if not augment:
            return index, self.center(index)
        rng = np.random.default_rng((seed, number))
        side = rng.uniform(SMALLEST_CROP, 1)
        return index, self.crop(index, (side, rng.uniform(), rng.uniform()), bool(rng.integers(2)))


@functools.lru_cache(4)
def _order(seed: int, turn: int, count: int) -> np.ndarray:
    return np.random.default_rng((seed, turn, count)).permutation(count)


@dataclasses.dataclass(frozen=True)
class Share:
    """The part of each batch that this worker trains on: workers `index` of `count`, counted from 0."""

    index: int = 0
    count: int = 1

    @staticmethod
    def told() -> Share:
        """What TF_CONFIG says, TensorFlow's way of telling each process which worker of which it is; else all of it.

        Raises:
          InputError: TF_CONFIG cannot be read, or names something else than workers.
        """
        text = os.environ.get("TF_CONFIG")
        if not text:
            return Share()
        try:
            found = json.loads(text)
            workers, task = found["cluster"]["worker"], found["task"]
            if list(found["cluster"]) != ["worker"] or task["type"] != "worker" or not 0 <= task["index"] < len(workers):
                raise ValueError
        except (ValueError, KeyError, TypeError):
            raise InputError(
                f"TF_CONFIG is {text[:200]!r}; expected a cluster of workers alone and this worker's task, such as "
                '{"cluster": {"worker": ["host1:2222", "host2:2222"]}, "task": {"type": "worker", "index": 0}}'
            ) from None
        return Share(task["index"], len(workers))

    @property
    def is_chief(self) -> bool:
        """Whether this is the first worker, which writes the run directory."""
        return self.index == 0

    def numbers(self, first_step: int, last_step: int, batch_size: int) -> np.ndarray:
        """The numbers of the pictures of these steps, in order."""
        own = batch_size // self.count
        start = np.arange(first_step, last_step)[:, None] * batch_size + self.index * own
        return (start + np.arange(own)).ravel()
