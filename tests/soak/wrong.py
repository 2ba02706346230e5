"""What no input may make the program do, as a part of its own: the watch of `hostile` must see each of these."""

import os
import random
import socket
import subprocess
import time
from pathlib import Path

LIMITED = True
SECONDS, BLOCKED = 0.5, 3


def prepare() -> None:
    """Nothing."""


def _write_elsewhere(folder: Path) -> None:
    (folder.parent / "elsewhere" / "kept.txt").write_text("changed")


def _remove_elsewhere(folder: Path) -> None:
    link = folder / "link"
    link.symlink_to(folder.parent / "elsewhere")
    (link / "kept.txt").unlink()


def _remove_link(folder: Path) -> None:
    link = folder / "link"
    link.symlink_to(folder.parent / "elsewhere" / "kept.txt")
    link.unlink()


WRONG = {
    "an exception": lambda folder: 1 / 0,
    "a crash": lambda folder: os.abort(),
    "a long time": lambda folder: time.sleep(30),
    "much of the processor": lambda folder: sum(range(10**8)),
    "much memory": lambda folder: bytearray(5 * 2**30),
    "a file elsewhere": _write_elsewhere,
    "a file removed elsewhere": _remove_elsewhere,
    "a folder elsewhere": lambda folder: (folder.parent / "new").mkdir(),
    "a program": lambda folder: subprocess.run(["true"], check=True),
    "a connection": lambda folder: socket.create_connection(("127.0.0.1", 1), timeout=1),
}
RIGHT = {"a link removed": _remove_link, "nothing": lambda folder: None}


def case(rng: random.Random, folder: Path) -> str:
    """What is listed under the name in the environment."""
    (WRONG | RIGHT)[os.environ["TFINVERT_WRONG"]](folder)
    return "fine"
