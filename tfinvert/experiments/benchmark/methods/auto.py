"""What tfinvert does where nothing else is said: `--preset=auto`."""

from tfinvert.experiments.benchmark import inversions
from tfinvert.experiments.benchmark.methods import Task

SOURCE = "docs/benchmark.md"


def run(task: Task) -> None:
    """Inverts with the default settings."""
    inversions.run(task)
