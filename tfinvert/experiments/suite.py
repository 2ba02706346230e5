"""Run the homework's questions into one folder, with their diffs and a report to look at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tfinvert.reports import page
from tfinvert.runs import many as series
from tfinvert.settings.config import Config
from tfinvert.settings.questions import BASELINE, Baseline, Question, diff
from tfinvert.system.files import write_text
from tfinvert.system.locks import locked


def run(config: Config, baseline: Baseline, questions: Sequence[Question]) -> int:
    """Runs what is not finished yet, then writes report.html and report.json; gives 1 if a question failed, else 0."""
    folder = config.run_folder()
    jobs = [{question.name: question.config} for question in questions]
    series.check(jobs)
    diffs = {question.name: diff(baseline, question) for question in questions if question.name != BASELINE}

    def write_report(outcomes: dict[str, series.Outcome]) -> Path:
        errors = {name: outcome.error for name, outcome in outcomes.items()}
        entries = [
            page.Entry(folder / q.name, q.name, q.sentence, diffs.get(q.name, ""), errors.get(q.name)) for q in questions
        ]
        return page.write(folder, "The homework, question by question", entries)

    with locked(folder):
        for name, text in diffs.items():
            write_text(folder / f"{name}.diff", text)
        return series.run_with_report(jobs, write_report)
