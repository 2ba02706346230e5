"""The homework: pixels from noise, the mean squared error of the features, Adam at the best of a few rates."""

from tfinvert.experiments.benchmark import inversions
from tfinvert.experiments.benchmark.methods import Task

SOURCE = "https://github.com/megvii-research/tf-tutorials; a rate of 0.05 along a cosine, 450 steps"


def run(task: Task) -> None:
    """Inverts with the homework's settings, but for its rate, which was chosen on photographs for tuning."""
    inversions.run(
        task,
        optimizer="adam",
        learning_rate=0.05,
        schedule="cosine",
        feature_loss="mse",
        tv_weight=0.0,
        parameterization="free",
        init="noise",
        steps=450,
    )
