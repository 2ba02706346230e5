"""An optimisation that writes what happens into a run directory, ends on a signal with a checkpoint, and goes on from one."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from tqdm import tqdm

from tfinvert import interruption
from tfinvert.checkpoints import Checkpoints
from tfinvert.errors import NonFiniteLossError
from tfinvert.interruption import Interrupted
from tfinvert.optimize import Optimization, Snapshot
from tfinvert.rundir import RunDirectory

CHECKPOINT_SECONDS = 10.0


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How an optimisation ended.

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
        """Raises what ended the optimisation before its last step."""
        if self.error is not None:
            raise self.error


def drive(
    optimization: Optimization,
    steps: int,
    save_every: int,
    run_dir: RunDirectory | None = None,
    *,
    part: str = "",
    before: int = 0,
    resume: bool = False,
    extra: Callable[[Snapshot], dict[str, Any]] = lambda snapshot: {},
    log: Callable[[dict[str, Any], np.ndarray], None] = lambda line, image: None,
    finishing: Callable[[int], bool] = lambda step: False,
    label: str = "",
) -> Outcome:
    """Runs an optimisation to its end, or until its loss is not finite or a signal asks to end; then a checkpoint is there.

    Args:
      optimization: freshly made; restored from its newest checkpoint with `resume`.
      steps: in all.
      save_every: steps between lines of metrics and pictures.
      run_dir: where to write, created and locked; None to write nothing.
      part: of a run of several optimisations: where its checkpoints are.
      before: steps of the parts before this one, added to those that are written.
      resume: go on from the newest checkpoint of this part, if there is one.
      extra: what a line says beside step, loss, rate and terms.
      log: takes each line and its pictures, [batch, H, W, 3], too.
      finishing: of `precision.arithmetic`: told the number of updates between two, it says whether losses are from here on
        not comparable with those before.
      label: of the progress bar.

    Returns:
      How it ended; `Outcome.raise_if_any` is the caller's to call, after it has written what it has to.

    Raises:
      InputError: a checkpoint cannot be read.
      OSError: the disk is full, or the folder cannot be written.
    """
    checkpoints = None
    if run_dir is not None:
        checkpoints = Checkpoints(optimization.checkpoint, run_dir.checkpoints / part)
        if resume:
            checkpoints.restore(lambda step: run_dir.has(range(before, before + step, save_every)))
            if optimization.step == steps and run_dir.goes_beyond(before + steps):
                return Outcome((), 0.0, 0)  # a later part has begun: this one is finished
            run_dir.rewind(before + optimization.step)
    first = optimization.step
    finishing(first)
    lines: list[dict[str, Any]] = []
    error: NonFiniteLossError | Interrupted | None = None
    with contextlib.ExitStack() as stack:
        if run_dir is not None:
            stack.enter_context(run_dir)
        stop = stack.enter_context(interruption.held_back())
        quiet = not sys.stderr.isatty()
        bar = stack.enter_context(
            tqdm(total=steps, initial=first, unit=" steps", desc=label, dynamic_ncols=True, disable=quiet)
        )
        started = saved = time.perf_counter()

        def save() -> None:
            nonlocal saved
            if run_dir is not None and checkpoints is not None:
                run_dir.flush()  # what a resumed run does not make again
                checkpoints.save(optimization.step)
                saved = time.perf_counter()

        try:
            for snapshot in optimization.run(steps, save_every):
                if finishing(optimization.step):
                    optimization.forget_best()
                if snapshot.image is not None:
                    line = {"step": before + snapshot.step, "loss": snapshot.loss, "learning_rate": snapshot.learning_rate}
                    line |= {**snapshot.terms, **extra(snapshot)}
                    lines.append(line)
                    shown = {"loss": f"{snapshot.loss:.3g}"} | ({"psnr": f"{line['psnr']:.1f} dB"} if "psnr" in line else {})
                    bar.set_postfix(shown, refresh=False)
                    if run_dir is not None:
                        run_dir.append_metrics(line)
                        run_dir.save_picture(run_dir.picture_path(before + snapshot.step), snapshot.image[0])
                    log(line, snapshot.image)
                bar.update(min(snapshot.step + 1, steps) - bar.n)
                if optimization.step > snapshot.step + 1:
                    continue  # the updates of this snapshot and of the next were made at once
                if stop:
                    break
                if time.perf_counter() - saved > CHECKPOINT_SECONDS:
                    save()
        except NonFiniteLossError as found:
            error = found
        seconds = time.perf_counter() - started
        if error is None:
            save()
    if error is None and stop.number is not None:
        error = Interrupted(stop.number)
    if error is not None and run_dir is not None:
        stopped = f"at step {before + optimization.step}" if isinstance(error, Interrupted) else str(error)
        run_dir.write_info({**run_dir.read_info(), "stopped": stopped})
    return Outcome(tuple(lines), seconds, optimization.step - first, error)
