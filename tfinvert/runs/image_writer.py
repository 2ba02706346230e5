"""Writes images in a thread, so that an optimization does not wait for the disk."""

from __future__ import annotations

import logging
import queue
import threading
import time
from pathlib import Path

import numpy as np

from tfinvert.images import files as images

QUEUED_IMAGES = 16
WORTH_SAYING = 1.0  # seconds of waiting for the disk, from which on the log mentions it
log = logging.getLogger("tfinvert")


class ImageWriter:
    """A thread that writes images, which starts with the first one. `close` ends it."""

    def __init__(self) -> None:
        self._queue: queue.Queue[tuple[Path, np.ndarray] | None] = queue.Queue(QUEUED_IMAGES)
        self._failure: BaseException | None = None
        self._thread: threading.Thread | None = None
        self._waits, self._waited = 0, 0.0

    def save(self, path: Path, image: np.ndarray) -> None:
        """Hands a copy of an image to the thread. Waits only where 16 images are waiting already.

        Args:
          path: the file to write.
          image: float [height, width, 3] or [1, height, width, 3], RGB in [0, 1].

        Raises:
          OSError: an earlier image could not be written.
        """
        self._raise_failure()
        if self._thread is None:
            self._thread = threading.Thread(target=self._write_all, name="images", daemon=True)
            self._thread.start()
        item = (path, np.array(image))
        try:
            self._queue.put_nowait(item)
        except queue.Full:
            started = time.perf_counter()
            self._queue.put(item)
            self._waits += 1
            self._waited += time.perf_counter() - started

    def flush(self) -> None:
        """Waits until every image is written. Raises OSError if one could not be written."""
        self._queue.join()
        self._raise_failure()

    def close(self) -> None:
        """Ends the thread after the images that are waiting. The log says so if steps had to wait for the disk."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join()
            self._thread = None
        if self._waited >= WORTH_SAYING:
            message = "the steps waited %d times, %.1f s in all, for images to be written; a larger --save_every writes fewer"
            log.warning(message, self._waits, self._waited)
        self._waits, self._waited = 0, 0.0

    def _write_all(self) -> None:
        while (item := self._queue.get()) is not None:
            if self._failure is None:
                try:
                    images.save(*item)
                except BaseException as error:
                    self._failure = error
            self._queue.task_done()
        self._queue.task_done()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure
