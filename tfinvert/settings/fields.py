"""A setting: its type, default, help sentence, choices and bounds in one place. Flags, help, docs and checks follow."""

from __future__ import annotations

import csv
import dataclasses
import functools
import io
import math
import numbers
import os
import re
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from tfinvert.system.errors import InputError, choice_error, shown

LARGEST_NUMBER = 2**31 - 1  # for whole numbers, because TensorFlow counts in 32 bits in places
LONGEST_TEXT = 4000  # characters of a name or a path
SMALLEST_SIDE, LARGEST_SIDE = 16, 2048  # pixels of an image's side
Kind = typing.TypeVar("Kind")
KINDS = {bool: "yes or no", int: "a whole number", float: "a number", str: "text"}


@dataclasses.dataclass(frozen=True)
class Spec:
    """What `setting` says about a field; see there."""

    doc: str
    choices: tuple[str, ...]
    at_least: float | None
    at_most: float | None
    above: float | None
    below: float | None
    file: bool
    size: bool
    placement: bool
    aliases: tuple[str, ...]


def setting(
    *,
    default: Any,
    doc: str,
    choices: Iterable[str] = (),
    at_least: float | None = None,
    at_most: float | None = None,
    above: float | None = None,
    below: float | None = None,
    file: bool = False,
    size: bool = False,
    placement: bool = False,
    aliases: Iterable[str] = (),
) -> Any:
    """A field of a `Settings` class.

    Args:
      default: the value where none is given; None means "not given", and the program chooses.
      doc: one or two sentences for `--help` and the docs.
      choices: the texts that are allowed; none for any.
      at_least, at_most, above, below: bounds of a number, or of each number of a list.
      file: the value may be a path, also with ~ for the user's folder, or file.py:function beside `choices`; a run directory's
        flagfile has it absolute.
      size: the value is (height, width), written 224 or 224x320.
      placement: the value says where a run goes or how it is carried out, not what it is.
      aliases: other names of the flag, which `--help` does not show.

    Example:
      >>> @define
      ... class Sharpening(Settings):
      ...     sharpness: float = setting(default=1.0, doc="Weight of the sharpness.", at_least=0)
      >>> Sharpening(sharpness=2).sharpness
      2.0
    """
    spec = Spec(doc, tuple(choices), at_least, at_most, above, below, file, size, placement, tuple(aliases))
    return dataclasses.field(default=default, metadata={"spec": spec})


def changed(kind: type[Settings], name: str, *, default: Any, doc: str = "", choices: Iterable[str] = ()) -> Any:
    """A field of another class of settings, with another default, and another help sentence or choices where they are given."""
    field = next(field for field in dataclasses.fields(kind) if field.name == name)
    others: dict[str, Any] = {key: value for key, value in {"doc": doc, "choices": tuple(choices)}.items() if value}
    return dataclasses.field(default=default, metadata={"spec": dataclasses.replace(spec(field), **others)})


