"""Errors that are the user's to mend: one line that names the value, what was expected, and what to do."""

import difflib
from collections.abc import Iterable

SHOWN, LONGEST = 100, 200  # names, and characters of a wrong one, in an error


class InputError(ValueError):
    """A flag, a file or a picture that cannot be used. The command line prints it as one line and exits with 2."""


class DiskError(OSError):
    """A file that could not be written: a full disk, a folder that is gone. The command line prints it and exits with 1."""


class NonFiniteLossError(ArithmeticError):
    """The loss became NaN or infinite, of one `picture` of several. `step` is the first step at which it did.

    The optimization stops there; the best image of the earlier steps is still in its state.
    """

    def __init__(self, step: int, loss: float, picture: str = ""):
        where = f"{picture}: " if picture else ""
        super().__init__(
            f"{where}the loss is {loss} at step {step}: the best image of the steps before it is kept; "
            "a smaller --learning_rate or --tv_weight usually helps"
        )
        self.step = step
        self.loss = loss


def choice_error(what: str, value: str, valid: Iterable[str]) -> InputError:
    """An unknown name, answered with the valid ones, the nearest first."""
    names = list(valid)
    value = value if len(value) <= LONGEST else f"{value[:LONGEST]}..."
    near = difflib.get_close_matches(value.lower(), names, n=3, cutoff=0.5)
    ordered = near + [name for name in names if name not in near]
    more = f" and {len(ordered) - SHOWN} more" if len(ordered) > SHOWN else ""
    return InputError(f"unknown {what} {value!r}; expected one of: {', '.join(ordered[:SHOWN])}{more}")
