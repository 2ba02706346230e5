"""The arithmetic of a run, and the device's memory: what TensorFlow is told before it computes."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator

import tensorflow as tf

from tfinvert.errors import InputError
from tfinvert.settings.config import Config

OPTION = "auto_mixed_precision_onednn_bfloat16"  # of TensorFlow's graph optimizer
FIXED_WEIGHTS = "TF_ONEDNN_ASSUME_FROZEN_WEIGHTS"  # read before TensorFlow's first convolution


def pack_weights_once() -> None:
    """Has this process keep the weights of convolutions in the order in which they are multiplied.

    Only weights that are constants of a graph are kept so otherwise, and a large network has no room for constants; others are
    read as they are, which from 256 channels on takes up to twice as long. For the whole process, which may have no convolution
    whose weights change: it would go on with the first ones.
    """
    os.environ[FIXED_WEIGHTS] = "1"


def let_weights_change() -> None:
    """To be called before weights of convolutions are optimized.

    Raises:
      InputError: this process, or who started it, has said that they stay.
    """
    if os.environ.get(FIXED_WEIGHTS, "0") not in ("", "0", "false"):
        raise InputError(f"{FIXED_WEIGHTS} is set, with which weights that are optimized would never change; unset it")


@contextlib.contextmanager
def arithmetic(config: Config) -> Iterator[Callable[[int], bool]]:
    """Within it, functions compute as `config.precision` says.

    - float32: in all its 24 bits. TensorFlow by itself would take TF32 on a GPU that has it;
    - tf32: products of 11 bits, summed in float32, on such a GPU;
    - bfloat16: convolutions and matrices of 8 bits on a processor, for `config.reduced_steps()` steps; the last steps, in
      float32, remove what rounding has left in the picture.

    TensorFlow reads these settings at every call of a function. They are put back at the end.

    Yields:
      A function of the number of updates made so far, to be called between two, which says whether it has just gone over
      to float32.

    Raises:
      InputError: the precision is none of the devices at hand.
    """
    gpu = bool(tf.config.list_physical_devices("GPU"))
    if config.precision == "tf32" and not gpu:
        raise InputError("--precision=tf32 needs a GPU, and TensorFlow sees none; expected float32 or bfloat16")
    if config.precision == "bfloat16" and gpu:
        raise InputError("--precision=bfloat16 is for processors, and TensorFlow sees a GPU; expected float32 or tf32")
    before = tf.config.optimizer.get_experimental_options().get(OPTION, False)
    before_tf32 = tf.config.experimental.tensor_float_32_execution_enabled()
    reduced = config.precision == "bfloat16"
    tf.config.experimental.enable_tensor_float_32_execution(config.precision == "tf32")
    tf.config.optimizer.set_experimental_options({OPTION: reduced})

    def finishing(step: int) -> bool:
        nonlocal reduced
        if step < config.reduced_steps() or not reduced:
            return False
        reduced = False
        tf.config.optimizer.set_experimental_options({OPTION: False})
        return True

    try:
        yield finishing
    finally:
        tf.config.optimizer.set_experimental_options({OPTION: before})
        tf.config.experimental.enable_tensor_float_32_execution(before_tf32)


def grow_gpu_memory() -> None:
    """Lets TensorFlow take a GPU's memory as it needs it instead of all at once."""
    for gpu in tf.config.list_physical_devices("GPU"):
        with contextlib.suppress(RuntimeError):  # in use already: then it is as its owner set it
            tf.config.experimental.set_memory_growth(gpu, True)
