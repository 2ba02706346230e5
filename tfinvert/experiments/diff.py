"""Print the diffs of the homework: from flags/baseline.flags to each question's complete configuration."""

from collections.abc import Sequence

from tfinvert.settings.questions import BASELINE, Baseline, Question, diff


def run(baseline: Baseline, questions: Sequence[Question]) -> None:
    """Prints the diffs, one after the other; `patch` takes them as they are."""
    for question in questions:
        if question.name != BASELINE:
            print(diff(baseline, question), end="")
