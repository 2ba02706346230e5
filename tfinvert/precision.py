"""The arithmetic of a run, and the device's memory: what TensorFlow is told before it computes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import tensorflow as tf

from tfinvert.config import Config

OPTIONS = {"bfloat16": "auto_mixed_precision_onednn_bfloat16"}  # of TensorFlow's graph optimiser


@contextlib.contextmanager
def arithmetic(config: Config) -> Iterator[Callable[[int], bool]]:
    """Within it, functions compute as `config.precision` says for `config.reduced_steps()` steps, then in float32.

    The last steps remove what rounding has left in the picture. TensorFlow reads the option at every call of a function.

    Yields:
      A function of the number of updates made so far, to be called between two, which says whether it has just gone over
      to float32.
    """
    option = OPTIONS.get(config.precision)
    if option is None:
        yield lambda step: False
        return
    before = tf.config.optimizer.get_experimental_options().get(option, False)
    tf.config.optimizer.set_experimental_options({option: True})
    reduced = True

    def finishing(step: int) -> bool:
        nonlocal reduced
        if step < config.reduced_steps() or not reduced:
            return False
        reduced = False
        tf.config.optimizer.set_experimental_options({option: before})
        return True

    try:
        yield finishing
    finally:
        tf.config.optimizer.set_experimental_options({option: before})


def grow_gpu_memory() -> None:
    """Lets TensorFlow take a GPU's memory as it needs it instead of all at once."""
    for gpu in tf.config.list_physical_devices("GPU"):
        with contextlib.suppress(RuntimeError):  # in use already: then it is as its owner set it
            tf.config.experimental.set_memory_growth(gpu, True)
