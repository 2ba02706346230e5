"""`--preset=auto` with four times its steps: what more time buys."""

from tfinvert.experiments.benchmark import inversions
from tfinvert.experiments.benchmark.methods import Task

SOURCE = "docs/benchmark.md; the schedules of the rate and of the regularizers are stretched over the steps"
TIMES = 4


def run(task: Task) -> None:
    """Inverts with the default settings, but for the number of steps."""
    inversions.run_preset(task, TIMES)
