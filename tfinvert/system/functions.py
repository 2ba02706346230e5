"""Functions of the user's, named on the command line as FILE.py:FUNCTION."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from tfinvert.system.errors import InputError


def load_module(path: Path) -> ModuleType:
    """The module in a Python file, run once for each call.

    Raises:
      InputError: there is no such file, or it cannot be imported.
    """
    described = importlib.util.spec_from_file_location(path.stem, path) if path.is_file() else None
    if described is None or described.loader is None:
        raise InputError(f"there is no Python file {str(path)!r}")
    module = importlib.util.module_from_spec(described)
    sys.modules[path.stem] = module  # dataclasses look a class' module up by its name
    try:
        described.loader.exec_module(module)
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        raise InputError(f"{path} cannot be imported: {type(error).__name__}: {reason}") from error
    return module


def check_function(flag: str, text: str) -> None:
    """Checks that a text such as my_terms.py:sharpness names a function in a file that exists; nothing is imported.

    Args:
      flag: the flag that the text came from, for the error.
      text: a Python file and the name of a function in it.

    Raises:
      InputError: the text has another form, or there is no such file.
    """
    file, colon, _ = text.rpartition(":")
    if not colon or not file.endswith(".py"):
        raise InputError(f"{flag} is {text!r}; expected a Python file and a function in it, such as my_terms.py:sharpness")
    if not Path(file).expanduser().is_file():
        raise InputError(f"{flag} is {text!r}; there is no Python file {file!r}")


def load_function(flag: str, text: str) -> Callable[..., Any]:
    """The function that a text such as my_terms.py:sharpness names; the arguments are those of `check_function`.

    Raises:
      InputError: there is no such file or function.
    """
    check_function(flag, text)
    file, _, name = text.rpartition(":")
    function = getattr(load_module(Path(file).expanduser()), name, None)
    if not callable(function):
        raise InputError(f"{flag} is {text!r}; there is no function {name!r} in {file}")
    return function
