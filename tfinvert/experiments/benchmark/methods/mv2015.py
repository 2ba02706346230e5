"""The settings of Mahendran & Vedaldi's first paper, with momentum and total variation: `--preset=mv2015`."""

from tfinvert.experiments.benchmark import inversions
from tfinvert.experiments.benchmark.methods import Task

SOURCE = "Mahendran & Vedaldi 2015, arXiv 1412.0035"


def run(task: Task) -> None:
    """Inverts with the settings of the paper."""
    inversions.run(task, preset="mv2015")
