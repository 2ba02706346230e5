"""A mistake of a port: a change of our own run."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from tfinvert.comparison.diagnosis.recipe import Recipe


@dataclasses.dataclass(frozen=True)
class Mistake:
    """What a port may do differently.

    Attributes:
      cause: what it does, in a sentence that a person can act on.
      stage: the first array of a reference that it changes.
      change: a recipe with the mistake; the recipe itself where it has nothing to change.
    """

    cause: str
    stage: str
    change: Callable[[Recipe], Recipe]
