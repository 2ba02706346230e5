import pytest

from tests.test_cli import FLAGFILES
from tfinvert.experiments.suite import Settings, questions
from tfinvert.settings import packaged
from tfinvert.settings.fields import spec
from tfinvert.system.errors import InputError

ALL = ["baseline", "q1", "q1-cosine", "q2.1", "q2.2", "q2.3", "q2-mean", "q3.1", "q3.2", "q3.3", "q4", "q4-middle1"]


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        (["all"], ALL),
        (["q2"], ["q2.1", "q2.2", "q2.3", "q2-mean"]),
        (["q2.1", "q3.2"], ["q2.1", "q3.2"]),
        (["q3.2", "q2.1"], ["q3.2", "q2.1"]),
        (["q4"], ["q4"]),
        (["q4-middle1"], ["q4-middle1"]),
        (["baseline"], ["baseline"]),
    ],
)
def test_names_and_groups(wanted, names):
    assert list(questions.flagfiles_of(wanted)) == names


def test_every_flagfile_of_an_inversion_but_the_quickstart_and_the_presets_is_a_question():
    inversions = [path.stem for path in FLAGFILES if "--experiment=" not in path.read_text()]
    assert sorted([*ALL, "quickstart", "auto", "mv2015", "mv2016"]) == sorted(inversions)


def test_a_flagfile_of_one_s_own_is_a_question(tmp_path):
    mine = tmp_path / "mine.flags"
    mine.write_text("# What do I want to know?\n--layers=pool1\n")
    assert questions.flagfiles_of([str(mine)]) == {"mine": mine}
    assert questions.sentence(mine) == "What do I want to know?"


def test_an_unknown_question_is_answered_with_the_known_ones():
    with pytest.raises(InputError, match=r"unknown question 'q2\.4'; expected one of: q2\."):
        questions.flagfiles_of(["q2.4"])


def suite(**values):
    return Settings(**Settings.complete(values))


def changed_lines(question):
    lines = questions.diff(questions.read_baseline(), question).splitlines()
    return [line for line in lines[2:] if line[0] in "+-"]


def test_other_flags_change_all_questions_alike_and_no_diff(tmp_path):
    settings = suite(questions="q2", steps=7, layers=("conv1_1", "pool1"), output_dir=str(tmp_path))
    selected = settings.find_questions()
    assert [question.settings.steps for question in selected] == [7] * 4
    assert [question.settings.layers for question in selected] == [("conv1_1", "pool1")] * 4
    assert [question.settings.output_dir for question in selected] == [str(tmp_path / question.name) for question in selected]
    assert [question.own.steps for question in selected] == [2000] * 4
    assert "steps" not in "".join(line for question in selected for line in changed_lines(question))


def test_a_diff_holds_what_the_question_changes():
    (question,) = suite(questions="q2.1").find_questions()
    lines = questions.diff(questions.read_baseline(), question).splitlines()
    assert lines[:2] == ["--- flags/baseline.flags", "+++ flags/q2.1.flags"]
    assert changed_lines(question) == [
        "---tv_weight=0",
        "+--tv_weight=1.0",
        "---output_dir=out/baseline",
        "+--output_dir=out/q2.1",
    ]


def test_a_setting_that_the_baseline_does_not_name_is_added(tmp_path):
    mine = tmp_path / "mine.flags"
    mine.write_text(f"# Mine\n--flagfile={packaged.folder() / 'baseline.flags'}\n--momentum=0.5\n")
    (question,) = suite(questions=mine).find_questions()
    assert "+--momentum=0.5" in changed_lines(question)


@pytest.mark.parametrize(
    ("line", "message"), [("--experiment=saliency", "is no inversion"), ("--image=astronaut,chelsea", "with one --image")]
)
def test_a_question_is_one_inversion(line, message, tmp_path):
    mine = tmp_path / "mine.flags"
    mine.write_text(f"# Several images\n{line}\n")
    with pytest.raises(InputError, match=message):
        suite(questions=str(mine)).find_questions()


def test_what_changes_the_questions_is_no_flag():
    assert not spec(Settings.__dataclass_fields__["changes"]).doc
