"""What is said once, however often the reason for it is met."""

import functools
import logging

log = logging.getLogger("tfinvert")


@functools.lru_cache(1000)
def warn_once(sentence: str) -> None:
    """Logs a warning, such as one about a file that is read more than once in a run."""
    log.warning(sentence)
