"""List the converted networks in the cache, or remove them.

Example:
  >>> import tfinvert
  >>> tfinvert.cache().entries
"""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING, ClassVar

from tfinvert.experiments.invert import Settings as InvertSettings
from tfinvert.settings.fields import Settings as AnySettings
from tfinvert.settings.fields import define, setting

if TYPE_CHECKING:
    from tfinvert.networks.conversion.cache import Entry


@define
class Settings(AnySettings):
    """The cache"""

    ignores: ClassVar[tuple[type[AnySettings], ...]] = (InvertSettings,)
    needs_tensorflow = False
    empty: bool = setting(default=False, doc="Remove all converted networks.")


@dataclasses.dataclass(frozen=True)
class CacheResult:
    """What is in the cache.

    Attributes:
      folder: where it is.
      entries: the converted networks, the one that was last used first.
      removed: how many were removed.
      largest: the most bytes that they take together.
    """

    folder: str
    entries: tuple[Entry, ...]
    removed: int
    largest: int

    def summary(self) -> str:
        """A line for each converted network, and one for all."""
        lines = [
            f"{time.strftime('%Y-%m-%d %H:%M', time.localtime(entry.used))}  {entry.size / 1e6:8.1f} MB  "
            f"{entry.converter or 'damaged':8}  {entry.network}: {_few(entry.layers)}"
            for entry in self.entries
        ]
        total = sum(entry.size for entry in self.entries) / 1e9
        about = f"{self.folder}: {len(self.entries)} converted networks, {total:.2f} of at most {self.largest / 1e9:g} GB"
        return "\n".join([*lines, about + (f"; {self.removed} were removed" if self.removed else "")])


def run(settings: Settings) -> CacheResult:
    """Lists the cache, after removing what is to be removed."""
    from tfinvert.networks.conversion import cache
    from tfinvert.system.cache import cache_folder

    removed = cache.trim(largest=-1) if settings.empty else 0
    return CacheResult(str(cache_folder() / "converted"), tuple(cache.entries()), removed, cache.limit())


def _few(names: tuple[str, ...]) -> str:
    return ", ".join(names) if len(names) <= 4 else f"{', '.join(names[:3])} and {len(names) - 3} more"
