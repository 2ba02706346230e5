"""The checkpoints of an optimisation or a training: the newest two in a folder, each found again whole or passed over."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import tensorflow as tf

from tfinvert.errors import DiskError, InputError
from tfinvert.files import reason

KEPT = 2
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
            if not self._folder.is_dir():  # TensorFlow would make it again, and a run without its settings in it
                raise FileNotFoundError("the folder is gone")
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
            reader = tf.train.load_checkpoint(self._manager.save(step))
            for name in reader.get_variable_to_shape_map():
                reader.get_tensor(name)
        except (OSError, tf.errors.OpError, ValueError, IndexError, RuntimeError) as error:
            for part in self._folder.glob(f"ckpt-{step}.*"):
                part.unlink()
            said = reason(error) if isinstance(error, OSError | tf.errors.OpError) else "it is not whole"
            raise OSError(said) from None

    def restore(self, is_whole: Callable[[int], bool] = lambda step: True) -> None:
        """Brings the state to the newest checkpoint that can be read; leaves it as it is where there is none.

        Args:
          is_whole: whether what else belongs to the state of a step is there; checkpoints without it are passed over.

        Raises:
          InputError: there are some and none can be read.
        """
        reasons = []
        newest = self._manager.latest_checkpoint
        for path in dict.fromkeys([newest, *reversed(self._manager.checkpoints)] if newest else []):
            if not is_whole(int(path.rpartition("-")[2])):
                log.warning("lines or pictures from before the checkpoint %s are missing; trying the one before it", path)
                continue
            try:
                self._state.restore(path).assert_consumed()
                return
            except (tf.errors.OpError, AssertionError, ValueError, IndexError) as error:
                reasons.append(f"{path}: {' '.join(str(error).split())[:160]}")
                log.warning("the checkpoint %s cannot be read; trying the one before it", os.path.relpath(path))
        if reasons:
            raise InputError(f"no checkpoint can be read ({'; '.join(reasons)}); start with --overwrite")
