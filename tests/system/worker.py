"""What the processes of test_child.py run: `python -m tests.system.worker ACTION [FOLDER]`."""

import functools
import os
import signal
import sys
import threading
from pathlib import Path

from tfinvert.system import child


def main(action: str, folder: Path) -> None:
    parent = child.Parent()
    if action == "exchange":
        print("a library prints this")
        while (message := parent.receive()) is not None:
            parent.send(doubled=[2 * value for value in message["values"]])
    elif action == "environment":
        parent.send(path=sys.path, variable=os.environ.get("TFINVERT_TEST"), session=os.getsid(0))
    elif action == "fail":
        print("a warning", file=sys.stderr)
        raise RuntimeError("the café is closed")
    elif action == "write":
        folder.mkdir()
        child.end_with_parent(functools.partial(child.remove_and_end, folder))
        parent.send(event="written")
        threading.Event().wait(60)
    elif action == "checkpoint":
        stopped = threading.Event()
        signal.signal(signal.SIGTERM, lambda *_: stopped.set())
        child.end_with_parent(child.stop)
        parent.send(event="ready")
        if stopped.wait(60):
            folder.mkdir()
    elif action == "alone":
        child.end_with_parent(child.stop)
        parent.send(event="alive")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2] if len(sys.argv) > 2 else "."))
