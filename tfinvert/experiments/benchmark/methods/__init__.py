"""The methods of the benchmark: one file each, found by listing this folder.

A method is a module with

- a docstring, whose first line says what it is;
- `SOURCE`: the paper or the code that it follows;
- a function `run(task)`, which inverts the features of a `Task`, and calls `task.clock.step` after each of its steps;
- `ALONE = True` where it takes one image at a time, and `WEIGHTS_CHANGE = True` where it optimizes weights of convolutions;
- `PACKAGES`, for a rival that runs by its own code: what `pip` installs into an environment of its own, in which the module is
  imported and `run` gets a `TorchTask` (`rivals`).

A file of yours is a method too: `--methods=auto,mine.py`.
"""

from __future__ import annotations

import ast
import dataclasses
import importlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from tfinvert.experiments.benchmark.clock import Clock
from tfinvert.system.errors import InputError, choice_error
from tfinvert.system.functions import load_module

FOLDER = Path(__file__).parent
REFERENCES = ("grey", "mean")  # they know nothing of the features, and have a row in each table
EVERYTHING = ("all", "own")


@dataclasses.dataclass(frozen=True)
class Task:
    """The features to invert, for a method of the package.

    Attributes:
      network: a tfinvert.Network, whose images are in [0, 1].
      layer: the name of the layer.
      features: for each image, layer -> target features [1, ...].
      seed: of the method's random numbers.
      clock: counts the method's steps.
    """

    network: Any
    layer: str
    features: Sequence[Mapping[str, Any]]
    seed: int
    clock: Clock


@dataclasses.dataclass(frozen=True)
class TorchTask:
    """The features to invert, for a rival that runs in PyTorch.

    Attributes:
      network: a torch.nn.Module from images [n, 3, height, width] in [0, 1] to the layer's features [n, channels, ...], with
        preprocessing inside and no weight that is trained.
      image: the target image, torch.Tensor [1, 3, height, width]. A method may compute its target features from it, and nothing
        else.
      seed: of the method's random numbers; torch's own generator has it already.
      clock: counts the method's steps.
    """

    network: Any
    image: Any
    seed: int
    clock: Clock


@dataclasses.dataclass(frozen=True)
class Method:
    """A method: its name and its module."""

    name: str
    module: ModuleType

    @property
    def run(self) -> Callable[[Any], None]:
        """Inverts the features of a task."""
        return self.module.run

    @property
    def key(self) -> str:
        """What `find` takes for it: its name, or the path of its file."""
        own = self.module.__name__.startswith("tfinvert.")
        return self.name if own else str(Path(str(self.module.__file__)).absolute())

    @property
    def packages(self) -> tuple[str, ...]:
        """What a rival needs in an environment of its own; empty for a method of the package."""
        return tuple(getattr(self.module, "PACKAGES", ()))

    @property
    def alone(self) -> bool:
        """Whether it takes one image at a time."""
        return bool(self.packages) or bool(getattr(self.module, "ALONE", False))

    @property
    def changes_weights(self) -> bool:
        """Whether it optimizes weights of convolutions."""
        return bool(getattr(self.module, "WEIGHTS_CHANGE", False))

    def describe(self) -> dict[str, Any]:
        """What benchmark.json says about it."""
        sentence = (self.module.__doc__ or "").partition("\n")[0]
        return {"name": self.name, "what": sentence, "source": self.module.SOURCE, "packages": list(self.packages)}


def names() -> tuple[str, ...]:
    """The methods of the package, in alphabetical order."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.py") if not path.name.startswith("_")))


def is_rival(name: str) -> bool:
    """Whether a method of the package needs an environment of its own. Its file is read, and not imported."""
    tree = ast.parse((FOLDER / f"{name}.py").read_text(encoding="utf-8"))
    targets = [target for node in tree.body if isinstance(node, ast.Assign) for target in node.targets]
    return any(isinstance(target, ast.Name) and target.id == "PACKAGES" for target in targets)


def expand(chosen: Sequence[str]) -> tuple[str, ...]:
    """The methods that a setting stands for: names, files, `all`, or `own` for all that need no environment of their own."""
    known = [name for name in names() if name not in REFERENCES]
    known.sort(key=lambda name: name != "auto")  # the first is what the others are compared with
    result: list[str] = []
    for name in chosen:
        named = [other for other in known if name == "all" or not is_rival(other)] if name in EVERYTHING else [name]
        result += [other for other in named if other not in result]
    return tuple(result)


def find(name: str) -> Method:
    """A method of the package by its name, or one in a Python file by its path.

    Raises:
      InputError: there is no such method, or the file is none.
    """
    if name in names():
        return Method(name, importlib.import_module(f"tfinvert.experiments.benchmark.methods.{name}"))
    if not name.endswith(".py"):
        raise choice_error("--methods", name, [*names(), *EVERYTHING])
    path = Path(name).expanduser()
    module = load_module(path)
    if not callable(getattr(module, "run", None)) or not isinstance(getattr(module, "SOURCE", None), str):
        raise InputError(f"{path} is no method; expected a text SOURCE and a function run, as docs/benchmark.md shows")
    return Method(path.stem, module)


def even(task: Task, color: Sequence[float]) -> None:
    """What a reference method does: an image of one color, in no time."""
    images = np.broadcast_to(np.asarray(color, np.float32), (len(task.features), *task.network.size, 3))
    task.clock.take(lambda: images)
