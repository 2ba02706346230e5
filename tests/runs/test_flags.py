import pytest

from tests.settings.test_legacy import INVERT, flags
from tfinvert.runs.flags import differing_flags, parse_flags, same_flags
from tfinvert.settings.legacy import modernized

FLAGS = "--steps=10\n--schedule=cosine\n"
NEW = "# tfinvert 0.2\n"


def test_flags_are_read_without_comments_and_empty_lists():
    assert parse_flags("# a comment\n--layers=a,b\n--image=x=y\n--channels=\n--tensorboard=false\n") == {
        "layers": "a,b",
        "image": "x=y",
        "tensorboard": "false",
    }


def test_more_steps_of_a_constant_schedule_are_the_same_run():
    before = "--steps=10\n--schedule=constant\n"
    assert differing_flags(before, before.replace("10", "20")) == []
    assert differing_flags(before, before.replace("10", "5")) == ["--steps=5, was 10"]
    assert differing_flags(FLAGS, FLAGS.replace("10", "20")) == ["--steps=20, was 10"]
    other = before.replace("constant", "cosine")
    assert differing_flags(other, before.replace("10", "20")) == ["--schedule=constant, was cosine", "--steps=20, was 10"]
    falling = before + "--regularizer_final=0.5\n"
    assert differing_flags(falling, falling.replace("10", "20")) == ["--steps=20, was 10"]
    assert not same_flags(before, before.replace("10", "20"))


def test_flags_that_only_look_like_numbers_are_compared_as_text():
    assert differing_flags("--steps=\u00b2\n--schedule=constant\n", "--steps=5\n--schedule=constant\n")
    assert differing_flags(f"--steps={'9' * 5000}\n--schedule=constant\n", "--steps=5\n--schedule=constant\n")


def test_a_run_of_version_0_1_is_the_same_run_where_nothing_was_given():
    old = flags(INVERT)
    new = NEW + modernized(old)
    assert same_flags(old, new)
    assert differing_flags(old, new) == []
    assert differing_flags(old, new + "--alpha_weight=0.0\n") == ["--alpha_weight=0.0, was (default)"]
    assert differing_flags(old.replace("--steps=0", "--steps=7"), new) == ["--steps=(default), was 7"]


def test_of_a_newer_version_a_zero_is_the_user_s():
    assert differing_flags(f"{NEW}--alpha_weight=0.0\n", NEW) == ["--alpha_weight=(default), was 0.0"]


@pytest.mark.parametrize("header", ["", NEW])
def test_an_empty_list_is_the_same_as_none(header):
    assert same_flags(f"{header}--pictures=\n--seed=1\n", f"{NEW}--seed=1\n")


def test_long_values_are_cut():
    (text,) = differing_flags(f"--{'n' * 1000}={'v' * 1000}\n", "")
    assert len(text) < 350
