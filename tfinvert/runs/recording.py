"""The record of an optimization: lines, images and checkpoints in a run directory; its end on a signal, its continuation."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from tfinvert.optimization.snapshots import Snapshot
from tfinvert.optimization.solver import Solver
from tfinvert.optimization.state import State, checkpoint, forget_best
from tfinvert.runs.checkpoints import Checkpoints
from tfinvert.runs.directory import RunDirectory
from tfinvert.system import signals
from tfinvert.system.errors import NonFiniteLossError
from tfinvert.system.signals import Interrupted

CHECKPOINT_SECONDS = 10.0
log = logging.getLogger("tfinvert")


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How an optimization ended.

    Attributes:
      lines: one dictionary for every `save_every` steps, as in metrics.jsonl, without those before a resumption.
      seconds: since the last start.
      steps: updates since the last start.
      error: what ended it before its last step, if anything did.
    """

    lines: tuple[dict[str, Any], ...]
    seconds: float
    steps: int
    error: NonFiniteLossError | Interrupted | None = None

    def raise_if_any(self) -> None:
        """Raises what ended the optimization before its last step."""
        if self.error is not None:
            raise self.error


@dataclasses.dataclass(frozen=True)
class Recording:
    """What is recorded of one of the states of a solver.

    Attributes:
      run_dir: where lines, images and checkpoints are written, created and locked; None to write nothing.
      measure: gives what a line says beside step, loss, rate and terms.
      on_line: takes each line and its image, [batch, H, W, 3], too.
      on_step: takes the snapshot of each line, which carries an image; True or "stop" ends the optimization as if it had no
        more steps.
    """

    run_dir: RunDirectory | None = None
    measure: Callable[[Snapshot], dict[str, Any]] = lambda snapshot: {}
    on_line: Callable[[dict[str, Any], np.ndarray], None] = lambda line, image: None
    on_step: Callable[[Snapshot], Any] = lambda snapshot: None


def record(
    solver: Solver,
    recordings: Sequence[Recording],
    steps: int,
    save_every: int,
    *,
    part: str = "",
    before: int = 0,
    resume: bool = False,
    change_precision: Callable[[int], bool] = lambda step: False,
    label: str = "",
    progress: bool = True,
) -> list[Outcome]:
    """Runs a solver to its end, or until no loss is finite, a callback stops it, or a signal asks it to; then saves its states.

    Args:
      solver: its states are at the start. Where the loss of one is not finite, the others continue.
      recordings: one for each of its states.
      steps: number of updates in all.
      save_every: steps between lines of metrics and images.
      part: where the checkpoints of this part are, in a run of several optimizations.
      before: steps of the parts before this one, which are added to the steps that are written.
      resume: continue from the newest checkpoint of this part, if there is one; several states continue from the newest step of
        which each has one.
      change_precision: a function of `precision.arithmetic`. It is called between two updates with their number, and says
        whether losses are from here on not comparable with those before.
      label: what the progress bar says.
      progress: False for no progress bar. There is none either where standard error is no terminal and no notebook.

    Returns:
      How each ended. The caller calls `Outcome.raise_if_any` after it has written what it has to.

    Raises:
      InputError: a checkpoint cannot be read.
      OSError: the disk is full, or the folder cannot be written.
    """
    records = [_Record(*pair, part, before, save_every) for pair in zip(solver.states, recordings, strict=True)]
    if resume:
        _restore(records)
        if solver.step == steps and all(each.goes_beyond(steps) for each in records):
            return [Outcome((), 0.0, 0)] * len(records)  # a later part has begun: this part is finished
        for each in records:
            each.rewind()
    first = solver.step
    change_precision(first)
    with contextlib.ExitStack() as stack:
        for run_dir in (each.run_dir for each in recordings if each.run_dir is not None):
            stack.enter_context(run_dir)
        signal = stack.enter_context(signals.held_back())
        bar = stack.enter_context(_progress_bar(steps, first, label, progress))
        started = saved = time.perf_counter()
        for snapshots in solver.run(steps, save_every):
            if change_precision(solver.step):
                for state in solver.states:
                    forget_best(state)
            lines = [line for each, snapshot in zip(records, snapshots, strict=True) if (line := each.take(snapshot))]
            if lines:
                bar.set_postfix(_means(lines), refresh=False)
            step = next((snapshot.step for snapshot in snapshots if isinstance(snapshot, Snapshot)), None)
            if step is None:
                break
            bar.update(min(step + 1, steps) - bar.n)
            if solver.step > step + 1:
                continue  # the updates of this snapshot and of the next were made at once
            if signal or any(each.stopped for each in records):
                break
            if time.perf_counter() - saved > CHECKPOINT_SECONDS:
                for each in records:
                    each.save()
                saved = time.perf_counter()
        seconds = time.perf_counter() - started
        for each in records:
            each.save()
    return [each.outcome(seconds, solver.step - first, signal.number) for each in records]


