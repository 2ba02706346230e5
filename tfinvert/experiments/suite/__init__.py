"""Run the homework's questions into one folder, with their diffs and a page to look at."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from tfinvert.experiments.invert import Settings as InvertSettings
from tfinvert.experiments.suite import questions as homework
from tfinvert.settings import packaged
from tfinvert.settings.fields import define, setting
from tfinvert.settings.groups import WorkerSettings
from tfinvert.system.errors import InputError

if TYPE_CHECKING:
    from tfinvert.runs.executors import Connect
    from tfinvert.runs.tasks import TasksResult


@define
class Settings(WorkerSettings, InvertSettings):
    """The questions"""

    positional: ClassVar[tuple[str, ...]] = ("questions",)
    has_run_directory = False
    has_folder = True
    passes_on = InvertSettings
    questions: tuple[str, ...] = setting(
        default=("all",),
        doc="The questions to run: all, a group such as q2, names such as q2.1,q3.2, or flagfiles of your own.",
        placement=True,
    )
    changes: tuple[str, ...] = setting(default=(), doc="", placement=True)  # made by `complete` from what the user gave

    @classmethod
    def complete(cls, values: dict[str, Any]) -> dict[str, Any]:
        return {"changes": homework.as_flags(InvertSettings, values), **super().complete(values)}

    def check(self) -> None:
        super().check()
        if not self.questions:
            raise InputError("--questions is empty; expected all, q2, or names such as q2.1,q3.2")

    def name_parts(self) -> list[str]:
        return ["+".join(Path(name).stem if name.endswith(".flags") else name for name in self.questions)]

    def how_to_go_on(self) -> str:
        return "the same command goes on"

    def find_questions(self) -> list[homework.Question]:
        """The questions, with their settings."""
        return homework.find(self.questions, self.changes, self.run_folder(), overwrite=self.overwrite)


def run(settings: Settings, executor: Connect) -> TasksResult:
    """Runs what is not finished yet, and then writes report.html and report.json."""
    from tfinvert.reports import page
    from tfinvert.runs import tasks
    from tfinvert.system.files import write_text

    folder, baseline, selected = settings.run_folder(), homework.read_baseline(), settings.find_questions()
    todo = [tasks.Task({question.name: question.settings}) for question in selected]
    tasks.check(todo)
    for question in selected:
        homework.check(question)
    diffs = {question.name: homework.diff(baseline, question) for question in selected if question.name != packaged.BASELINE}

    def write_page(outcomes: dict[str, tasks.Outcome]) -> Path:
        errors = {name: outcome.error for name, outcome in outcomes.items()}
        entries = [
            page.Entry(folder / q.name, q.name, q.sentence, diffs.get(q.name, ""), errors.get(q.name), q.own.steps)
            for q in selected
        ]
        return page.write(folder, "The homework, question by question", entries)

    for name, text in diffs.items():
        write_text(folder / f"{name}.diff", text)
    return tasks.run_with_report(todo, executor, write_page)
