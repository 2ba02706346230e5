"""An even grey, which knows nothing of the features."""

from tfinvert.experiments.benchmark.methods import Task, even

SOURCE = "0.5 everywhere"


def run(task: Task) -> None:
    """Shows an even grey."""
    even(task, (0.5, 0.5, 0.5))
