"""The classes of a network: how many there are, what they are called, and which one a user means."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfinvert.networks import imagenet
from tfinvert.networks.heads import SIGMOID, Head
from tfinvert.networks.imagenet import ImageNetClass
from tfinvert.system.errors import InputError
from tfinvert.system.files import read_text
from tfinvert.system.received import located

NO_NAMES = "none"  # a value of --class_names
LARGEST_COUNT = 10**6


@dataclasses.dataclass(frozen=True)
class Classes:
    """The classes of a network.

    Attributes:
      count: their number; 2 where the network has a single score, that of class 1 against class 0.
      activation: "softmax" or "sigmoid", which makes probabilities of the scores.
      exclusive: whether an image is of one class only, so that the probabilities add up to 1. Where it is not, a class is seen
        in an image if its probability is above 0.5.
      output: name of the network's output that holds their scores.
      names: each class with its names; None where only indices are known.
      is_imagenet: whether they are the 1000 classes of ImageNet.
    """

    count: int
    activation: str
    exclusive: bool
    output: str
    names: tuple[ImageNetClass, ...] | None = None
    is_imagenet: bool = False

    @classmethod
    def of(cls, head: Head, names: Any = None) -> Classes:
        """The classes behind a head.

        Args:
          head: of the network.
          names: a list of names, or a file with them, as `read_names` takes them; "none" for no names. None for the names of
            ImageNet where there are 1000 exclusive classes, and for no names otherwise.

        Raises:
          InputError: the names cannot be read, or their number is another than that of the classes.
        """
        count = 2 if head.count == 1 else head.count
        exclusive = head.activation != SIGMOID or head.count == 1
        if names is None and exclusive and count == len(imagenet.classes()):
            return cls(count, head.activation, exclusive, head.output, imagenet.classes(), True)
        if names is None or names == NO_NAMES:
            return cls(count, head.activation, exclusive, head.output)
        listed = read_names(names)
        if len(listed) != count:
            raise InputError(f"--class_names has {len(listed)} names; expected {count}, one for each class of the network")
        named = tuple(ImageNetClass(index, "", (name,)) for index, name in enumerate(listed))
        return cls(count, head.activation, exclusive, head.output, named)

    def name(self, index: int) -> str:
        """What a class is called: its first name, or `class 5` where it has none."""
        return self.names[index].names[0] if self.names else f"class {index}"

    def seen(self, probabilities: np.ndarray) -> np.ndarray:
        """Whether each class is seen, of the shape [..., classes] of the probabilities.

        This is the most probable one; or where classes do not exclude each other, each that is more probable than not.
        """
        if not self.exclusive:
            return probabilities > 0.5
        return np.arange(self.count) == probabilities.argmax(axis=-1)[..., None]

    def find(self, text: str) -> int:
        """The index of the class that a user means.

        Args:
          text: an index, or a name, or a part of one that only one class has; for ImageNet a WordNet id, too.

        Raises:
          InputError: the network has no such class, or several are called so.
        """
        if re.fullmatch(r"\d{1,9}", text.strip()):
            index = int(text)
            if index >= self.count:
                raise InputError(
                    f"--class={index} is beyond the network's classes; expected an index from 0 to {self.count - 1}"
                )
            return index
        if self.names is None:
            raise InputError(
                f"--class={text}: the {self.count} classes of the network have no names; expected an index from 0 to "
                f"{self.count - 1}, or their names in a file with --class_names"
            )
        return imagenet.find(text, self.names)

    def indices(self, texts: Iterable[str]) -> list[int]:
        """The indices of several classes; raises InputError as `find` does."""
        return [self.find(text) for text in texts]


def read_names(source: Any) -> list[str]:
    """The names of classes, in the order of a network's outputs.

    Args:
      source: a list of names, or a text file with one name a line, which may begin with its own index, or a JSON file with a
        list, or with a dictionary from indices to names.

    Raises:
      InputError: the file cannot be read, or there are no names in it.

    Example:
      >>> read_names(["cat", "dog"])
      ['cat', 'dog']
    """
    if isinstance(source, str | Path):
        return _names_of_file(located(Path(source).expanduser()))
    if not isinstance(source, Sequence) or not source or not all(isinstance(name, str) for name in source):
        raise InputError(f"class_names is {str(source)[:60]}; expected a list of names, or a file with one name a line")
    return list(source)


def _names_of_file(path: Path) -> list[str]:
    try:
        text = read_text(path).removeprefix("\ufeff")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"cannot read --class_names={path}: {reason}; expected a file with one name a line") from None
    names = _names_of_json(text) if text.lstrip()[:1] in ("[", "{") else _names_of_lines(text)
    if not names or len(names) > LARGEST_COUNT or not all(name.isprintable() and name for name in names):
        raise InputError(f"--class_names={path} has no names of classes; expected one name a line, or a JSON list of names")
    return names


def _names_of_lines(text: str) -> list[str]:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    numbered = [re.match(r"(\d+)[\s:,;=]+(?=\S)", line) for line in lines]
    if lines and all(match and int(match[1]) == index for index, match in enumerate(numbered)):
        return [line[match.end() :] for line, match in zip(lines, numbered, strict=True) if match]
    return lines


def _names_of_json(text: str) -> list[str]:
    try:
        content = json.loads(text)
        if isinstance(content, dict):
            content = [content[str(index)] for index in range(len(content))]
        # Keras keeps ImageNet's as ["n01440764", "tench"].
        return [str(name[-1]) if isinstance(name, list) else str(name) for name in content]
    except (ValueError, LookupError, RecursionError):
        return []
