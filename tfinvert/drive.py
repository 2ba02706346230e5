"""An optimisation that writes what happens into a run directory, ends on a signal with a checkpoint, and goes on from one."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
import time
from collections.abc import Callable
from typing import Any

import tensorflow as tf
from tqdm import tqdm

from tfinvert import interruption
from tfinvert.errors import InputError
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
    """

    lines: tuple[dict[str, Any], ...]
    seconds: float
    steps: int


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
    label: str = "",
) -> Outcome:
    """Runs an optimisation to its end.

    Args:
      optimization: freshly made; restored from its newest checkpoint with `resume`.
      steps: in all.
      save_every: steps between lines of metrics and pictures.
      run_dir: where to write, created and locked; None to write nothing.
      part: of a run of several optimisations: where its checkpoints are.
      before: steps of the parts before this one, added to those that are written.
      resume: go on from the newest checkpoint of this part, if there is one.
      extra: what a line says beside step, loss, rate and terms.
      label: of the progress bar.

    Raises:
      InputError: a checkpoint cannot be read.
      NonFiniteLossError: the loss became NaN or infinite.
      Interrupted: a signal asked to end; a checkpoint is there.
    """
    manager = None
    if run_dir is not None:
        manager = tf.train.CheckpointManager(optimization.checkpoint, str(run_dir.checkpoints / part), max_to_keep=2)
        if resume:
            restore(optimization, manager)
            run_dir.rewind(before + optimization.step)
    first = optimization.step
    lines: list[dict[str, Any]] = []
    with contextlib.ExitStack() as stack:
        if run_dir is not None:
            stack.enter_context(run_dir)
        stop = stack.enter_context(interruption.held_back())
        quiet = not sys.stderr.isatty()
        bar = stack.enter_context(
            tqdm(total=steps, initial=first, unit=" steps", desc=label, dynamic_ncols=True, disable=quiet)
        )
        started = saved = time.perf_counter()
        for snapshot in optimization.run(steps, save_every):
            if snapshot.image is not None:
                line = {"step": before + snapshot.step, "loss": snapshot.loss, "learning_rate": snapshot.learning_rate}
                lines.append({**line, **snapshot.terms, **extra(snapshot)})
                bar.set_postfix(loss=f"{snapshot.loss:.3g}", refresh=False)
                if run_dir is not None:
                    run_dir.append_metrics(lines[-1])
                    run_dir.save_picture(run_dir.picture_path(before + snapshot.step), snapshot.image[0])
            bar.update(min(snapshot.step + 1, steps) - bar.n)
            if optimization.step > snapshot.step + 1:
                continue  # the updates of this snapshot and of the next were made at once
            if stop:
                break
            if manager is not None and time.perf_counter() - saved > CHECKPOINT_SECONDS:
                manager.save(optimization.step)
                saved = time.perf_counter()
        seconds = time.perf_counter() - started
        if manager is not None:
            manager.save(optimization.step)
    if stop and run_dir is not None:
        run_dir.write_info({**run_dir.read_info(), "stopped": f"at step {before + optimization.step}"})
    stop.raise_if_any()
    return Outcome(tuple(lines), seconds, optimization.step - first)


def restore(optimization: Optimization, manager: tf.train.CheckpointManager) -> None:
    """Brings an optimisation to its newest checkpoint, if there is one; raises InputError where that cannot be read."""
    if manager.latest_checkpoint is None:
        return
    try:
        optimization.checkpoint.restore(manager.latest_checkpoint).assert_consumed()
    except (tf.errors.OpError, AssertionError, ValueError, IndexError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"the checkpoint {manager.latest_checkpoint} cannot be read ({reason}); start with --overwrite"
        ) from None
