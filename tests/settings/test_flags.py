"""From flags to settings."""

import pytest

from tfinvert.settings import flags
from tfinvert.settings.fields import Settings, define, setting
from tfinvert.system.errors import InputError


@define
class Blur(Settings):
    """A blur"""

    image: tuple[str, ...] = setting(default=("astronaut",), doc="Images.", aliases=("pictures",))
    steps: int = setting(default=7, doc="Steps.", at_least=1)
    learning_rate: float = setting(default=1.0, doc="Rate.", above=0)
    resume: bool = setting(default=False, doc="Go on.")


@pytest.mark.parametrize(
    ("arguments", "values"),
    [
        ([], {}),
        (["--steps=3", "--resume"], {"steps": 3, "resume": True}),
        (["--steps", "3", "--noresume"], {"steps": 3, "resume": False}),
        (["--resume=false", "--steps=3", "--steps=4"], {"resume": False, "steps": 4}),
        (["--experiment=blur", "--image=a.png,b.png"], {"image": ("a.png", "b.png")}),
        (["--pictures=a.png,b.png"], {"image": ("a.png", "b.png")}),
        (["--image=a.png", "--pictures="], {"image": ("a.png",)}),
    ],
)
def test_flags_become_values(arguments, values):
    assert flags.values(Blur, arguments) == values


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--steps=ten"], "--steps is 'ten'; expected a whole number"),
        (["--tv_weight=1"], "does not take --tv_weight. Its flags: --image, --learning_rate, --resume, --steps"),
        (["--stepz=1"], r"does not take --stepz; did you mean --steps\?"),
        (["--lr=1"], r"does not take --lr; did you mean --learning_rate\?"),
        (["--" + "x" * 5000 + "=1"], "does not take --xxx"),
        (["stray"], "unexpected argument 'stray'"),
        (["--resume=perhaps"], "--resume is 'perhaps'; expected true or false"),
    ],
)
def test_wrong_flags(arguments, message):
    with pytest.raises(InputError, match=message):
        flags.values(Blur, arguments)


def test_the_last_experiment_counts():
    assert flags.experiment_of(["--steps=3"], "invert") == "invert"
    assert flags.experiment_of(["--experiment=a", "--experiment", "b"], "invert") == "b"


def test_flags_of_settings_that_are_ignored_have_no_effect():
    @define
    class Sharpen(Settings):
        """A sharpening"""

        ignores = (Blur,)
        amount: float = setting(default=1.0, doc="Amount.")

    assert flags.values(Sharpen, ["--amount=2", "--steps=3", "--noresume", "--pictures=a.png"]) == {"amount": 2.0}
    with pytest.raises(InputError, match=r"does not take --nonsense. Its flags: --amount$"):
        flags.values(Sharpen, ["--nonsense=3"])


def test_a_value_may_begin_with_a_dash():
    assert flags.values(Blur, ["--image", "-a.png", "--steps", "3"]) == {"image": ("-a.png",), "steps": 3}
    assert flags.values(Blur, ["--learning_rate", "-1"]) == {"learning_rate": -1.0}  # which `Settings` refuses
