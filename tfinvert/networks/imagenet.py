"""The names of the 1000 ImageNet classes (ILSVRC 2012): from what a user calls a class to its index, and back."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import re
from collections.abc import Sequence
from pathlib import Path

from tfinvert.system.errors import InputError

FILE = Path(__file__).with_name("imagenet_classes.txt")
SHOWN = 8  # candidates in an error


@dataclasses.dataclass(frozen=True)
class ImageNetClass:
    """A class of ImageNet, or of another network.

    Attributes:
      index: of the network's output.
      wordnet_id: such as n02480855; empty for classes of another network.
      names: the words of the synset, the most usual first.
    """

    index: int
    wordnet_id: str
    names: tuple[str, ...]

    def __str__(self) -> str:
        return " ".join(filter(None, (str(self.index), self.wordnet_id, ", ".join(self.names[:2]))))


@functools.cache
def classes() -> tuple[ImageNetClass, ...]:
    """All of them, by index."""
    lines = [line for line in FILE.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    parted = [line.partition(" ") for line in lines]
    return tuple(ImageNetClass(i, wordnet_id, tuple(words.split(", "))) for i, (wordnet_id, _, words) in enumerate(parted))


def find(text: str, among: Sequence[ImageNetClass] = ()) -> int:
    """The index of the class that a user means.

    Args:
      text: a WordNet id, or one of the class' names, in capitals or not; a part of a name will do where only one class has it.
      among: the classes; by default all of ImageNet's.

    Raises:
      InputError: no class is called so, or several are; the candidates are listed.
    """
    among = among or classes()
    wanted = " ".join(text.lower().replace("_", " ").split())
    if re.fullmatch(r"n\d{8}", wanted):
        found = [each for each in among if each.wordnet_id == wanted]
    else:
        found = [each for each in among if wanted in map(_plain, each.names)]
        if not found and wanted:
            words = re.compile(rf"(?<!\w){re.escape(wanted)}(?!\w)")
            found = [each for each in among if any(words.search(_plain(name)) for name in each.names)]
    if len(found) == 1:
        return found[0].index
    if found:
        raise InputError(f"--class={text} is {len(found)} classes; expected one of: {_listed(found)}")
    by_name = {_plain(name): each for each in among for name in each.names}
    near = list(dict.fromkeys(by_name[name] for name in difflib.get_close_matches(wanted, by_name, n=SHOWN, cutoff=0.6)))
    hint = f"; the nearest are: {_listed(near)}" if near else ""
    expected = "an ImageNet class by name, index or WordNet id" if among is classes() else "a class by its name or index"
    raise InputError(f"unknown --class={text}; expected {expected}{hint}")


def _plain(name: str) -> str:
    return name.lower().replace("_", " ")


def _listed(found: list[ImageNetClass]) -> str:
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return "; ".join(map(str, found[:SHOWN])) + more
