"""Show run directories in the browser: watched while they run, compared, and explored by layer."""

from __future__ import annotations

import dataclasses
import threading
from pathlib import Path
from typing import ClassVar

from tfinvert.settings.fields import Settings as AnySettings
from tfinvert.settings.fields import define, setting
from tfinvert.system.errors import InputError


@define
class Settings(AnySettings):
    """The viewer"""

    positional: ClassVar[tuple[str, ...]] = ("folder",)
    arguments: ClassVar[tuple[str, ...]] = ("folder",)
    needs_tensorflow = False
    folder: str = setting(
        default="out", doc="The folder whose run directories are shown. It may be written by another machine.", file=True
    )
    port: int | None = setting(default=None, doc="The port of 127.0.0.1. Default: a free one.", at_least=1, at_most=65535)
    open_browser: bool = setting(default=True, doc="Open the page in a browser, where there is one.")

    def check(self) -> None:
        super().check()
        if not Path(self.folder).is_dir():
            raise InputError(f"there is no folder {self.folder!r}; expected one with run directories in it, such as out")


@dataclasses.dataclass(frozen=True)
class ViewResult:
    """The viewer has ended."""

    address: str

    def summary(self) -> str:
        """Nothing: the address was printed when the viewer began."""
        return ""


def run(settings: Settings) -> ViewResult:
    """Answers a browser until Ctrl-C. Nothing in the folder is changed."""
    import webbrowser

    from tfinvert.reports.viewer import server

    folder = Path(settings.folder)
    with server.serving(folder, settings.port) as address:
        print(f"{address} shows the runs in {folder}; Ctrl-C ends it", flush=True)
        if settings.open_browser and server.can_open_browser():
            webbrowser.open(address)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:  # the usual end
            print()
    return ViewResult(address)