@typing.dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(setting, changed))
def define(cls: type[Kind]) -> type[Kind]:
    """Makes a class of settings: a frozen dataclass whose fields are given by name."""
    return dataclasses.dataclass(frozen=True, kw_only=True)(cls)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of an experiment. A subclass adds fields with `setting`, and checks of several fields in `check`.

    Values are taken as users write them: NumPy's numbers, a single value where several are possible, `size=224`.

    Raises:
      InputError: a value has the wrong type or is out of its range; the message names the flag, the value and what is expected.
    """

    experiment: ClassVar[str] = ""  # its name, set from the module that defines the class
    ignores: ClassVar[tuple[type[Settings], ...]] = ()  # whose flags have no effect here, so that their flagfiles can be given
    positional: ClassVar[tuple[str, ...]] = ()  # arguments of its function that need no name; default: image, network
    has_run_directory: ClassVar[bool] = False  # whether the runner makes a run directory for it
    has_page: ClassVar[bool] = True  # whether its run directory gets a report.html
    has_folder: ClassVar[bool] = False  # whether it writes into a folder by itself, which the runner chooses and locks
    passes_on: ClassVar[type[Settings] | None] = None  # settings that are only handed on to runs, and not shown in its help
    is_continued: ClassVar[bool] = True  # whether it goes on in a folder that was made with the same settings
    needs_tensorflow: ClassVar[bool] = True
    weights_stay: ClassVar[bool] = False  # whether no weights of a convolution change in the experiment

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls.experiment = cls.__module__.rpartition(".")[2]

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = converted(type(self), field, getattr(self, field.name))
            object.__setattr__(self, field.name, value)  # the one change of a frozen value: to its own type
            for item in value if isinstance(value, tuple) else (value,):
                _check(field, item)
        self.check()

    def check(self) -> None:
        """Raises InputError where fields do not go together. A subclass calls its parent's."""

    @classmethod
    def complete(cls, values: dict[str, Any]) -> dict[str, Any]:
        """The values that a user gave, completed with others that follow from them; raises InputError."""
        return values

    def each(self) -> list[Settings]:
        """The settings of each run that these stand for, where every image is a run of its own."""
        return [self]

    def layers_needed(self) -> tuple[str, ...]:
        """The layers that the network is cut to."""
        return tuple(getattr(self, "layers", ()))

    def image_files(self) -> tuple[str, ...]:
        """The image files that are read, beside `image`."""
        return ()


def spec(field: dataclasses.Field) -> Spec:
    """What `setting` said about a field."""
    return field.metadata["spec"]


