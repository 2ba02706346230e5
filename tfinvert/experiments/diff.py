"""Print the diffs of the homework, from flags/baseline.flags to each question's complete settings."""

from __future__ import annotations

import dataclasses

from tfinvert.experiments.suite import Settings as SuiteSettings
from tfinvert.experiments.suite import questions
from tfinvert.settings import packaged
from tfinvert.settings.fields import define


@define
class Settings(SuiteSettings):
    """The questions"""

    has_folder = False

    def how_to_go_on(self) -> str:
        return ""


@dataclasses.dataclass(frozen=True)
class DiffResult:
    """The diffs, by question; `patch` takes them as they are."""

    diffs: dict[str, str]

    def summary(self) -> str:
        """The diffs, one after the other."""
        return "".join(self.diffs.values()).rstrip("\n")


def run(settings: Settings) -> DiffResult:
    """Computes the diffs."""
    baseline = questions.read_baseline()
    selected = [question for question in settings.find_questions() if question.name != packaged.BASELINE]
    return DiffResult({question.name: questions.diff(baseline, question) for question in selected})
