"""The checkpoints of an optimization or a training. Two are kept. A run continues from the newest one that is whole."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import tensorflow as tf

from tfinvert.system.errors import DiskError, InputError
from tfinvert.system.files import reason

KEPT = 2
UNREADABLE = (OSError, tf.errors.OpError, ValueError, IndexError, RuntimeError)
log = logging.getLogger("tfinvert")


class Checkpoints:
    """A folder of checkpoints, named by their step.

    The folder's listing says which there are, so that no file has to be trusted that names others, as TensorFlow's own list
    of checkpoints does.

    Args:
      state: what a checkpoint holds.
      folder: made if it does not exist. Of several workers that share it, only one may save.
    """

    def __init__(self, state: tf.train.Checkpoint, folder: Path):
        folder.mkdir(parents=True, exist_ok=True)
        self._state, self._folder = state, folder
        self._kept: list[int] = []  # steps of whole checkpoints, the newest last
        state.save_counter  # noqa: B018 - accessing it adds it to the state; the checkpoints of version 0.1 hold it

    def save(self, step: int) -> None:
        """Writes a checkpoint and keeps it and the one before it, which was saved or restored. Removes all other files.

        Raises:
          DiskError: the checkpoint cannot be written. Those before it are as they were.
        """
        try:
            if not self._folder.is_dir():  # TensorFlow would make it again, without the other files of the run.
                raise FileNotFoundError("the folder is gone")
            self._write(step)
            self._kept = [*(kept for kept in self._kept if kept != step), step][-KEPT:]
            names = {f"ckpt-{kept}" for kept in self._kept}
            for path in self._folder.iterdir():
                if path.name.endswith("_temp"):
                    shutil.rmtree(path)
                elif path.is_file() and path.stem not in names:
                    path.unlink()
        except (OSError, tf.errors.OpError) as error:
            raise DiskError(
                f"the checkpoint in {self._folder} cannot be written ({reason(error)}); "
                "the one before it is kept: --resume goes on from there"
            ) from None

    def _write(self, step: int) -> None:
        """Writes a checkpoint, whole or not at all: on a full disk TensorFlow may write a part of it without an error."""
        path = self._path(step)
        try:
            self._state.write(path)
            _read(path)
        except UNREADABLE as error:
            for part in self._folder.glob(f"ckpt-{step}.*"):
                part.unlink()
            why = reason(error) if isinstance(error, OSError | tf.errors.OpError) else "it is not whole"
            raise OSError(why) from None

    def _path(self, step: int) -> str:
        return str(self._folder / f"ckpt-{step}")

    def _steps(self) -> list[int]:
        """The steps that have a checkpoint, whole or not, the newest first."""
        names = [re.fullmatch(r"ckpt-([0-9]{1,18})\.index", path.name) for path in self._folder.iterdir()]
        return sorted((int(name[1]) for name in names if name), reverse=True)

    def whole(self, is_whole: Callable[[int], bool] = lambda step: True) -> Iterator[int]:
        """Yields the steps of the checkpoints that are whole, the newest first. The log names those that are not.

        Args:
          is_whole: whether the other files that belong to a step are there.
        """
        for step in self._steps():
            path = os.path.relpath(self._path(step))
            if not is_whole(step):
                log.warning("lines or images from before the checkpoint %s are missing; trying the one before it", path)
                continue
            try:
                _read(path)  # all of it, before any of it changes the state
            except UNREADABLE:
                log.warning("the checkpoint %s cannot be read; trying the one before it", path)
                continue
            yield step

    def restore(self, steps: Iterable[int]) -> None:
        """Sets the state to the first of these checkpoints that fits it. Without any checkpoint the state stays as it is.

        Args:
          steps: steps that `whole` gave.

        Raises:
          InputError: there are checkpoints, and all of them belong to something else.
        """
        reasons = []
        for step in steps:
            path = self._path(step)
            try:
                self._state.restore(path).assert_consumed()
                self._kept = [step]
                return
            except (tf.errors.OpError, AssertionError, ValueError) as error:
                reasons.append(f"{path}: {' '.join(str(error).split())[:160]}")
        if reasons:
            raise InputError(f"the checkpoints are of another run ({'; '.join(reasons)}); start with --overwrite")
        if self._steps():
            log.warning("there is no checkpoint before these: starting from the beginning")


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Within it, TensorFlow's errors are those of the disk, and become OSError."""
    try:
        yield
    except tf.errors.OpError as error:
        raise OSError(errno.EIO, reason(error), str(path)) from None


def _read(path: str) -> None:
    """Reads all of a checkpoint, and so checks its checksums. Raises one of UNREADABLE."""
    reader = tf.train.load_checkpoint(path)
    for name in reader.get_variable_to_shape_map():
        reader.get_tensor(name)
