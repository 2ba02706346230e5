"""Files from the internet: they appear whole and checked under their name, or not at all."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path

import filelock

from tfinvert.system.errors import InputError
from tfinvert.system.files import replacing
from tfinvert.system.progress import progress_bar

TIMEOUT = 10.0  # seconds, for the connection and for each read
CHUNK = 2**16  # bytes
log = logging.getLogger("tfinvert")


def fetch(path: Path, sources: Sequence[str], known_hash: str, otherwise: str, *, progress: bool = True) -> Path:
    """Downloads a file from the first of several addresses that has it. Of two processes that need it, one downloads it.

    Args:
      path: where the file goes.
      sources: the addresses, tried in order.
      known_hash: "sha256:..." or "md5:..."; what has another checksum is refused.
      otherwise: what else the user can do, for the error.
      progress: whether a bar shows how much has arrived, on a terminal or in a notebook.

    Returns:
      `path`.

    Raises:
      InputError: no address has the file, or it cannot be written; the message says where to get it and where to put it.
    """
    import requests  # not needed by runs that have their file

    reasons = []
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(path.parent / ".lock"):
            if path.is_file() and _matches(path, known_hash):  # another process has downloaded it
                return path
            for part in path.parent.glob(f".{path.name}.*.part"):  # left by a download that was killed
                part.unlink()
            for source in sources:
                log.info("%s is not in %s: downloading %s", path.name, path.parent, source)
                try:
                    _download(source, known_hash, path, progress)
                    return path
                except (requests.RequestException, ValueError) as error:
                    reasons.append(f"{source}: {_reason(error)}")
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from None
    raise InputError(
        f"{path.name} could not be downloaded ({'; '.join(reasons)}): get it from there yourself and put it at {path}, "
        f"{otherwise}"
    )


def _download(source: str, known_hash: str, path: Path, progress: bool) -> None:
    """Downloads one address to `path`.

    Raises:
      requests.RequestException: the source does not give the file.
      ValueError: what it gives has another checksum.
      OSError: `path` cannot be written.
    """
    import pooch

    # pooch asks a bar for its truth, which tqdm answers only where it has a total; pooch then sets the right one.
    with replacing(path) as part, progress_bar(path.name, 1, show=progress, unit="B", unit_scale=True) as bar:
        get = pooch.HTTPDownloader(bar, CHUNK, timeout=TIMEOUT, headers={"Accept-Encoding": "identity"})
        get(source, str(part), None)
        if not _matches(part, known_hash):
            raise ValueError("what came has another checksum")


def _matches(path: Path, known_hash: str) -> bool:
    algorithm, _, checksum = known_hash.partition(":")
    with open(path, "rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest() == checksum


def _reason(error: Exception) -> str:
    """Why a download failed, in a few words; the messages of requests are paragraphs."""
    import requests

    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"the server answered {error.response.status_code}"
    if isinstance(error, requests.Timeout) or "timed out" in str(error):
        return "timed out"
    if isinstance(error, requests.TooManyRedirects):
        return "redirected in a circle"
    if isinstance(error, requests.ConnectionError):
        return "no connection"
    return " ".join(str(error).split())[:160] or type(error).__name__
