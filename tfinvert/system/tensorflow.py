"""The import of TensorFlow, and its errors that a user can do something about."""

import contextlib
import os
from collections.abc import Iterator

from tfinvert.system import standard_error
from tfinvert.system.errors import InputError

NO_GROUPED_GRADIENTS = "Gradients for grouped convolutions are not supported"  # as TensorFlow says it


def import_tensorflow() -> None:
    """Imports TensorFlow, without what its C++ says on standard error where there is no GPU, unless the import fails."""
    before = os.environ.get("TF_CPP_MIN_LOG_LEVEL")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        with standard_error.hold_back():
            import tensorflow as tf

            tf.config.list_physical_devices()  # says most of it
    finally:
        if before is None:
            del os.environ["TF_CPP_MIN_LOG_LEVEL"]


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
