"""Standard error without what C++ libraries say there where nothing is wrong."""

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator


@contextlib.contextmanager
def standard_error_held_back() -> Iterator[None]:
    """Within it, what the process writes to standard error is kept back; it appears only if an exception leaves.

    Nothing is held back where TF_CPP_MIN_LOG_LEVEL is 0 or 1, which asks to see it.
    """
    if os.environ.get("TF_CPP_MIN_LOG_LEVEL", "2") < "2":
        yield
        return
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as said:
        os.dup2(said.fileno(), 2)
        try:
            yield
        except BaseException:
            said.seek(0)
            os.write(kept, said.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
