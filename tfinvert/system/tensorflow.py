"""The import of TensorFlow, its translation of Python, and its errors that a user can do something about."""

from __future__ import annotations

import contextlib
import gc
import os
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from tfinvert.system import standard_error
from tfinvert.system.errors import InputError

if TYPE_CHECKING:
    import keras

DRAWING = ("matplotlib", "cv2")  # what Keras imports for functions that draw galleries, where it is installed
FIXED_WEIGHTS = "TF_ONEDNN_ASSUME_FROZEN_WEIGHTS"  # TensorFlow reads it before its first convolution
NO_GROUPED_GRADIENTS = "Gradients for grouped convolutions are not supported"  # as TensorFlow says it


def import_tensorflow(*, drawing: bool = True) -> None:
    """Imports TensorFlow, without what its C++ says on standard error where there is no GPU, unless the import fails.

    Args:
      drawing: whether Keras' functions that draw work in this process. Without them, a fifth of the import is saved, because
        Keras does without the packages that it draws with.
    """
    before = os.environ.get("TF_CPP_MIN_LOG_LEVEL")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        with standard_error.hold_back(), without_collection(), contextlib.nullcontext() if drawing else without(DRAWING):
            import tensorflow as tf

            tf.config.list_physical_devices()  # says most of it
    finally:
        if before is None:
            del os.environ["TF_CPP_MIN_LOG_LEVEL"]


def forget_kernels() -> None:
    """Lets TensorFlow give back the memory of operations and functions that were called, which it keeps by their names.

    Each run traces functions of its own, so that what is kept for them is never used again. What is still in use is made anew
    when it is called. Does nothing in a process that has not imported TensorFlow.
    """
    if "tensorflow" in sys.modules:
        from tensorflow.python.eager import context  # as keras.utils.clear_session does, which forgets seeds and names as well

        context.context().clear_kernel_cache()


@contextlib.contextmanager
def without_collection() -> Iterator[None]:
    """Within it, Python does not look for garbage: 1,600 modules leave none, and take an eighth longer."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


@contextlib.contextmanager
def without(packages: tuple[str, ...]) -> Iterator[None]:
    """Within it, packages that are not imported yet cannot be imported, so that others do without what they would use."""
    missing = [name for name in packages if name not in sys.modules]
    sys.modules.update(dict.fromkeys(missing))  # type: ignore[arg-type]  # None says that there is no such module
    try:
        yield
    finally:
        for name in missing:
            sys.modules.pop(name, None)


def autographed(function: Callable[..., Any]) -> Callable[..., Any]:
    """A user's function, whose `if` and `for` may depend on tensors, for a step that is traced without AutoGraph.

    AutoGraph translates the source of every function that it meets, and ours, which need no translation, would take longer than
    the import of TensorFlow.
    """
    import tensorflow as tf

    package = (getattr(function, "__module__", None) or "").partition(".")[0]
    has_it = package in ("tfinvert", "keras") or isinstance(function, tf.types.experimental.PolymorphicFunction)
    return function if has_it else tf.function(function)


def weights_stay() -> bool:
    """Whether this process, or the one that started it, has said that no weight of a convolution changes."""
    return os.environ.get(FIXED_WEIGHTS, "0") not in ("", "0", "false")


def call_as_function(model: keras.Model) -> keras.Model:
    """Makes each call of a model outside of functions a call of one function, where `weights_stay`; returns the model.

    By themselves, such calls run one operation after the other, and TensorFlow takes convolutions with the same attributes for
    the same kernel. Where a process keeps the weights of each kernel (`optimization.precision.pack_weights_once`), layers with
    weights of the same shape would compute with those of the first of them.
    """
    import keras
    import tensorflow as tf

    if any(isinstance(layer, keras.layers.TFSMLayer) for layer in model.layers):
        return model  # which is one function
    layers = model.call
    function = tf.function(lambda image, training: layers(image, training=training), autograph=False, reduce_retracing=True)

    def call(inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        if weights_stay() and isinstance(inputs, tf.Tensor) and tf.executing_eagerly():
            return function(inputs, training)
        return layers(inputs, training=training, mask=mask)

    model.call = call
    return model


@contextlib.contextmanager
def explain_errors() -> Iterator[None]:
    """Says in one line what helps where TensorFlow cannot differentiate a network on this processor.

    Without oneDNN, which TensorFlow leaves off on some processors, it has no gradients of convolutions in groups, such as
    those of AlexNet.

    Raises:
      InputError: instead of TensorFlow's error.
    """
    try:
        yield
    except Exception as error:
        if NO_GROUPED_GRADIENTS not in str(error):
            raise
        raise InputError(
            "TensorFlow cannot differentiate the convolutions in groups of this network on this processor; "
            "set the environment variable TF_ENABLE_ONEDNN_OPTS=1 and run it again"
        ) from None


def check_backend() -> None:
    """Raises InputError where Keras does not run on TensorFlow in this process."""
    import_tensorflow()
    needed = "tfinvert needs TensorFlow: set the environment variable KERAS_BACKEND=tensorflow before keras is imported"
    try:
        import keras
    except ImportError as error:
        raise InputError(f"Keras cannot be imported ({error}); {needed}") from None
    if (backend := keras.backend.backend()) != "tensorflow":
        raise InputError(f"Keras runs on {backend} in this process; {needed}")
