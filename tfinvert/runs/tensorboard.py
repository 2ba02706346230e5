"""Scalars and images for TensorBoard."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from tfinvert.runs.checkpoints import writing
from tfinvert.runs.directory import RunDirectory


@contextlib.contextmanager
def writer(directory: RunDirectory | None) -> Iterator[Callable[[dict[str, Any], np.ndarray], None]]:
    """A function that logs a line of metrics and its image; with None, it does nothing."""
    if directory is None:
        yield lambda line, image: None
        return
    with writing(directory.tensorboard):
        events = tf.summary.create_file_writer(str(directory.tensorboard))

    def log(line: dict[str, Any], image: np.ndarray) -> None:
        with writing(directory.tensorboard), events.as_default(step=line["step"]):
            for name, value in line.items():
                if name != "step":
                    tf.summary.scalar(name, value)
            tf.summary.image("image", np.clip(image, 0, 1))

    try:
        yield log
    finally:
        with writing(directory.tensorboard):
            events.close()
