"""A conversion under way in a process of its own, or its result from the cache.

The caller can import TensorFlow in the meantime, which takes about as long as the conversion.
"""

from __future__ import annotations

import dataclasses
import logging
import shutil
from pathlib import Path

from tfinvert.networks.conversion import cache
from tfinvert.networks.conversion.cache import Converted
from tfinvert.networks.conversion.request import Request
from tfinvert.system.child import Child
from tfinvert.system.errors import DiskError, InputError
from tfinvert.system.progress import progress_bar
from tfinvert.system.tensorflow import FIXED_WEIGHTS

PROGRAM = "tfinvert.networks.conversion.work"
STAGES = ("calibrating random weights", "converting", "comparing with onnxruntime", "saving")  # that the process tells
BAR = "{desc}: {bar} {elapsed}{postfix}"
log = logging.getLogger("tfinvert")
ENVIRONMENT = {
    "CUDA_VISIBLE_DEVICES": "-1",  # the GPU is the caller's; onnx2tf would hide it from itself anyway
    "TF_USE_LEGACY_KERAS": "1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "KERAS_BACKEND": "tensorflow",
    FIXED_WEIGHTS: "0",  # of a process that optimizes; several networks are computed here, one by one
}


class _DeathError(InputError):
    """The converting process ended without a word."""


class Conversion:
    """A conversion under way, or found in the cache. `result` waits for it; use it as a context manager.

    Attributes:
      request: the network.
      cached: whether it was found in the cache.
    """

    def __init__(self, request: Request, *, progress: bool = True):
        """Looks into the cache, else starts the converting process and waits until it has accepted the request.

        Args:
          request: the network.
          progress: whether `result` shows a bar while it waits, on a terminal or in a notebook.

        Raises:
          InputError: the file is no usable network, or a layer is not in it.
        """
        self.request = request
        self._progress = progress
        self._folder = cache.entry_folder(request)
        self._converted = cache.read_entry(self._folder, request)
        self.cached = self._converted is not None
        self._child: Child | None = None
        if self.cached:
            return
        self._start()

    def _start(self, because: str = "") -> None:
        """Starts the converting process; `because` says why it is to do without onnx2tf."""
        # The process makes this folder, and removes it when this process dies.
        self._scratch = cache.prepare_scratch(self._folder)
        self._child = Child(PROGRAM, environment=ENVIRONMENT)
        try:
            self._child.send(request=dataclasses.asdict(self.request), scratch=str(self._scratch), because=because)
            self._expect(self._child, "accepted")
        except BaseException:
            self.close()
            raise

    def result(self) -> Converted:
        """Waits for the converted network.

        Raises:
          InputError: an operator could not be converted, or a layer differs from onnxruntime by more than
            `verify.TOLERANCE`.
          DiskError: the converted network cannot be written to the cache.
        """
        if self._child is not None:
            try:
                self._finish()
            except _DeathError as error:
                if self.request.converter != "auto":
                    raise
                self.close()
                self._start(because=str(error))
                self._finish()
            finally:
                self.close()
        if self._converted is None:
            self._converted = cache.read_entry(self._folder, self.request)
        if self._converted is None:
            raise DiskError(f"the converted network in {self._folder} cannot be read back; is the disk full?")
        if self._converted.because:
            log.info("%s is converted by the Keras builder: %s", self._name, self._converted.because)
        return self._converted

    @property
    def _name(self) -> str:
        return str(self.request.model or Path(self.request.file or "").name)

    def _finish(self) -> None:
        """Waits for the stages of the process, and keeps what it made."""
        assert self._child is not None
        with progress_bar(f"converting {self._name}", len(STAGES), show=self._progress, bar_format=BAR) as bar:
            while (stage := self._expect(self._child, *STAGES, "converted")) != "converted":
                bar.set_postfix_str(stage, refresh=False)
                bar.update(STAGES.index(stage) - bar.n)  # back, where a second converter begins
                bar.refresh()
        cache.keep_entry(self._scratch / "entry", self._folder, self.request)

    def close(self) -> None:
        """Ends the process if it still runs, and removes what it was writing."""
        if self._child is not None:
            self._child.close()
            self._child = None
            shutil.rmtree(self._scratch, ignore_errors=True)

    def __enter__(self) -> Conversion:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _expect(self, child: Child, *events: str) -> str:
        """Waits until the process tells one of the events, and returns it; raises the error that it tells instead."""
        answer = child.receive()
        if answer is not None and answer.get("event") in events:
            return str(answer["event"])
        if answer is not None and "error" in answer:
            raise (DiskError if answer.get("disk") else InputError)(answer["error"])
        code = child.wait()
        raise _DeathError(
            f"converting {self.request.file or self.request.model} failed (exit code {code}): "
            f"{child.last_line()[:300] or 'no message'}"
        )
