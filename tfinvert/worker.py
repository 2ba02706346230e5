"""What a worker does with a task. Its process is long-lived: TensorFlow is imported once, and the last networks are kept."""

from __future__ import annotations

import collections
import dataclasses
import gc
import logging
import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfinvert import experiments, runner
from tfinvert.runs.directory import RunDirectory
from tfinvert.settings import flagfiles, flags
from tfinvert.settings.groups import NetworkSettings
from tfinvert.system import signals, tensorflow
from tfinvert.system.child import Child
from tfinvert.system.errors import InputError, NonFiniteLossError
from tfinvert.system.locks import LockedError
from tfinvert.system.received import located

if TYPE_CHECKING:
    from tfinvert.networks.network import Network
    from tfinvert.settings.fields import Settings

PROGRAM = "tfinvert.cli"  # what runs in a process of its own
MOST_NETWORKS = 2  # that are kept, each cut to the layers of a run
LONGEST_ERROR = 500  # characters
POLL_SECONDS = 0.2
CHECKPOINT_SECONDS = 10.0  # A process that is asked to end writes its checkpoint within this time.
NAMES = (
    "model",
    "onnx",
    "weights",
    "preprocessing",
    "size",
    "pool",
    "converter",
    "winograd",
    "output",
    "class_names",
    "precision",
    "layers",
)
log = logging.getLogger("tfinvert")


class _Process:
    """What lasts in this process from one task to the next.

    Attributes:
      lock: TensorFlow's settings are those of the process, so that it does one task at a time.
      networks: the last ones that were used, by what they were loaded with.
      weights_stay: whether the process has told TensorFlow that weights of convolutions stay as they are; None before its first
        run. TensorFlow takes that once.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.networks: collections.OrderedDict[tuple, Network] = collections.OrderedDict()
        self.weights_stay: bool | None = None

    def network(self, settings: Any) -> Network | None:
        """The network of a run, which is loaded if it is none of the last ones; None where the run names none, or reads it."""
        if not isinstance(settings, NetworkSettings):
            return None
        from tfinvert.networks.load import from_settings, is_keras_file

        if is_keras_file(settings):  # after the run has set up TensorFlow
            return None
        file = located(Path(settings.onnx)) if settings.onnx else None
        about = file.stat() if file is not None and file.is_file() else None
        key = (
            *(getattr(settings, name, None) for name in NAMES),
            None if about is None else (about.st_size, about.st_mtime_ns, about.st_ino),
        )
        network = self.networks.pop(key, None) or from_settings(settings)
        if getattr(settings, "resize", None) == "keep":
            return network  # it keeps itself at the size of each image, which may be any number
        self.networks[key] = network
        if len(self.networks) > MOST_NETWORKS:
            self.networks.popitem(last=False)
            gc.collect()  # traced functions are part of circles
        return network

    def fits(self, settings: Settings) -> bool:
        """Whether a run can have what TensorFlow was told about the weights of this process."""
        if self.weights_stay is None and settings.needs_tensorflow:
            self.weights_stay = settings.weights_stay
        return not settings.needs_tensorflow or self.weights_stay == settings.weights_stay


_process = _Process()


def work(message: dict[str, Any]) -> dict[str, Any]:
    """Does a task that is not finished, from its checkpoints where there are some.

    Args:
      message: `flags`, the command line of the task; `own_process`, whether this process has nothing else to do.

    Returns:
      The attributes of `executors.Answer` as plain values.

    Raises:
      Interrupted: a signal asked to end. The runs have left a checkpoint.
    """
    started = time.perf_counter()
    if message["own_process"]:
        os.environ["KERAS_BACKEND"] = "tensorflow"  # whatever the worker's environment or keras.json says
    with _process.lock:
        answer = _work(message["flags"], own_process=message["own_process"])
        if message["own_process"]:
            tensorflow.forget_kernels()
    return {**answer, "seconds": time.perf_counter() - started}


def _work(arguments: Sequence[str], *, own_process: bool) -> dict[str, Any]:
    experiment = experiments.find(flags.experiment_of(arguments, "invert"))
    kind = experiment.settings
    settings = kind(**kind.complete(flags.values(kind, arguments)))
    runs = [runner.Run(each, RunDirectory(each.run_folder())) for each in settings.each()]  # type: ignore[attr-defined]
    if hasattr(settings, "resume") and not settings.overwrite:  # type: ignore[attr-defined]
        begun = any(run.directory is not None and run.directory.flags.exists() for run in runs)
        settings = dataclasses.replace(settings, resume=begun)  # type: ignore[call-arg]
    error, again, level = "", False, log.level
    log.setLevel(logging.WARNING)
    try:
        if own_process and not _process.fits(settings):
            error = _in_a_process(settings, arguments)
        else:
            given = runner.Given(network=_process.network(settings), progress=False, own_process=own_process)
            runs = runner.execute(experiment, settings, given)
    except (InputError, NonFiniteLossError) as problem:
        error, again = str(problem), isinstance(problem, LockedError)
    except OSError as problem:
        where = f" ({problem.filename})" if problem.filename else ""
        error, again = f"{problem.strerror or problem}{where}", True
    except Exception as problem:  # a mistake of the program, or of a library, in one run is none in the others
        log.debug("a run failed", exc_info=True)
        error, again = f"{type(problem).__name__}: {problem}", True
    finally:
        log.setLevel(level)
    return {"results": [_result(experiment, run, error) for run in runs], "again": again}


def _result(experiment: experiments.Experiment, run: runner.Run, error: str) -> dict[str, Any]:
    """How a run ended, as the attributes of `executors.RunResult`."""
    own = getattr(run.result, "error", None)
    if isinstance(own, signals.Interrupted):
        raise own
    if own is not None:
        error = str(own)
    elif run.directory is not None and run.directory.flags.exists():
        info = run.directory.read_info()
        if run.directory.is_finished(flagfiles.text(run.settings)):
            return {"line": runner.summary(experiment, run).partition("\n")[0]}
        error = info.get("stopped", error) if len(error) == 0 else error
    elif not error and run.result is not None:
        return {"line": runner.summary(experiment, run).partition("\n")[0]}
    return {"error": " ".join((error or "it ended without a result").split())[:LONGEST_ERROR]}


def _in_a_process(settings: Any, arguments: Sequence[str]) -> str:
    """Runs a task in a process of its own, which TensorFlow can be told something else about; returns its error."""
    again = {tensorflow.FIXED_WEIGHTS: "0"}  # which this process may have set for itself
    more = ["--resume"] if getattr(settings, "resume", False) else []
    with (
        signals.held_back() as interruption,
        Child(PROGRAM, *arguments, *more, environment=again, answers=False, grace=CHECKPOINT_SECONDS) as child,
    ):
        while child.poll() is None:
            if interruption:
                child.ask_to_end()
            time.sleep(POLL_SECONDS)
        code = child.wait()
        error = child.last_line().removeprefix("tfinvert: ") or f"ended with exit code {code}"
    interruption.raise_if_any()
    return error if code else ""
