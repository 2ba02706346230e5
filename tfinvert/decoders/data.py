"""Which images a decoder is trained on, and which are held out to test it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tfinvert.decoders import tiny_imagenet
from tfinvert.images import files as images
from tfinvert.images import folders
from tfinvert.system.cache import cache_folder
from tfinvert.system.errors import InputError

SAMPLES, TINY_IMAGENET = "samples", "tiny-imagenet"  # values of --data beside a folder
# Photographs of scikit-image's wheel; those that are held out are never trained on.
TRAINING_SAMPLES = tuple(
    "coffee rocket motorcycle_left motorcycle_right hubble_deep_field retina ihc camera coins brick".split()
)
CLASSES = 20  # of Tiny ImageNet, where no number is given
HELD_OUT_SAMPLES = ("astronaut", "chelsea")


@dataclasses.dataclass(frozen=True)
class Split:
    """Files to train on and files that are held out.

    Attributes:
      train: the files to train on.
      test: the files that are held out.
      corners: whether four corners of each held-out image are tested on beside its center.
      classes: names of the classes that were drawn, if there are classes.
    """

    train: tuple[Path, ...]
    test: tuple[Path, ...]
    corners: bool = False
    classes: tuple[str, ...] = ()


def find(data: str, *, class_count: int | None, held_out: float, seed: int) -> Split:
    """The images that `--data` means. Tiny ImageNet is downloaded into the cache if it is not there.

    Args:
      data: "samples" for scikit-image's photographs; "tiny-imagenet"; a folder in the layout of Tiny ImageNet
        (train/<wnid>/images/*.JPEG, words.txt), or one with such a folder in it; or any other folder of images, subfolders
        included.
      class_count: number of classes of Tiny ImageNet, drawn with the seed; None for 20.
      held_out: fraction of each class, or of the folder's images, that is not trained on; drawn with the seed.
      seed: seed of both draws.

    Raises:
      InputError: there are no images, a class has none, the layout is another, the download fails, or images without classes
        are to be drawn by class.
    """
    if data == SAMPLES and not Path(data).exists():
        _refuse_classes(class_count, data)
        return Split(tuple(map(images.sample, TRAINING_SAMPLES)), tuple(map(images.sample, HELD_OUT_SAMPLES)), corners=True)
    root = Path(data)
    if data == TINY_IMAGENET and not root.exists():
        root = tiny_imagenet.download(cache_folder() / "data")
    if not root.is_dir():
        raise InputError(f"--data is {data!r}; expected samples, tiny-imagenet or a folder of images")
    rng = np.random.default_rng(seed)
    for place in (root, root / tiny_imagenet.NAME, root.parent if root.name == "train" else root):
        if (place / "words.txt").is_file() or (place / "wnids.txt").is_file():
            return _split_tiny_imagenet(place, class_count or CLASSES, held_out, rng)
    _refuse_classes(class_count, data)
    files = folders.files_in(root, subfolders=True, name="--data")
    if len(files) < 2:
        raise InputError(f"{root} holds {len(files)} images; expected at least 2: one to train on and one to test with")
    return Split(*_split_files(files, held_out, rng))


def _refuse_classes(class_count: int | None, data: str) -> None:
    """Raises InputError where classes are asked for of images that have none."""
    if class_count is not None:
        raise InputError(
            f"--class_count is {class_count}, and --data={data} has no classes to draw from; leave it out, or give a "
            "folder in the layout of Tiny ImageNet"
        )


def _split_tiny_imagenet(root: Path, class_count: int, held_out: float, rng: np.random.Generator) -> Split:
    other_layout = f"{root} has words.txt but not the layout of Tiny ImageNet, train/<wnid>/images/*.JPEG"
    if not (root / "train").is_dir():
        raise InputError(f"{other_layout}: there is no folder train")
    names = sorted(path.name for path in (root / "train").iterdir() if path.is_dir())
    if len(names) < class_count:
        raise InputError(f"{root / 'train'} holds {len(names)} classes; --class_count={class_count} expects as many at least")
    words = _read_words(root / "words.txt")
    train: list[Path] = []
    test: list[Path] = []
    drawn = sorted(rng.permutation(names)[:class_count])
    for name in drawn:
        folder = root / "train" / name / "images"
        if not folder.is_dir():
            raise InputError(f"{other_layout}: there is no folder {folder}")
        files = folders.files_in(folder, name="--data")
        if len(files) < 2:
            raise InputError(
                f"the class {name} ({words.get(name, '?')}) has {len(files)} images in {folder}; expected 2 at least"
            )
        kept, removed = _split_files(files, held_out, rng)
        train += kept
        test += removed
    return Split(tuple(train), tuple(test), classes=tuple(f"{name} {words.get(name, '?')}" for name in drawn))


def _read_words(path: Path) -> dict[str, str]:
    """WordNet id -> first word, of lines such as `n01443537<tab>goldfish, Carassius auratus`."""
    if not path.is_file():
        return {}
    pairs = (line.partition("\t") for line in path.read_text(encoding="utf-8", errors="replace").splitlines())
    return {name: words.partition(",")[0].strip() for name, _, words in pairs}


def _split_files(files: Sequence[Path], held_out: float, rng: np.random.Generator) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    """(files to train on, files held out), at least one file each."""
    order = rng.permutation(len(files))
    count = min(max(round(held_out * len(files)), 1), len(files) - 1)
    return tuple(files[i] for i in sorted(order[count:])), tuple(files[i] for i in sorted(order[:count]))
