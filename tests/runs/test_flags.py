import pytest

from tests.settings.test_legacy import INVERT, flags
from tfinvert.runs.flags import describe_length, differing_flags, parse_flags, same_flags
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
    chosen = "--schedule=constant\n"  # and the preset chose 400 steps
    assert differing_flags(chosen, chosen + "--steps=600\n", 400) == []
    assert differing_flags(chosen, chosen, 400) == []
    assert differing_flags(chosen, chosen + "--steps=300\n", 400) == ["--steps=300, was 400"]
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


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ("--schedule=cosine", "its learning rate fell until its last step"),
        ("", "its learning rate fell until its last step"),  # which is what a preset chooses
        ("--schedule=exponential", "its learning rate fell until its last step"),
        ("--schedule=warmup_cosine\n--warmup_steps=5", "its learning rate fell until its last step"),
        ("--schedule=constant\n--regularizer_final=0.01", "its regularizers fell until its last step"),
        ("--schedule=constant\n--precision=bfloat16", "the last of its steps were made in float32"),
        ("--schedule=constant\n--optimizer=lbfgs", "L-BFGS begins anew at the end of a run"),
        ("--schedule=exponential\n--decay_steps=5", None),
        ("--schedule=piecewise\n--decay_boundaries=5\n--decay_factors=0.1", None),
        ("--schedule=constant\n--precision=float32\n--regularizer_final=1.0", None),
        ("--experiment=class_vis\n--recipe=fourier", None),
        ("--experiment=class_vis\n--recipe=course", "the course's recipe keeps no checkpoints"),
        ("--experiment=style\n--scales=1\n--optimizer=adam", None),
        ("--experiment=style\n--scales=2\n--optimizer=adam", "each of its sizes takes this number of steps"),
    ],
)
def test_a_run_is_made_longer_where_its_settings_allow_or_it_is_said_why_not(settings, reason):
    before, now = f"{NEW}{settings}\n--steps=400\n", f"{NEW}{settings}\n--steps=600\n"
    assert (differing_flags(before, now) == []) == (reason is None)
    if reason is not None:
        assert describe_length(before, now).startswith(f"a run of 400 steps, which cannot be resumed with 600: {reason}")
    assert differing_flags(now, before)  # never shorter
    assert (
        describe_length(now, before) == "a run of 600 steps, which cannot be resumed with 400: it was planned for more than 400"
    )


def test_the_number_of_steps_that_a_preset_chose_is_named():
    assert describe_length(f"{NEW}--seed=1\n", f"{NEW}--seed=1\n--steps=600\n", 400).startswith("a run of 400 steps")
    assert describe_length(f"{NEW}--seed=1\n", f"{NEW}--seed=2\n--steps=600\n", 400) == ""  # another seed as well
    assert describe_length("--experiment=train_decoder\n--epochs=3\n", "--experiment=train_decoder\n--epochs=5\n") == (
        "a run of 3 epochs, which cannot be resumed with 5: its learning rate was planned for this number of epochs"
    )
