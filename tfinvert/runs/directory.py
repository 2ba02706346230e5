"""The run directory: the settings of a run, what happened in it and what came out. No other module builds paths in there."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tfinvert.runs import reading
from tfinvert.runs.flags import describe_length, differing_flags, same_flags
from tfinvert.runs.image_writer import ImageWriter
from tfinvert.system import locks
from tfinvert.system.errors import DiskError, InputError
from tfinvert.system.files import read_text, replacing, write_text


def check_writable(folder: Path, flag: str = "--output_dir") -> None:
    """Raises InputError where a folder, which need not exist yet, cannot be written.

    Nothing but trying says so for every file system: /proc allows root to write, and takes no files. What is made for the trial
    is removed again.

    Args:
      folder: the folder.
      flag: the setting that names it.
    """
    if os.path.isfile(folder):
        raise InputError(f"{flag} {str(folder)!r} is a file; expected a folder")
    # os.path.lexists() takes a name that is too long for one that does not exist, where Path.exists() raises an error.
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if os.path.lexists(path))
    try:
        with tempfile.TemporaryDirectory(prefix=".tfinvert-", dir=there) as trial:
            Path(trial, folder.absolute().relative_to(there)).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot write to {folder}: {error.strerror or error}; choose another {flag}") from None


class RunDirectory:
    """The folder of one run. A thread of its own writes the images; as a context manager it waits for them at the end.

    Attributes:
      path: the folder.
      flags, info, metrics, target, final, sheet, curves, maps, table, page, decoder, decoder_onnx: paths of files in it.
      images, checkpoints, tensorboard: paths of folders in it.
    """

    def __init__(self, path: Path):
        self.path = path
        self.flags = path / "run.flags"
        self.info = path / "run.json"
        self.metrics = path / "metrics.jsonl"
        self.target = path / "target.png"
        self.final = path / "final.png"
        self.sheet = path / "sheet.png"
        self.curves = path / "curves.png"
        self.maps = path / "maps.npz"
        self.images = path / "images"
        self.table = path / "table.md"
        self.page = path / "report.html"
        self.decoder = path / "decoder.keras"
        self.decoder_onnx = path / "decoder.onnx"
        self.checkpoints = path / "checkpoints"
        self.tensorboard = path / "tensorboard"
        self._image_writer = ImageWriter()

    def check(self, flagfile: str, *, resume: bool | None, overwrite: bool) -> None:
        """Refuses a folder that holds something else, before any work is done. Writes nothing.

        Args:
          flagfile: the flagfile of the run.
          resume: whether a run in the folder is continued; None where the experiment cannot continue one.
          overwrite: whether a run in the folder is replaced.

        Raises:
          InputError: the folder holds another run or files that belong to no run, or cannot be written.
        """
        if self.path.exists() and not self.path.is_dir():
            raise InputError(f"--output_dir {str(self.path)!r} is a file; expected a folder")
        linked = next((p for p in (*self._files(), *self._folders(), self.path / ".lock") if p.is_symlink()), None)
        if linked is not None:
            raise InputError(f"{linked} is a link, and what is written there would go elsewhere; choose another --output_dir")
        there = sorted(p.name for p in self.path.iterdir() if not p.name.startswith(".")) if self.path.is_dir() else []
        if there and not self.flags.exists():
            raise InputError(f"{self.path} holds files that are no run ({there[0]}, ...); choose another --output_dir")
        if resume and self.flags.exists():
            planned = self.read_info().get("settings", {}).get("steps")
            changed = differing_flags(read_text(self.flags), flagfile, planned)
            if changed:
                if length := describe_length(read_text(self.flags), flagfile, planned):
                    raise InputError(f"{self.path} holds {length}; give --overwrite to run it anew, or another --output_dir")
                raise InputError(
                    f"{self.path} holds a run with other settings ({'; '.join(changed[:4])}); "
                    "--resume continues the same run only: give the same flags, or another --output_dir"
                )
        elif there and not overwrite:
            ways = "--overwrite" if resume is None else "--resume, --overwrite"
            raise InputError(f"{self.path} already holds a run; give {ways} or another --output_dir")
        check_writable(self.path)

    @contextlib.contextmanager
    def locked(self, wait: float | None = None) -> Iterator[None]:
        """Within it, no other process writes here. The lock of a process that died is free.

        Args:
          wait: seconds to wait for another run to end; None for 10.

        Raises:
          LockedError: another run is writing here.
          InputError: the folder cannot be written.
          DiskError: a file could not be written within it.
        """
        with locks.locked(self.path, wait):
            try:
                yield
            except DiskError:
                raise
            except OSError as error:
                where = f" ({error.filename})" if error.filename else ""
                kept = any(self.checkpoints.rglob("*.index"))
                more = "; --resume goes on from the last checkpoint" if kept else ""
                raise DiskError(f"cannot go on in {self.path}: {error.strerror or error}{where}{more}") from None

    def create(self, flagfile: str, info: dict[str, Any], *, resume: bool) -> None:
        """Starts a run in the folder. Unless the run is resumed from checkpoints, an earlier run is removed first.

        The settings are written before any work. If the process is killed in here, the settings in the folder are still those
        of what else it holds.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        if not (resume and self.checkpoints.is_dir()):
            self._remove_run()
        for part in list(self.path.rglob(".*.part*")):  # A killed run left them. The folder is locked, so nobody writes them.
            if part.is_dir():
                shutil.rmtree(part)
            else:
                part.unlink(missing_ok=True)
        write_text(self.flags, flagfile)
        self.images.mkdir(exist_ok=True)
        self.write_info(info)

    def _files(self) -> tuple[Path, ...]:
        images = (self.target, self.final, self.sheet, self.curves)
        return (self.flags, self.info, self.metrics, *images, self.maps, self.table, self.page, self.decoder, self.decoder_onnx)

    def _folders(self) -> tuple[Path, ...]:
        return (self.images, self.checkpoints, self.tensorboard)

    def _remove_run(self) -> None:
        """Removes all but the settings."""
        if self.checkpoints.is_dir():
            # By one renaming, so that a kill leaves all checkpoints or none.
            self.checkpoints.rename(self.path / f".checkpoints.{os.getpid()}.part")
        for file in self._files():
            if file != self.flags:
                file.unlink(missing_ok=True)
        for folder in (self.images, self.tensorboard):
            shutil.rmtree(folder, ignore_errors=True)

    def is_finished(self, flagfile: str) -> bool:
        """Whether the folder holds a run with exactly these settings that reached its end. A run writes its figures last."""
        info = self.read_info()
        return "result" in info and "stopped" not in info and same_flags(read_text(self.flags), flagfile)

    def read_info(self) -> dict[str, Any]:
        """Reads run.json as `reading.read_info` does."""
        return reading.read_info(self.info)

    def write_info(self, info: dict[str, Any]) -> None:
        """Replaces run.json."""
        write_text(self.info, json.dumps(info, indent=2) + "\n")

    def save_arrays(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Writes maps.npz: the numbers behind images whose range is stretched to be seen."""
        with replacing(self.maps) as part, open(part, "wb") as file:
            np.savez_compressed(file, **arrays)

    def write_table(self, text: str) -> None:
        """Replaces table.md."""
        write_text(self.table, text)

    def image_path(self, step: int) -> Path:
        """The path of the image after `step` updates."""
        return self.images / f"{step:06d}.png"

    def step_images(self) -> dict[int, Path]:
        """The images that are there: step -> path, in order."""
        paths = {int(p.stem): p for p in self.images.glob("[0-9]*.png") if p.stem.isdecimal() and p.is_file()}
        return dict(sorted(paths.items()))

    def append_metrics(self, line: dict[str, Any]) -> None:
        """Adds a line to metrics.jsonl."""
        with open(self.metrics, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def read_metrics(self) -> list[dict[str, Any]]:
        """Reads metrics.jsonl as `reading.read_metrics` does."""
        return reading.read_metrics(self.metrics)

    def rewind(self, step: int) -> None:
        """Removes lines and images from `step` on. A resumed run makes them again."""
        kept = [line for line in self.read_metrics() if line["step"] < step]
        write_text(self.metrics, "".join(json.dumps(line) + "\n" for line in kept))
        for number, path in self.step_images().items():
            if number >= step:
                path.unlink()

    def has(self, steps: Iterable[int]) -> bool:
        """Whether the lines and the images of all these steps are there."""
        needed = set(steps)
        return needed <= self.step_images().keys() and needed <= {line["step"] for line in self.read_metrics()}

    def goes_beyond(self, step: int) -> bool:
        """Whether there is a line of a later step."""
        return any(line["step"] > step for line in self.read_metrics())

    def save_image(self, path: Path, image: np.ndarray) -> None:
        """Hands an image to the writing thread, as `ImageWriter.save` does. Raises OSError if an earlier one failed."""
        self._image_writer.save(path, image)

    def flush(self) -> None:
        """Waits until every image is written. Raises OSError if one could not be written."""
        self._image_writer.flush()

    def __enter__(self) -> RunDirectory:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self.flush()
        finally:
            self._image_writer.close()
