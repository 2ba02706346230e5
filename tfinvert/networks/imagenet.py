"""The names of the 1000 ImageNet classes (ILSVRC 2012): from what a user calls a class to its index, and back."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import re
from collections.abc import Sequence
from pathlib import Path

from tfinvert.errors import InputError

FILE = Path(__file__).with_name("imagenet_classes.txt")
SHOWN = 8  # candidates in an error


@dataclasses.dataclass(frozen=True)
class ImageNetClass:
    """A class.

    Attributes:
      index: of the network's output.
      wordnet_id: such as n02480855.
      names: the words of the synset, the most usual first.
    """

    index: int
    wordnet_id: str
    names: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.index} {self.wordnet_id} {', '.join(self.names[:2])}"


@functools.cache
def classes() -> tuple[ImageNetClass, ...]:
    """All of them, by index."""
    lines = [line for line in FILE.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    parted = [line.partition(" ") for line in lines]
    return tuple(ImageNetClass(i, wordnet_id, tuple(words.split(", "))) for i, (wordnet_id, _, words) in enumerate(parted))


def find(text: str) -> int:
    """The index of the class that a user means.

    Args:
      text: an index, a WordNet id, or one of the class' names, in capitals or not; a part of a name will do where only
        one class has it.

    Raises:
      InputError: no class is called so, or several are; the candidates are listed.
    """
    wanted = " ".join(text.lower().replace("_", " ").split())
    if re.fullmatch(r"\d+", wanted):
        return int(wanted)
    if re.fullmatch(r"n\d{8}", wanted):
        found = [one for one in classes() if one.wordnet_id == wanted]
    else:
        found = [one for one in classes() if wanted in map(str.lower, one.names)]
        if not found and wanted:
            words = re.compile(rf"\b{re.escape(wanted)}\b")
            found = [one for one in classes() if any(words.search(name.lower()) for name in one.names)]
    if len(found) == 1:
        return found[0].index
    if found:
        raise InputError(f"--class={text} is {len(found)} classes; expected one of: {_listed(found)}")
    by_name = {name.lower(): one for one in classes() for name in one.names}
    near = list(dict.fromkeys(by_name[name] for name in difflib.get_close_matches(wanted, by_name, n=SHOWN, cutoff=0.6)))
    hint = f"; the nearest are: {_listed(near)}" if near else ""
    raise InputError(f"unknown --class={text}; expected an ImageNet class by name, index or WordNet id{hint}")


def name(index: int, count: int) -> str:
    """What a class is called: its first name, or `class 5` of a network whose outputs are not the 1000 of ImageNet."""
    return classes()[index].names[0] if count == len(classes()) else f"class {index}"


def indices(names: Sequence[str], count: int) -> list[int]:
    """The classes that a user names; raises InputError for a class that a network with `count` outputs does not have."""
    numbers = [find(text) for text in names]
    for index in numbers:
        check(index, count)
    return numbers


def check(index: int, count: int) -> None:
    """Raises InputError where a network with `count` outputs has no such class."""
    if index >= count:
        raise InputError(f"--class={index} is beyond the network's classes; expected an index from 0 to {count - 1}")


def _listed(found: list[ImageNetClass]) -> str:
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return "; ".join(map(str, found[:SHOWN])) + more
