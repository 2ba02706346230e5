"""Standard error without the notes that C++ libraries write there where nothing is wrong."""

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator


@contextlib.contextmanager
def hold_back() -> Iterator[None]:
    """Within it, what the process writes to standard error is kept back; it appears only if an exception leaves.

    Nothing is held back where TF_CPP_MIN_LOG_LEVEL is 0 or 1, which asks to see it, or where there is no standard error.

    Example:
      with hold_back():
          import tensorflow
    """
    if os.environ.get("TF_CPP_MIN_LOG_LEVEL", "2") < "2":
        yield
        return
    if sys.stderr is not None:
        sys.stderr.flush()
    try:
        original = os.dup(2)
    except OSError:  # closed, as in a program without a terminal
        yield
        return
    with tempfile.TemporaryFile() as kept:
        os.dup2(kept.fileno(), 2)
        try:
            yield
        except BaseException:
            kept.seek(0)
            os.write(original, kept.read())
            raise
        finally:
            os.dup2(original, 2)
            os.close(original)
