"""Errors that are the user's to mend: one line that names the value, what was expected, and what to do."""

import difflib
from collections.abc import Iterable
from typing import Any

SHOWN, LONGEST = 100, 200  # names, and characters of a wrong one, in an error


class InputError(ValueError):
    """A flag, a file or an image that cannot be used. The command line prints it as one line and exits with 2."""


class DiskError(OSError):
    """A file that could not be written: a full disk, a folder that is gone. The command line prints it and exits with 1."""


class NonFiniteLossError(ArithmeticError):
    """The loss became NaN or infinite. The optimization stops there, and the best image of the steps before it is kept.

    Attributes:
      step: the first step at which it did.
      loss: its value.
      result: what there was before, such as a Result. Whoever has one sets it; otherwise it is None.
    """

    def __init__(self, step: int, loss: float, result: Any = None):
        words = "the best image of the steps before it is kept; a smaller --learning_rate usually helps"
        if step == 0:
            words = "no step was taken; look for NaN in the weights of the network, the target and the first image"
        super().__init__(f"the loss is {loss} at step {step}: {words}")
        self.step = step
        self.loss = loss
        self.result = result

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.step, self.loss)


def last_line(error: Exception) -> str:
    """What an error says at its end, where TensorFlow and Keras say what is wrong; its type where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[-1].strip()


def shown(value: object) -> str:
    """A value that is not what was expected, in one line of a few words."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:60]}... ({type(value).__name__})"


def choice_error(what: str, value: str, valid: Iterable[str]) -> InputError:
    """An unknown name, answered with the valid ones, the nearest first."""
    names = list(valid)
    value = value if len(value) <= LONGEST else f"{value[:LONGEST]}..."
    near = difflib.get_close_matches(value.lower(), names, n=3, cutoff=0.5)
    ordered = near + [name for name in names if name not in near]
    more = f" and {len(ordered) - SHOWN} more" if len(ordered) > SHOWN else ""
    return InputError(f"unknown {what} {value!r}; expected one of: {', '.join(ordered[:SHOWN])}{more}")
