"""A deep image prior: the weights of a small convolutional generator instead of pixels, with Adam."""

from tfinvert.experiments.benchmark import inversions
from tfinvert.experiments.benchmark.methods import Task

SOURCE = (
    "Ulyanov, Vedaldi & Lempitsky 2018, arXiv 1711.10925, section on inverting features; tfinvert's own smaller generator, and "
    "a rate of 0.02 that was chosen on photographs for tuning"
)
WEIGHTS_CHANGE = True
STEPS = 3000


def run(task: Task) -> None:
    """Optimizes the generator's weights; no regularizer but the generator itself."""
    inversions.run(
        task,
        parameterization="deep_prior",
        learning_rate=0.02,
        schedule="constant",
        tv_weight=0.0,
        alpha_weight=0.0,
        steps=STEPS,
    )
