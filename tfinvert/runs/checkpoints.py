"""The checkpoints of an optimization or a training: the newest two in a folder, each found again whole or passed over."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import tensorflow as tf

from tfinvert.errors import DiskError, InputError
from tfinvert.system.files import reason

KEPT = 2
UNREADABLE = (OSError, tf.errors.OpError, ValueError, IndexError, RuntimeError)
log = logging.getLogger("tfinvert")


class Checkpoints:
    """A folder of checkpoints, named by their step.

    Args:
      state: what they hold.
      folder: made if it is not there; of several workers, only one saves.
    """

    def __init__(self, state: tf.train.Checkpoint, folder: Path):
        folder.mkdir(parents=True, exist_ok=True)
        self._state, self._folder = state, folder
        self._manager = tf.train.CheckpointManager(state, str(folder), max_to_keep=KEPT)

    def save(self, step: int) -> None:
        """Writes a checkpoint, forgets all but the newest two, and removes what a process that was killed had begun.

        Raises:
          DiskError: it cannot be written; those before it are as they were.
        """
        try:
            with _lasting(self._folder, (f"ckpt-{step}*", "checkpoint*")):
                self._write(step)
            kept = {Path(path).name for path in self._manager.checkpoints}
            for path in self._folder.iterdir():
                if path.name.endswith("_temp"):
                    shutil.rmtree(path)
                elif path.is_file() and path.name != "checkpoint" and path.stem not in kept:
                    path.unlink()
        except (OSError, tf.errors.OpError) as error:
            raise DiskError(
                f"the checkpoint in {self._folder} cannot be written ({reason(error)}); "
                "the one before it is kept: --resume goes on from there"
            ) from None

    def _write(self, step: int) -> None:
        """Writes one, whole or not at all: on a full disk TensorFlow may write a part of it and not say so."""
        try:
            _read(self._manager.save(step))
        except UNREADABLE as error:
            for part in self._folder.glob(f"ckpt-{step}.*"):
                part.unlink()
            said = reason(error) if isinstance(error, OSError | tf.errors.OpError) else "it is not whole"
            raise OSError(said) from None

    def whole(self, is_whole: Callable[[int], bool] = lambda step: True) -> Iterator[int]:
        """The steps of the checkpoints that are whole, the newest first; the log says which are not.

        Args:
          is_whole: whether what else belongs to the state of a step is there.
        """
        newest = self._manager.latest_checkpoint
        for path in dict.fromkeys([newest, *reversed(self._manager.checkpoints)] if newest else []):
            step = int(path.rpartition("-")[2])
            if not is_whole(step):
                log.warning("lines or pictures from before the checkpoint %s are missing; trying the one before it", path)
                continue
            try:
                _read(path)  # all of it, before any of it is taken
            except UNREADABLE:
                log.warning("the checkpoint %s cannot be read; trying the one before it", os.path.relpath(path))
                continue
            yield step

    def restore(self, steps: Iterable[int]) -> None:
        """Brings the state to the first checkpoint that is its own; leaves it as it is where there is none.

        Args:
          steps: of checkpoints that are `whole`.

        Raises:
          InputError: there are some, and they are of something else.
        """
        reasons = []
        for step in steps:
            path = str(self._folder / f"ckpt-{step}")
            try:
                self._state.restore(path).assert_consumed()
                return
            except (tf.errors.OpError, AssertionError, ValueError) as error:
                reasons.append(f"{path}: {' '.join(str(error).split())[:160]}")
        if reasons:
            raise InputError(f"the checkpoints are of another run ({'; '.join(reasons)}); start with --overwrite")
        if self._manager.latest_checkpoint:
            log.warning("there is no checkpoint before these: starting from the beginning")


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Within it, TensorFlow's errors are the disk's, and become OSError."""
    try:
        yield
    except tf.errors.OpError as error:
        raise OSError(errno.EIO, reason(error), str(path)) from None


def _read(path: str) -> None:
    """Reads all of a checkpoint, and so its checksums; raises one of UNREADABLE."""
    reader = tf.train.load_checkpoint(path)
    for name in reader.get_variable_to_shape_map():
        reader.get_tensor(name)


@contextlib.contextmanager
def _lasting(folder: Path, made: tuple[str, ...]) -> Iterator[None]:
    """Raises OSError where the folder is gone, or goes meanwhile: TensorFlow makes it again, and a run without its settings.

    Args:
      folder: must be the same at the end as at the start.
      made: patterns of what is removed from another one in its place; folders that are empty then are removed as well.
    """
    gone = FileNotFoundError("the folder is gone")
    places = (folder.absolute(), *folder.absolute().parents)
    try:
        held = os.open(folder, os.O_RDONLY)  # as long as it is open, no other folder gets its number
    except FileNotFoundError:
        raise gone from None
    try:
        before = [place.stat() for place in places]
        try:
            yield
        finally:
            others = [place for place, then in zip(places, before, strict=True) if not _is(place, then)]
            if folder.absolute() in others:
                for path in (path for pattern in made for path in folder.glob(pattern)):
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
                for place in others:
                    with contextlib.suppress(OSError):
                        place.rmdir()
                raise gone
    finally:
        os.close(held)


def _is(place: Path, then: os.stat_result) -> bool:
    with contextlib.suppress(OSError):
        return os.path.samestat(place.stat(), then)
    return False
