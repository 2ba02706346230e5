"""Methods that are settings of an inversion, or problems of tfinvert's own solver."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tfinvert.experiments.benchmark.methods import Task
from tfinvert.settings.inversion import InversionSettings


def run(task: Task, **settings: Any) -> None:
    """Inverts with settings of `--experiment=invert`; what they leave open, the preset chooses for the layer.

    Its image is the one with the lowest loss so far, as for a run.
    """
    from tfinvert.optimization import inversion

    resolved, initial = _resolved(task, settings)
    solve(task, inversion.build_solver(resolved, task.network, task.features, initial), resolved.steps)


def run_preset(task: Task, times: float) -> None:
    """Inverts with `--preset=auto`, and as many times its number of steps."""
    from tfinvert.optimization import presets

    usual = presets.usual_steps("auto", {task.layer: task.network.layer(task.layer)})
    run(task, steps=round(times * usual))


def run_problem(task: Task, build: Callable[[Any, Mapping[str, Any]], Any], **settings: Any) -> None:
    """Inverts by a problem of one's own.

    Args:
      task: the task.
      build: (the settings with a value for everything, target features by layer) -> `optimization.state.Problem`.
      **settings: as for `run`; they name the steps, the start and what `build` reads.
    """
    from tfinvert.objectives import terms
    from tfinvert.optimization import state
    from tfinvert.optimization.solver import Solver

    resolved, initial = _resolved(task, settings)
    key = build.__module__, task.layer, len(task.features)
    kept_key, solver = task.network.kept.get("benchmark", (None, None))
    if kept_key == key:  # nothing is traced again for other images
        for problem, reached, targets in zip(solver.problems, solver.states, task.features, strict=True):
            terms.retarget(problem.terms, targets)
            state.reset(problem, reached, initial)
    else:
        problems = [build(resolved, targets) for targets in task.features]
        solver = Solver(problems, [state.init(problem, initial) for problem in problems])
        task.network.kept["benchmark"] = key, solver
    solve(task, solver, resolved.steps)


def solve(task: Task, solver: Any, steps: int) -> None:
    """Runs a solver; where its loss becomes infinite, it shows the best image so far and raises NonFiniteLossError."""
    from tfinvert.optimization import precision, state
    from tfinvert.system.errors import NonFiniteLossError

    def images() -> np.ndarray:
        pairs = zip(solver.problems, solver.states, strict=True)
        return np.concatenate([state.best_image(problem, reached) for problem, reached in pairs])

    solver.evaluate()  # traced here, and not at the end of the time that is measured
    with precision.arithmetic("float32", 0):
        for number, reached in enumerate(solver.run(steps, steps + 1)):
            error = next((one for one in reached if isinstance(one, NonFiniteLossError)), None)
            if error is not None:
                task.clock.take(images)
                raise error
            if number < steps:
                task.clock.step(images)
        task.clock.take(images)


def _resolved(task: Task, settings: Mapping[str, Any]) -> tuple[Any, np.ndarray]:
    """The settings with a value for everything, and the first image."""
    from tfinvert.optimization import inversion, presets

    values = InversionSettings.complete({"layers": (task.layer,), "seed": task.seed, **settings})
    layers = {task.layer: task.network.layer(task.layer)}
    resolved = presets.resolve(InversionSettings(**values), layers, task.network.size)
    return resolved, inversion.initial_images(resolved, task.network.size, "crop")
