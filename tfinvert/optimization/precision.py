"""The settings of TensorFlow for a run: its arithmetic, the order of the weights, the memory of processors and GPUs."""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Callable, Iterator

import tensorflow as tf

from tfinvert.system.errors import InputError
from tfinvert.system.tensorflow import FIXED_WEIGHTS, weights_stay

OPTION = "auto_mixed_precision_onednn_bfloat16"  # an option of TensorFlow's graph optimizer
DETERMINISTIC = "TF_DETERMINISTIC_OPS"  # a variable of the environment that TensorFlow reads, too
ARENAS = -8  # M_ARENA_MAX of glibc's mallopt


def pack_weights_once() -> None:
    """Makes this process keep the weights of convolutions in the order in which they are multiplied.

    Otherwise only weights that are constants of a graph are kept so, and a large network has no room for constants. Others are
    read in their own order, which takes up to twice as long from 256 channels on. This holds for the whole process, which must
    have no convolution whose weights change: it would continue with the first ones.
    """
    os.environ[FIXED_WEIGHTS] = "1"


def let_weights_change() -> None:
    """Checks that weights of convolutions may change. It is called before they are optimized.

    Raises:
      InputError: this process, or the one that started it, has said that they stay.
    """
    if weights_stay():
        raise InputError(f"{FIXED_WEIGHTS} is set, with which weights that are optimized would never change; unset it")


def check(precision: str) -> None:
    """Raises InputError where the devices of this machine do not have a precision."""
    gpu = bool(tf.config.list_physical_devices("GPU"))
    if precision == "tf32" and not gpu:
        raise InputError("--precision=tf32 needs a GPU, and TensorFlow sees none; expected float32 or bfloat16")
    if precision == "bfloat16" and gpu:
        raise InputError("--precision=bfloat16 is for processors, and TensorFlow sees a GPU; expected float32 or tf32")


@contextlib.contextmanager
def arithmetic(precision: str, reduced_steps: int) -> Iterator[Callable[[int], bool]]:
    """Within it, functions compute in a precision.

    - float32: with all its 24 bits. By itself TensorFlow would take TF32 on a GPU that has it;
    - tf32: products of 11 bits, summed in float32, on such a GPU;
    - bfloat16: convolutions and matrix products of 8 bits on a processor, for a number of steps. The steps after them, in
      float32, remove what rounding has left in the image.

    TensorFlow reads these settings at every call of a function. At the end they are as they were before.

    Args:
      precision: one of these names.
      reduced_steps: the number of steps in bfloat16.

    Yields:
      A function that is called between two updates with their number. It returns True when it has just changed to float32.

    Raises:
      InputError: the devices of this machine do not have the precision.
    """
    check(precision)
    before = tf.config.optimizer.get_experimental_options().get(OPTION, False)
    before_tf32 = tf.config.experimental.tensor_float_32_execution_enabled()
    reduced = precision == "bfloat16"
    tf.config.experimental.enable_tensor_float_32_execution(precision == "tf32")
    tf.config.optimizer.set_experimental_options({OPTION: reduced})

    def change_precision(step: int) -> bool:
        nonlocal reduced
        if step < reduced_steps or not reduced:
            return False
        reduced = False
        tf.config.optimizer.set_experimental_options({OPTION: False})
        return True

    try:
        yield change_precision
    finally:
        tf.config.optimizer.set_experimental_options({OPTION: before})
        tf.config.experimental.enable_tensor_float_32_execution(before_tf32)


def grow_gpu_memory() -> None:
    """Lets TensorFlow take a GPU's memory as it needs it, instead of all at once."""
    for gpu in tf.config.list_physical_devices("GPU"):
        with contextlib.suppress(RuntimeError):  # it is in use already, and stays as its owner has set it
            tf.config.experimental.set_memory_growth(gpu, True)


def make_gpus_deterministic() -> None:
    """Lets GPUs take no algorithm whose bytes differ from call to call, which costs speed. Processors have none.

    TensorFlow then refuses a few gradients, such as that of nearest-neighbor resizing. `TF_DETERMINISTIC_OPS=0` in the
    environment lets GPUs take any algorithm.
    """
    if os.environ.get(DETERMINISTIC, "1") != "0" and tf.config.list_physical_devices("GPU"):
        tf.config.experimental.enable_op_determinism()


def share_heap() -> None:
    """Lets all threads of this process allocate from one heap, where the C library is glibc.

    Otherwise each thread has a heap of its own, which keeps the largest values that it ever held.
    """
    with contextlib.suppress(AttributeError, OSError, TypeError):  # other systems have no such function
        ctypes.CDLL(None).mallopt(ARENAS, 1)
