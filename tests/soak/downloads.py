"""Downloads from a server that does what servers do on bad days, in any order, killed in the middle, two at a time."""

import collections
import contextlib
import hashlib
import http.server
import logging
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from tests.soak import Row
from tests.soak.hostile import ROOT, SEED
from tfinvert.system import downloads
from tfinvert.system.errors import InputError

CASES, KILLED = 300, 40
CONTENT = b"the weights of a network" * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
FAULTS = (
    *("missing", "broken", "loop", "page", "truncated", "wrong", "empty", "longer", "stalled", "closed", "nonsense", "none"),
)
ASKED: collections.Counter = collections.Counter()


def asked(path: str) -> int:
    """How often the server that was started last has been asked for a path."""
    return ASKED[path]


class Handler(http.server.BaseHTTPRequestHandler):
    """Each path is a fault, or /good, or /slow."""

    def do_GET(self) -> None:
        ASKED[self.path] += 1
        bodies = {
            "/good": CONTENT,
            "/page": b"<html>log in</html>",
            "/truncated": CONTENT[:500],
            "/wrong": bytes(len(CONTENT)),
            "/empty": b"",
            "/longer": CONTENT + b"x",
        }
        if self.path in ("/missing", "/broken"):
            self.send_error(404 if self.path == "/missing" else 500)
        elif self.path == "/loop":
            self.send_response(302)
            self.send_header("Location", "/loop")
            self.end_headers()
        elif self.path in ("/stalled", "/slow"):
            self.send_response(200)
            self.send_header("Content-Length", str(len(CONTENT)))
            self.end_headers()
            self.wfile.write(CONTENT[:10000])
            self.wfile.flush()
            if not self.server.stop.wait(5 if self.path == "/stalled" else 0.5):  # type: ignore[attr-defined]
                self.wfile.write(CONTENT[10000:])
        elif self.path == "/closed":
            self.close_connection = True
        elif self.path == "/nonsense":
            self.wfile.write(b"this is no HTTP\r\n\r\n")
        else:
            self.send_response(200)
            self.send_header("Content-Length", str(len(CONTENT) if self.path == "/truncated" else len(bodies[self.path])))
            self.end_headers()
            self.wfile.write(bodies[self.path])

    def handle(self) -> None:
        with contextlib.suppress(OSError):  # of those that do not wait for the end
            super().handle()

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def serving() -> Iterator[str]:
    """The address of a server on this machine, as long as it is entered."""
    ASKED.clear()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.stop = threading.Event()  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.stop.set()  # type: ignore[attr-defined]
        server.shutdown()
        thread.join()
        server.server_close()


def soak(scale: float = 1.0) -> list[Row]:
    """Each download ends with the whole file or with none."""
    rng = random.Random(SEED)
    logging.getLogger("tfinvert").setLevel(logging.ERROR)
    patience, downloads.TIMEOUT = downloads.TIMEOUT, 0.3
    try:
        with serving() as server, tempfile.TemporaryDirectory() as folder:
            faults = [_faults(rng, server, Path(folder, f"a{n}")) for n in range(max(round(CASES * scale), len(FAULTS)))]
            killed = [_killed(rng, server, Path(folder, f"b{n}")) for n in range(max(round(KILLED * scale), 1))]
    finally:
        downloads.TIMEOUT = patience
    ends, sources = collections.Counter(end for end, _ in faults), sum(count for _, count in faults)
    return [
        Row(
            "A download leaves the whole file or nothing under its name, and goes on to the next source",
            f"{len(faults)} downloads, {sources} sources that fail in {len(FAULTS)} ways",
            ", ".join(f"{count} {end}" for end, count in sorted(ends.items())),
        ),
        Row(
            "A download is killed, and two begin it again at once",
            f"{len(killed)} times",
            f"both have the whole file, no part is left, {max(killed)} asked the server",
        ),
    ]


def _left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != ".lock")


def _faults(rng: random.Random, server: str, folder: Path) -> tuple[str, int]:
    """Up to four sources in a row, the last of which may be a good one; gives how it ended, and how many failed."""
    faults = rng.choices(FAULTS, k=rng.randrange(5))
    sources = [f"http://127.0.0.1:1/{fault}" if fault == "none" else f"{server}/{fault}" for fault in faults]
    good = rng.random() < 0.5
    path = folder / "net.onnx"
    refused = None
    try:
        downloads.fetch(path, [*sources, *[f"{server}/good"] * good], f"sha256:{SHA256}", "or not", progress=False)
    except InputError as error:
        refused = error
    assert (refused is None) == good, refused
    if not good:
        assert _left(folder) == []
        return "refused in one line", len(faults)
    assert path.read_bytes() == CONTENT
    assert _left(folder) == ["net.onnx"]
    return "whole", len(faults)


WANT = """
import sys
from pathlib import Path
from tfinvert.system import downloads
downloads.fetch(Path(sys.argv[1]), [sys.argv[2]], sys.argv[3], "")
"""


def wanting(path: Path, address: str) -> subprocess.Popen:
    """A process that downloads."""
    command = [sys.executable, "-c", WANT, str(path), address, f"sha256:{SHA256}"]
    return subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)


def parts(folder: Path) -> list[Path]:
    """What downloads under way have written."""
    return [path for path in folder.iterdir() if path.name.endswith(".part")] if folder.is_dir() else []


def _killed(rng: random.Random, server: str, folder: Path) -> int:
    """How many of two processes that begin again asked the server."""
    path = folder / "net.onnx"
    process = wanting(path, f"{server}/stalled")
    while not parts(folder):
        assert process.poll() is None, process.stderr.read()  # type: ignore[union-attr]
        time.sleep(0.01)
    time.sleep(rng.random() * 0.3)
    process.kill()
    process.communicate()
    assert not path.exists()
    ASKED.clear()
    both = [wanting(path, f"{server}/slow") for _ in range(2)]
    for one in both:
        said = one.communicate(timeout=60)[1]
        assert one.returncode == 0, said
    assert path.read_bytes() == CONTENT
    assert _left(folder) == ["net.onnx"]
    return asked("/slow")
