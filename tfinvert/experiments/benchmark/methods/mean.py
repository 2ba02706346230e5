"""ImageNet's mean color everywhere, which knows nothing of the features."""

from tfinvert.experiments.benchmark.methods import Task, even
from tfinvert.images.files import MEAN_COLOR

SOURCE = "the mean color of ImageNet's photographs"


def run(task: Task) -> None:
    """Shows the mean color."""
    even(task, MEAN_COLOR)
