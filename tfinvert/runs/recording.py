"""An optimization that writes what happens into a run directory, ends on a signal with a checkpoint, and goes on from one."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from tqdm import tqdm

from tfinvert.errors import NonFiniteLossError
from tfinvert.optimization.step import Group, Optimization, Snapshot
from tfinvert.runs.checkpoints import Checkpoints
from tfinvert.runs.directory import RunDirectory
from tfinvert.system import signals as interruption
from tfinvert.system.signals import Interrupted

CHECKPOINT_SECONDS = 10.0
log = logging.getLogger("tfinvert")


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How an optimization ended.

    Attributes:
      lines: one dictionary for each `save_every` steps, as metrics.jsonl has them, those before a resumption not included.
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


def drive(
    optimization: Optimization,
    steps: int,
    save_every: int,
    run_dir: RunDirectory | None = None,
    *,
    extra: Callable[[Snapshot], dict[str, Any]] = lambda snapshot: {},
    log: Callable[[dict[str, Any], np.ndarray], None] = lambda line, image: None,
    **settings: Any,
) -> Outcome:
    """`drive_together` of one optimization; the first, `run_dir`, `extra` and `log` are as in `Driven`."""
    return drive_together([Driven(optimization, run_dir, extra, log)], steps, save_every, **settings)[0]


@dataclasses.dataclass(frozen=True)
class Driven:
    """One of the optimizations that are driven together.

    Attributes:
      optimization: freshly made; restored from a checkpoint with `resume`.
      run_dir: where to write, created and locked; None to write nothing.
      extra: what a line says beside step, loss, rate and terms.
      log: takes each line and its pictures, [batch, H, W, 3], too.
    """

    optimization: Optimization
    run_dir: RunDirectory | None = None
    extra: Callable[[Snapshot], dict[str, Any]] = lambda snapshot: {}
    log: Callable[[dict[str, Any], np.ndarray], None] = lambda line, image: None


def drive_together(
    driven: Sequence[Driven],
    steps: int,
    save_every: int,
    *,
    part: str = "",
    before: int = 0,
    resume: bool = False,
    finishing: Callable[[int], bool] = lambda step: False,
    label: str = "",
) -> list[Outcome]:
    """Runs optimizations to their end, or until a loss is not finite or a signal asks to end; then a checkpoint is there.

    Args:
      driven: they step together, as `optimize.Group`; where the loss of one is not finite, the others go on.
      steps: in all.
      save_every: steps between lines of metrics and pictures.
      part: of a run of several optimizations: where its checkpoints are.
      before: steps of the parts before this one, added to those that are written.
      resume: go on from the newest checkpoint of this part, if there is one; of several optimizations, from the newest step
        of which each has one.
      finishing: of `precision.arithmetic`: told the number of updates between two, it says whether losses are from here on
        not comparable with those before.
      label: of the progress bar.

    Returns:
      How each ended; `Outcome.raise_if_any` is the caller's to call, after it has written what it has to.

    Raises:
      InputError: a checkpoint cannot be read.
      OSError: the disk is full, or the folder cannot be written.
    """
    records = [_Record(one, part, before, save_every) for one in driven]
    group = Group([one.optimization for one in driven])
    if resume:
        _restore(records)
        if group.step == steps and all(one.goes_beyond(steps) for one in records):
            return [Outcome((), 0.0, 0)] * len(driven)  # a later part has begun: this one is finished
        for one in records:
            one.rewind()
    first = group.step
    finishing(first)
    with contextlib.ExitStack() as stack:
        for run_dir in (one.run_dir for one in driven if one.run_dir is not None):
            stack.enter_context(run_dir)
        stop = stack.enter_context(interruption.held_back())
        quiet = not sys.stderr.isatty()
        bar = stack.enter_context(
            tqdm(total=steps, initial=first, unit=" steps", desc=label, dynamic_ncols=True, disable=quiet)
        )
        started = saved = time.perf_counter()
        for found in group.run(steps, save_every):
            if finishing(group.step):
                for member in group.members:
                    member.forget_best()
            lines = [line for one, snapshot in zip(records, found, strict=True) if (line := one.take(snapshot))]
            if lines:
                bar.set_postfix(_means(lines), refresh=False)
            step = next((one.step for one in found if isinstance(one, Snapshot)), None)
            if step is None:
                break
            bar.update(min(step + 1, steps) - bar.n)
            if group.step > step + 1:
                continue  # the updates of this snapshot and of the next were made at once
            if stop:
                break
            if time.perf_counter() - saved > CHECKPOINT_SECONDS:
                for one in records:
                    one.save()
                saved = time.perf_counter()
        seconds = time.perf_counter() - started
        for one in records:
            one.save()
    return [one.outcome(seconds, group.step - first, stop.number) for one in records]


def _restore(records: Sequence[_Record]) -> None:
    """Brings each to its newest checkpoint, or several to the newest step of which all have one."""
    if len(records) == 1:
        records[0].restore(records[0].whole())
        return
    each = [list(one.whole()) for one in records]
    common = [step for step in each[0] if all(step in others for others in each)]
    if common:
        for one in records:
            one.restore(common)
    elif any(each):
        log.warning("the pictures have no checkpoints of the same step: starting all of them from the beginning")


def _means(lines: Sequence[dict[str, Any]]) -> dict[str, str]:
    """What is beside the progress bar."""
    shown = {"loss": f"{np.mean([line['loss'] for line in lines]):.3g}"}
    return shown | ({"psnr": f"{np.mean([line['psnr'] for line in lines]):.1f} dB"} if "psnr" in lines[0] else {})


class _Record:
    """What is kept of one optimization, and written into its run directory, if it has one."""

    def __init__(self, driven: Driven, part: str, before: int, save_every: int):
        self._driven, self._before, self._save_every = driven, before, save_every
        self._run_dir, self._checkpoints = driven.run_dir, None
        if driven.run_dir is not None:
            self._checkpoints = Checkpoints(driven.optimization.checkpoint, driven.run_dir.checkpoints / part)
        self._lines: list[dict[str, Any]] = []
        self._error: NonFiniteLossError | None = None

    def whole(self) -> Iterable[int]:
        """The steps that it can go on from, the newest first."""
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
            self._run_dir.rewind(self._before + self._driven.optimization.step)

    def take(self, found: Snapshot | NonFiniteLossError) -> dict[str, Any] | None:
        """Keeps what there is to say of a step; gives its line, where it has one."""
        if isinstance(found, NonFiniteLossError):
            self._error = found
            return None
        if found.image is None:
            return None
        line = {"step": self._before + found.step, "loss": found.loss, "learning_rate": found.learning_rate}
        line |= {**found.terms, **self._driven.extra(found)}
        self._lines.append(line)
        if self._run_dir is not None:
            self._run_dir.append_metrics(line)
            self._run_dir.save_picture(self._run_dir.picture_path(self._before + found.step), found.image[0])
        self._driven.log(line, found.image)
        return line

    def save(self) -> None:
        """Writes a checkpoint, unless the loss is not finite any more."""
        if self._run_dir is not None and self._checkpoints is not None and self._error is None:
            self._run_dir.flush()  # what a resumed run does not make again
            self._checkpoints.save(self._driven.optimization.step)

    def outcome(self, seconds: float, steps: int, signal: int | None) -> Outcome:
        error = self._error or (None if signal is None else Interrupted(signal))
        if error is not None and self._run_dir is not None:
            step = self._before + self._driven.optimization.step
            stopped = f"at step {step}" if isinstance(error, Interrupted) else str(error)
            self._run_dir.write_info({**self._run_dir.read_info(), "stopped": stopped})
        return Outcome(tuple(self._lines), seconds, steps, error)
