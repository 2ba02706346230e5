"""Ctrl-C and SIGTERM: raised at once, or held back while a run has something to lose."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)
_held: list[Interruption] = []  # of the runs under way in this process


class Interrupted(KeyboardInterrupt):
    """SIGINT or SIGTERM asked the program to end. In a notebook it ends the cell as any Ctrl-C does.

    Attributes:
      number: the signal's number. The exit code of the command line is 128 plus this number.
      result: what was computed before the signal, such as a Result. Whoever has one sets it; otherwise it is None.
      advice: what continues the run, in words; empty where nothing does.

    Example:
      >>> try:
      ...     result = tfinvert.invert("astronaut", "resnet18")
      ... except KeyboardInterrupt as stopped:
      ...     result = stopped.result
    """

    def __init__(self, number: int, result: Any = None):
        super().__init__(signal.Signals(number).name)
        self.number = number
        self.result = result
        self.advice = ""

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.number,)


class Interruption:
    """The signal that came while signals were held back, if any.

    Attributes:
      number: the signal's number, or None.
    """

    def __init__(self) -> None:
        self.number: int | None = None

    def __bool__(self) -> bool:
        return self.number is not None

    def raise_if_any(self) -> None:
        """Raises Interrupted if a signal came."""
        if self.number is not None:
            raise Interrupted(self.number)


@contextlib.contextmanager
def raising() -> Iterator[None]:
    """Within it, SIGINT and SIGTERM raise Interrupted at once, so that the program cleans up before it ends."""

    def handler(number: int, frame: FrameType | None) -> None:
        raise Interrupted(number)

    with _handled_by(handler):
        yield


@contextlib.contextmanager
def held_back() -> Iterator[Interruption]:
    """Within it, the first SIGINT or SIGTERM is only noted in the Interruption; the second one raises Interrupted."""
    interruption = Interruption()

    def handler(number: int, frame: FrameType | None) -> None:
        if interruption:
            raise Interrupted(number)
        interruption.number = number

    _held.append(interruption)
    try:
        with _handled_by(handler):
            yield interruption
    finally:
        _held.remove(interruption)


def end_runs() -> None:
    """Ends the runs under way in all threads of this process as SIGTERM would: between two steps, with a checkpoint."""
    for interruption in tuple(_held):
        interruption.number = signal.SIGTERM


@contextlib.contextmanager
def _handled_by(handler) -> Iterator[None]:
    """Within it, `handler` handles SIGNALS. In other threads than the main one, where Python allows no handlers, nothing
    changes."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    # A handler that C code installed is None here. Python could not put it back, so it stays.
    before = {number: old for number in SIGNALS if (old := signal.getsignal(number)) is not None}
    try:
        for number in before:
            signal.signal(number, handler)
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)