@functools.cache
def _types(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def shape(kind: type, name: str) -> tuple[type, bool, bool]:
    """The type of a field's values, whether there are several, and whether it may be None."""
    hint, optional = _types(kind)[name], False
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        optional = type(None) in typing.get_args(hint)
        (hint,) = (part for part in typing.get_args(hint) if part is not type(None))
    several = typing.get_origin(hint) is tuple
    return (typing.get_args(hint)[0] if several else hint), several, optional


def converted(kind: type, field: dataclasses.Field, value: Any) -> Any:
    """A value in the type of its field; raises InputError where it has another."""
    element, several, optional = shape(kind, field.name)
    if value is None and optional:
        return None
    if spec(field).size:
        return as_size(field.name, value)
    if not several:
        return _element(field, value, element)
    if isinstance(value, (str, os.PathLike, numbers.Number)):
        value = (value,)
    if not isinstance(value, Iterable) or isinstance(value, Mapping):
        raise InputError(f"--{field.name} is {shown(value)}; expected {KINDS[element]}, or several of them")
    return tuple(_element(field, item, element) for item in value)


def _element(field: dataclasses.Field, value: Any, element: type) -> Any:
    if getattr(value, "ndim", 1) == 0 and hasattr(value, "dtype"):
        value = value.item() if hasattr(value, "item") else value.numpy().item()  # of NumPy, PyTorch or TensorFlow
    if element is bool and isinstance(value, bool):
        return value
    if element is int and isinstance(value, numbers.Integral) and not isinstance(value, bool):
        return int(value)
    if element is float and isinstance(value, numbers.Real) and not isinstance(value, bool):
        return float(value)
    if element is str and isinstance(value, (str, os.PathLike)):
        # A shell leaves the tilde of --image=~/a.png as it is.
        return os.path.expanduser(value) if spec(field).file else os.fspath(value)
    if element is str and isinstance(value, numbers.Integral) and not isinstance(value, bool):
        return str(int(value))  # a class by its index
    raise InputError(f"--{field.name} is {shown(value)}; expected {KINDS[element]}")


def as_size(name: str, value: Any) -> tuple[int, int]:
    """(height, width) in pixels of one number, of two, or of a text as in `parse_size`; raises InputError."""
    if isinstance(value, str):
        return parse_size(name, value)
    sides = (value, value) if isinstance(value, numbers.Integral) else tuple(value) if isinstance(value, Iterable) else ()
    if len(sides) != 2 or not all(isinstance(side, numbers.Integral) and _is_side(int(side)) for side in sides):
        expected = f"{SMALLEST_SIDE} to {LARGEST_SIDE} pixels, one number or (height, width)"
        raise InputError(f"--{name} is {shown(value)}; expected {expected}")
    return int(sides[0]), int(sides[1])


def _is_side(pixels: int) -> bool:
    return SMALLEST_SIDE <= pixels <= LARGEST_SIDE


def parse_size(name: str, text: str) -> tuple[int, int]:
    """`224` or `224x320` (height x width) as a pair; raises InputError."""
    parts = re.fullmatch(r"(\d{1,5})(?:[xX](\d{1,5}))?", text.strip())
    if not parts:
        raise InputError(f"--{name} is {text[:60]!r}; expected pixels as 224 or 224x320 (height x width)")
    return as_size(name, (int(parts[1]), int(parts[2] or parts[1])))


def parse_text(kind: type, field: dataclasses.Field, text: str) -> Any:
    """The value that a flag's text means; raises InputError. An empty text means no values of several, or "not given"."""
    element, several, optional = shape(kind, field.name)
    if optional and not text.strip():
        return () if several else None
    if spec(field).size:
        return parse_size(field.name, text)
    if element is str:
        return tuple(_split(field.name, text)) if several else text
    items = [_number(field.name, item, element, text) for item in (_split(field.name, text) if several else [text])]
    return tuple(items) if several else items[0]


def _split(name: str, text: str) -> list[str]:
    """The parts of a comma-separated text; a comma inside quotation marks separates nothing."""
    try:
        rows = list(csv.reader([text], strict=True))
    except csv.Error:
        raise InputError(f"--{name} is {shown(text)}; expected a list with commas, and quotation marks in pairs") from None
    return [item.strip() for row in rows for item in row if item.strip()]


def _number(name: str, item: str, element: type, text: str) -> Any:
    try:
        if len(item) > 100:
            raise ValueError
        return {"true": True, "false": False}[item.lower()] if element is bool else element(item)
    except (ValueError, KeyError):
        raise InputError(f"--{name} is {shown(text)}; expected {KINDS[element]}") from None


def flag_text(value: object, *, size: bool = False) -> str:
    """A value as its flag spells it."""
    if isinstance(value, bool):
        return str(value).lower()
    if size and isinstance(value, tuple):
        return "x".join(map(str, value))
    if isinstance(value, tuple):
        text = io.StringIO()
        csv.writer(text, lineterminator="").writerow(value)  # a comma in a name is quoted
        return text.getvalue()
    return "" if value is None else str(value)


def _check(field: dataclasses.Field, value: Any) -> None:
    """The bounds of one value, and what holds for every setting: a flagfile can hold it, and TensorFlow can count with it."""
    name, limits = field.name, spec(field)
    if isinstance(value, str):
        _check_text(name, value)
        if limits.choices and value not in limits.choices and not (limits.file and ".py:" in value):
            raise choice_error(f"--{name}", value, limits.choices)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        if isinstance(value, int) and abs(value) > LARGEST_NUMBER:
            shown = str(value)[:40] if value.bit_length() < 9999 else "huge"
            raise InputError(f"--{name} is {shown}; expected at most {LARGEST_NUMBER}")
        bounds = (
            (limits.at_least, "at least", lambda a, b: a >= b),
            (limits.above, "above", lambda a, b: a > b),
            (limits.at_most, "at most", lambda a, b: a <= b),
            (limits.below, "below", lambda a, b: a < b),
        )
        given = [(bound, words, holds) for bound, words, holds in bounds if bound is not None]
        if not math.isfinite(value) or not all(holds(value, bound) for bound, _, holds in given):
            expected = " and ".join(f"{words} {bound:g}" for bound, words, _ in given)
            raise InputError(f"--{name} is {value}; expected a finite number{' ' if expected else ''}{expected}")


def _check_text(name: str, value: str) -> None:
    wrong = next((c for c in value if ord(c) < 32 or ord(c) == 127 or 0xD800 <= ord(c) < 0xE000), None)
    if wrong is not None or len(value) > LONGEST_TEXT:
        what = f"holds the character {wrong!r}" if wrong else f"has {len(value)} characters"
        raise InputError(f"--{name} {what}: {value[:60]!r}; expected text of one line, at most {LONGEST_TEXT} characters")
