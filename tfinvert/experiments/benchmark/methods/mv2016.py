"""The settings of Mahendran & Vedaldi's journal paper, with their update rule and jitter: `--preset=mv2016`."""

from tfinvert.experiments.benchmark import inversions
from tfinvert.experiments.benchmark.methods import Task

SOURCE = "Mahendran & Vedaldi 2016, arXiv 1512.02017"


def run(task: Task) -> None:
    """Inverts with the settings of the paper."""
    inversions.run(task, preset="mv2016")
