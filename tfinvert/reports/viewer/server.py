"""The server: one socket on this machine, in a thread of its own."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from tfinvert.system.errors import InputError

START_SECONDS = 20.0


@contextlib.contextmanager
def serving(folder: Path, port: int | None = None) -> Iterator[str]:
    """Within it, the viewer of a folder answers on this machine.

    Args:
      folder: the folder whose run directories are shown.
      port: a port of 127.0.0.1, or None for a free one.

    Yields:
      The address of the first page.

    Raises:
      InputError: the port is taken or may not be used.
    """
    import uvicorn

    from tfinvert.reports.viewer import app

    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind(("127.0.0.1", port or 0))
        except OSError as error:
            raise InputError(
                f"--port={port} cannot be used ({error.strerror}); give another port, or none for a free one"
            ) from None
        closing = threading.Event()
        config = uvicorn.Config(
            app.create(folder.absolute(), closing),
            log_level="error",
            access_log=False,
            lifespan="off",
            server_header=False,
            timeout_graceful_shutdown=2,
            log_config=None,
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, name="viewer", daemon=True)
        thread.start()
        try:
            deadline = time.monotonic() + START_SECONDS
            while not server.started:
                if not thread.is_alive() or time.monotonic() > deadline:
                    raise InputError("the viewer could not be started; try another --port")
                time.sleep(0.01)
            yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
        finally:
            closing.set()
            server.should_exit = True
            thread.join()


def can_open_browser() -> bool:
    """Whether a browser would have a screen."""
    return sys.platform in ("darwin", "win32") or any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))