def _progress_bar(steps: int, first: int, label: str, progress: bool) -> tqdm:
    # With None, tqdm itself looks whether there is a terminal or a notebook.
    hidden = None if progress and sys.stderr is not None else True
    return tqdm(total=steps, initial=first, unit=" steps", desc=label, dynamic_ncols=True, disable=hidden)


def _restore(records: Sequence[_Record]) -> None:
    """Restores a state from its newest checkpoint, or several states from the newest step at which each of them has one."""
    if len(records) == 1:
        records[0].restore(records[0].complete_steps())
        return
    each = [list(record.complete_steps()) for record in records]
    common = [step for step in each[0] if all(step in others for others in each)]
    if common:
        for record in records:
            record.restore(common)
    elif any(each):
        log.warning("the images have no checkpoints of the same step: starting all of them from the beginning")


def _means(lines: Sequence[dict[str, Any]]) -> dict[str, str]:
    """The numbers beside the progress bar."""
    shown = {"loss": f"{np.mean([line['loss'] for line in lines]):.3g}"}
    return shown | ({"psnr": f"{np.mean([line['psnr'] for line in lines]):.1f} dB"} if "psnr" in lines[0] else {})


class _Record:
    """What has been recorded of one state.

    Attributes:
      stopped: whether its callback has asked to stop.
    """

    def __init__(self, state: State, recording: Recording, part: str, before: int, save_every: int):
        self.stopped = False
        self._state, self._recording, self._before, self._save_every = state, recording, before, save_every
        self._run_dir, self._checkpoints = recording.run_dir, None
        if recording.run_dir is not None:
            self._checkpoints = Checkpoints(checkpoint(state), recording.run_dir.checkpoints / part)
        self._lines: list[dict[str, Any]] = []
        self._error: NonFiniteLossError | None = None

    def complete_steps(self) -> Iterable[int]:
        """The steps from which it can continue, the newest first."""
        run_dir, before = self._run_dir, self._before
        if run_dir is None or self._checkpoints is None:
            return []
        return self._checkpoints.whole(lambda step: run_dir.has(range(before, before + step, self._save_every)))

    def restore(self, steps: Iterable[int]) -> None:
        if self._checkpoints is not None:
            self._checkpoints.restore(steps)

    def goes_beyond(self, steps: int) -> bool:
        return self._run_dir is not None and self._run_dir.goes_beyond(self._before + steps)

    def rewind(self) -> None:
        if self._run_dir is not None:
            self._run_dir.rewind(self._before + int(self._state.step))

    def take(self, result: Snapshot | NonFiniteLossError) -> dict[str, Any] | None:
        """Records a step; returns its line, where it has one."""
        if isinstance(result, NonFiniteLossError):
            self._error = result
            return None
        if result.image is None:
            return None
        line = {"step": self._before + result.step, "loss": result.loss, "learning_rate": result.learning_rate}
        line |= {**result.terms, **self._recording.measure(result)}
        self._lines.append(line)
        if self._run_dir is not None:
            self._run_dir.append_metrics(line)
            self._run_dir.save_image(self._run_dir.image_path(self._before + result.step), result.image[0])
        self._recording.on_line(line, result.image)
        answer = self._recording.on_step(result)
        # Nothing else: a callback that draws may well return what it has drawn.
        is_truth = isinstance(answer, bool) or (getattr(answer, "shape", None) == () and "bool" in str(answer.dtype))
        if (is_truth and bool(answer)) or (isinstance(answer, str) and answer == "stop"):
            self.stopped = True
        return line

    def save(self) -> None:
        """Writes a checkpoint, unless the loss is not finite any more."""
        if self._run_dir is not None and self._checkpoints is not None and self._error is None:
            self._run_dir.flush()  # what a resumed run does not make again
            self._checkpoints.save(int(self._state.step))

    def outcome(self, seconds: float, steps: int, signal: int | None) -> Outcome:
        error = self._error or (None if signal is None else Interrupted(signal))
        if error is not None and self._run_dir is not None:
            step = self._before + int(self._state.step)
            stopped = f"at step {step}" if isinstance(error, Interrupted) else str(error)
            self._run_dir.write_info({**self._run_dir.read_info(), "stopped": stopped})
        return Outcome(tuple(self._lines), seconds, steps, error)
