"""`--preset=auto` with a quarter of its steps: what less time costs."""

from tfinvert.experiments.benchmark import inversions
from tfinvert.experiments.benchmark.methods import Task

SOURCE = "docs/benchmark.md; the schedules of the rate and of the regularizers are shortened to the steps"
TIMES = 1 / 4


def run(task: Task) -> None:
    """Inverts with the default settings, but for the number of steps."""
    inversions.run_preset(task, TIMES)
