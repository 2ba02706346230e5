"""Where the program runs: in a notebook, in a terminal, or with nobody watching."""

import sys


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook, which shows images and widgets."""
    get_ipython = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)
    return hasattr(get_ipython(), "kernel")


def is_watched() -> bool:
    """Whether a progress bar is of use: in a notebook, or where standard error is a terminal."""
    return in_notebook() or (sys.stderr is not None and sys.stderr.isatty())
