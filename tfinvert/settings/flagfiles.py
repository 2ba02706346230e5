"""Flagfiles: reading them, with those that they include, and writing the one that repeats a run."""

from __future__ import annotations

import codecs
import dataclasses
import itertools
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from tfinvert.settings import legacy, packaged
from tfinvert.settings.fields import Settings, flag_text, spec
from tfinvert.system.errors import InputError
from tfinvert.system.files import read_bytes

MOST_ARGUMENTS, DEEPEST_FLAGFILE = 10**4, 20  # those of included flagfiles counted too
HEADER = "# tfinvert 0.2: every setting of a run that was given; --flagfile=FILE repeats it.\n"


def text(settings: Settings) -> str:
    """The complete flagfile of a run: every setting that has a value, one flag a line, but not where the run goes."""
    lines = [f"--experiment={absolute(settings.experiment)}"]
    for field in dataclasses.fields(settings):
        value, about = getattr(settings, field.name), spec(field)
        if about.placement or value is None:
            continue
        if about.file:  # the run can be repeated from any folder
            value = tuple(map(absolute, value)) if isinstance(value, tuple) else absolute(value)
        lines.append(f"--{field.name}={flag_text(value, size=about.size)}")
    return HEADER + "\n".join(lines) + "\n"


def expand(arguments: Sequence[str]) -> list[str]:
    """The arguments, with each --flagfile replaced by its lines.

    absl looks for an included file in the working directory only. Here it is also looked for beside the file that includes
    it, and beside that file's folder, so that flags/q2.1.flags works from anywhere.

    Raises:
      InputError: a flagfile cannot be read, includes itself or far too many others, or has a line that is no flag.
    """
    return list(_expanded(arguments, (), itertools.count(1)))


def _expanded(arguments: Sequence[str], including: tuple[str, ...], numbers: Iterator[int]) -> Iterator[str]:
    """The arguments of `expand`; `including` are the files that include these, and `numbers` count those of all files."""
    pending = iter(arguments)
    for argument in pending:
        if next(numbers) > MOST_ARGUMENTS:
            raise InputError(f"there are more than {MOST_ARGUMENTS} flags, those of included flagfiles counted too")
        name, equals, value = argument.partition("=")
        if name not in ("--flagfile", "-flagfile"):
            yield argument
            continue
        value = value if equals else next(pending, "")
        if not value:
            raise InputError("--flagfile needs a file or the name of one that comes with tfinvert, as in --flagfile=q1")
        path = _find(value, including)
        if path in including or len(including) > DEEPEST_FLAGFILE:
            raise InputError(f"the flagfile {value} includes itself, or far too many others")
        yield from _expanded(_read(Path(path), value), (*including, path), numbers)


def _find(value: str, including: tuple[str, ...]) -> str:
    """The path of a flagfile: as it is, or beside the file that includes it, or one that comes with the program."""
    path = os.path.expanduser(value)
    if including and not os.path.exists(path):
        folder = os.path.dirname(including[-1])
        beside = os.path.join(folder, value)
        path = beside if os.path.exists(beside) else os.path.join(os.path.dirname(folder), value)
    if not os.path.isfile(path) and (known := packaged.find(value)):
        path = str(known)
    return os.path.abspath(path)


def _read(path: Path, value: str) -> list[str]:
    """The flags in a file, one an element."""
    try:
        content = decoded(read_bytes(path))
    except OSError as error:
        known = "" if os.sep in value else f"; expected a file, or one of {', '.join(packaged.names())}"
        raise InputError(f"cannot read the flagfile {value[:200]}: {error.strerror}{known}") from None
    except ValueError:  # a null byte
        raise InputError(f"cannot read the flagfile {value[:200]!r}: that is no path") from None
    if "\ufffd" in content or "\0" in content:
        raise InputError(f"the flagfile {value} is not text in UTF-8, or in UTF-16 with a byte order mark")
    # The run.flags of version 0.2 have a header, those of version 0.1 begin like this; a user's own says less.
    if content.startswith(legacy.HEADER) or (content.startswith("--experiment=") and "\n--seed=" in content):
        content = legacy.modernized(content)
    lines = [line.strip() for line in content.split("\n")]
    flags = [line for line in lines if line and not line.startswith(("#", "//"))]
    wrong = next((line for line in flags if not re.match(r"--?\w[\w-]*(=|$)", line)), None)
    if wrong is not None:
        raise InputError(f"the flagfile {value} has the line {wrong[:60]!r}; expected --flag=value")
    return flags


def decoded(data: bytes) -> str:
    """The text of a flagfile as any editor writes it: in UTF-8, with or without the byte order mark of Windows, or in UTF-16.

    Lines end with a line feed. Bytes that are no text become replacement characters.
    """
    encoding = "utf-16" if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    return data.decode(encoding, errors="replace").replace("\r\n", "\n").replace("\r", "\n")


def absolute(path: str) -> str:
    """The absolute path of a file that is there, also in file.py:function; any other text as it is, such as a sample's name."""
    file, py, _ = path.partition(".py:")
    file += ".py" if py else ""
    return str(Path(file).absolute()) + path[len(file) :] if Path(file).exists() else path
