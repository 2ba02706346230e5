"""Ctrl-C and SIGTERM, held back while an optimization has something to lose."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(BaseException):
    """A signal asked the program to end. The exit code is 128 plus its number."""

    def __init__(self, number: int):
        super().__init__(signal.Signals(number).name)
        self.number = number


class Interruption:
    """The signal that came while it was held back, if one did."""

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
    """Within it, SIGINT and SIGTERM raise Interrupted at once, so that cleaning up happens."""

    def handler(number: int, frame: FrameType | None) -> None:
        raise Interrupted(number)

    with _handled_by(handler):
        yield


@contextlib.contextmanager
def held_back() -> Iterator[Interruption]:
    """Within it, the first SIGINT or SIGTERM is only noted; a second one raises Interrupted.

    Outside the main thread, where Python delivers no signals, nothing is changed.
    """
    interruption = Interruption()

    def handler(number: int, frame: FrameType | None) -> None:
        if interruption:
            raise Interrupted(number)
        interruption.number = number

    with _handled_by(handler):
        yield interruption


@contextlib.contextmanager
def _handled_by(handler) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = [(number, signal.signal(number, handler)) for number in SIGNALS]
    try:
        yield
    finally:
        for number, old in before:
            signal.signal(number, old)
