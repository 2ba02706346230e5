"""What no input may make the program do, as the interpreter announces it: files elsewhere, programs, connections, pickles."""

import os
import sys
from pathlib import Path

STARTED = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "pty.spawn", "pickle.find_class")
CONNECTED = ("socket.connect", "socket.getaddrinfo", "socket.sendto", "socket.bind", "urllib.Request")
FOLLOWING = ("open", "os.chmod", "os.chown", "os.truncate")  # to where a link leads
CHANGED = ("os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.chmod", "os.chown", "os.truncate")


class Guard:
    """Keeps what the interpreter says it is about to do and no input may make it do."""

    def __init__(self, allowed: Path):
        self.allowed = str(allowed.resolve())
        self.found: list[str] = []
        self.on = False
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple) -> None:
        if not self.on:
            return
        if event in STARTED or event in CONNECTED:
            self.found.append(f"{event} {arguments!r:.200}")
        elif event == "open" and self._writes(arguments):
            self._path(event, arguments[0])
        elif event in CHANGED:
            paths = {"os.rename": arguments[:2], "os.symlink": arguments[1:2], "os.link": arguments[1:2]}
            for path in paths.get(event, arguments[:1]):
                self._path(event, path)

    @staticmethod
    def _writes(arguments: tuple) -> bool:
        _, mode, flags = arguments
        if isinstance(mode, str):
            return bool(set(mode) & set("wax+"))
        return bool((flags or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC))

    def _path(self, event: str, path: object) -> None:
        if isinstance(path, int) or path is None:
            return
        whole = os.path.abspath(os.fsdecode(path))  # type: ignore[arg-type]
        folder, name = os.path.split(whole)
        # A link that is removed or renamed is itself what is changed.
        real = os.path.realpath(whole) if event in FOLLOWING else os.path.join(os.path.realpath(folder), name)
        if whole != os.devnull and not real.startswith(self.allowed):
            self.found.append(f"{event} {whole}")
