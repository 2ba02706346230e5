"""The experiments: one file (or folder) each, found by listing this folder.

An experiment is a module with

- a docstring, whose first line says in the help what the experiment does;
- a class `Settings`, from which its flags, its help, its page in the docs and its Python function follow;
- a function `run(settings, ...)` that returns a `Result`. It names what it needs: see `runner.run`.

The module imports TensorFlow inside `run`, so that flags are answered at once. docs/extending.md shows one of 30 lines.
"""

from __future__ import annotations

import ast
import dataclasses
import importlib
from pathlib import Path
from types import ModuleType

from tfinvert.settings.fields import Settings
from tfinvert.system.errors import InputError, choice_error
from tfinvert.system.functions import load_module

FOLDER = Path(__file__).parent


@dataclasses.dataclass(frozen=True)
class Experiment:
    """An experiment: its name and its module."""

    name: str
    module: ModuleType

    @property
    def settings(self) -> type[Settings]:
        """The class of its settings."""
        return self.module.Settings


def names() -> tuple[str, ...]:
    """The experiments of the package, in alphabetical order."""
    places = [path for path in FOLDER.iterdir() if not path.name.startswith(("_", "."))]
    return tuple(sorted(path.stem for path in places if path.suffix == ".py" or (path / "__init__.py").is_file()))


def sentence(name: str) -> str:
    """What an experiment of the package does: the first line of its docstring, read without importing it."""
    path = FOLDER / f"{name}.py"
    source = (path if path.is_file() else FOLDER / name / "__init__.py").read_text(encoding="utf-8")
    return (ast.get_docstring(ast.parse(source)) or "").partition("\n")[0]


def find(name: str) -> Experiment:
    """An experiment of the package by its name, or one in a Python file by its path.

    Raises:
      InputError: there is no such experiment, or the file is none.
    """
    if name in names():
        return Experiment(name, importlib.import_module(f"tfinvert.experiments.{name}"))
    if name.endswith(".py"):
        return Experiment(name, _imported(Path(name).expanduser()))
    raise choice_error("--experiment", name, names())


def _imported(path: Path) -> ModuleType:
    """The module in a file of the user's."""
    module = load_module(path)
    if not (isinstance(getattr(module, "Settings", None), type) and callable(getattr(module, "run", None))):
        raise InputError(f"{path} is no experiment; expected a class Settings and a function run, as docs/extending.md shows")
    module.Settings.experiment = str(path)
    return module
