import pytest

from tests.test_cli import FLAGFILES
from tfinvert import cli
from tfinvert.errors import InputError
from tfinvert.settings import questions

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
    assert list(questions.flagfiles(wanted)) == names


def test_every_flagfile_of_an_inversion_but_the_quickstart_and_the_presets_is_a_question():
    inversions = [path.stem for path in FLAGFILES if "--experiment=" not in path.read_text()]
    assert sorted([*ALL, "quickstart", "auto", "mv2015", "mv2016"]) == sorted(inversions)


def test_a_flagfile_of_one_s_own_is_a_question(tmp_path):
    mine = tmp_path / "mine.flags"
    mine.write_text("# What do I want to know?\n--layers=pool1\n")
    assert questions.flagfiles([str(mine)]) == {"mine": mine}
    assert questions.sentence(mine) == "What do I want to know?"


def test_an_unknown_question_is_answered_with_the_known_ones():
    with pytest.raises(InputError, match=r"unknown question 'q2\.4'; expected one of: q2\."):
        questions.flagfiles(["q2.4"])


def test_flags_of_the_command_line_change_all_questions_alike_and_no_diff(tmp_path):
    arguments = [
        "tfinvert",
        "--experiment=suite",
        "--questions=q2",
        "--steps=7",
        f"--output_dir={tmp_path}",
        "--layers=conv1_1,pool1",
    ]
    asked = cli.asked_questions(arguments)
    assert [q.config.steps for q in asked] == [7] * 4
    assert [q.config.layers for q in asked] == [("conv1_1", "pool1")] * 4
    assert [q.config.output_dir for q in asked] == [str(tmp_path / q.name) for q in asked]
    assert [q.config.experiment for q in asked] == ["invert"] * 4
    assert [q.own.steps for q in asked] == [2000] * 4
    assert "steps" not in "".join(
        line for q in asked for line in questions.diff(cli._baseline(), q).splitlines() if line[0] in "+-"
    )


def test_a_diff_holds_what_the_question_changes():
    (question,) = cli.asked_questions(["tfinvert", "--questions=q2.1"])
    lines = questions.diff(cli._baseline(), question).splitlines()
    assert lines[:2] == ["--- flags/baseline.flags", "+++ flags/q2.1.flags"]
    assert [line for line in lines[2:] if line[0] in "+-"] == [
        "---tv_weight=0",
        "+--tv_weight=1.0",
        "---output_dir=out/baseline",
        "+--output_dir=out/q2.1",
    ]


def test_a_setting_that_the_baseline_does_not_name_is_added(tmp_path):
    mine = tmp_path / "mine.flags"
    mine.write_text(f"# Mine\n--flagfile={questions.flags_folder() / 'baseline.flags'}\n--momentum=0.5\n")
    (question,) = cli.asked_questions(["tfinvert", f"--questions={mine}"])
    assert "\n+--momentum=0.5\n" in questions.diff(cli._baseline(), question)


@pytest.mark.parametrize(
    ("line", "said"), [("--experiment=saliency", "is no inversion"), ("--pictures=astronaut,chelsea", "of one --image")]
)
def test_a_question_is_one_inversion(line, said, tmp_path):
    mine = tmp_path / "mine.flags"
    mine.write_text(f"# Several pictures\n{line}\n")
    with pytest.raises(InputError, match=said):
        cli.asked_questions(["tfinvert", f"--questions={mine}"])
