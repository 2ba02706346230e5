"""Run directories on their way from a worker to the client, as zip files of a bounded size."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path, PurePosixPath

from tfinvert.system.errors import DiskError
from tfinvert.system.files import replacing

MOST_BYTES = 2**28  # of all files together
MOST_FILES = 100_000
LAST = "run.json"  # whose figures say that a run is finished


def pack(folder: Path) -> bytes:
    """The files in a folder and below it, without hidden ones.

    Raises:
      DiskError: they are too large or too many to be sent.
    """
    out, size = io.BytesIO(), 0
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink()]
    shown = [path for path in paths if not any(part.startswith(".") for part in path.relative_to(folder).parts)]
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for path in shown:
            size += path.stat().st_size
            if size > MOST_BYTES or len(shown) > MOST_FILES:
                raise DiskError(
                    f"the results are larger than {MOST_BYTES // 2**20} MB or more than {MOST_FILES} files, which --gather "
                    "does not send; let the workers share the folder of the results, or give a larger --save_every"
                )
            archive.write(path, path.relative_to(folder).as_posix())
    return out.getvalue()


def unpack(data: bytes, folder: Path) -> None:
    """Writes the files of an archive into a folder, each whole or not at all, and those that say that a run is finished last.

    Raises:
      DiskError: the archive is damaged or too large, or names files outside of the folder.
      OSError: a file cannot be written.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = sorted(archive.infolist(), key=lambda entry: PurePosixPath(entry.filename).name == LAST)
            if sum(entry.file_size for entry in entries) > MOST_BYTES or len(entries) > MOST_FILES:
                raise DiskError(f"the archive of {folder} is larger than {MOST_BYTES // 2**20} MB")
            for entry in entries:
                parts = PurePosixPath(entry.filename).parts
                if not parts or any(part.startswith(".") or "/" in part or "\0" in part for part in parts):
                    raise DiskError(f"the archive of {folder} names the file {entry.filename[:100]!r}")
                path = folder.joinpath(*parts)
                path.parent.mkdir(parents=True, exist_ok=True)
                with replacing(path) as part_file:
                    part_file.write_bytes(archive.read(entry))  # not more than `file_size` bytes
    except (zipfile.BadZipFile, EOFError, ValueError, NotImplementedError) as error:
        raise DiskError(f"the archive of {folder} is damaged ({error})") from None
