"""Progress bars, on a terminal or in a notebook."""

import sys
from typing import Any


def progress_bar(description: str, total: int, *, show: bool = True, **options: Any) -> Any:
    """A tqdm bar, to be used as a context manager; it writes nothing where nobody watches.

    Args:
      description: stands before the bar.
      total: number of units.
      show: False for a bar that never appears.
      options: other arguments of tqdm.
    """
    from tqdm import auto, std  # not needed by a run that finds its network in the cache

    class Bar(auto.tqdm):
        """A bar without a thread that watches it."""

        monitor_interval = 0

    watched = auto.notebook_tqdm is not std.tqdm or (sys.stderr is not None and sys.stderr.isatty())
    return Bar(total=total, desc=description, leave=False, dynamic_ncols=True, disable=not (show and watched), **options)
