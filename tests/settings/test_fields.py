"""A setting takes values as users write them, and refuses what does not fit by its name."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from tfinvert.settings.fields import Settings, changed, define, flag_text, parse_size, parse_text, setting
from tfinvert.system.errors import InputError


@define
class Example(Settings):
    """An example"""

    count: int = setting(default=3, doc="A number.", at_least=1)
    rate: float | None = setting(default=None, doc="A rate.", above=0)
    fraction: float = setting(default=0.5, doc="A fraction.", at_least=0, below=1)
    kind: str = setting(default="a", doc="A choice.", choices=("a", "b"))
    names: tuple[str, ...] = setting(default=(), doc="Names.")
    weights: tuple[float, ...] = setting(default=(), doc="Weights.", at_least=0)
    size: tuple[int, int] | None = setting(default=None, doc="A size.", size=True)
    flag: bool = setting(default=False, doc="A flag.")


FIELDS = {field.name: field for field in dataclasses.fields(Example)}


@pytest.mark.parametrize(
    ("name", "value", "stored"),
    [
        ("count", np.int64(7), 7),
        ("count", np.array(7), 7),
        ("rate", 1, 1.0),
        ("rate", np.float32(0.5), 0.5),
        ("rate", None, None),
        ("names", "fire9", ("fire9",)),
        ("names", ["a", "b"], ("a", "b")),
        ("names", 281, ("281",)),
        ("names", np.int64(281), ("281",)),
        ("names", [281, "tabby"], ("281", "tabby")),
        ("names", Path("x/y.png"), ("x/y.png",)),
        ("weights", 2, (2.0,)),
        ("weights", np.array([1, 2]), (1.0, 2.0)),
        ("size", 224, (224, 224)),
        ("size", [64, 96], (64, 96)),
        ("size", np.int32(64), (64, 64)),
        ("size", np.array([64, 96]), (64, 96)),
        ("size", "64x96", (64, 96)),
    ],
)
def test_values_are_taken_as_users_write_them(name, value, stored):
    value = getattr(Example(**{name: value}), name)
    assert value == stored
    assert type(value) is type(stored)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("count", 0, "--count is 0; expected a finite number at least 1"),
        ("count", 1.5, "--count is 1.5; expected a whole number"),
        ("count", "7", "--count is '7'; expected a whole number"),
        ("count", True, "--count is True; expected a whole number"),
        ("count", None, "--count is None; expected a whole number"),
        ("count", 2**31, "--count is 2147483648; expected at most 2147483647"),
        ("count", [3], r"--count is \[3\]; expected a whole number"),
        ("rate", 0, "--rate is 0.0; expected a finite number above 0"),
        ("rate", float("nan"), "--rate is nan; expected a finite number above 0"),
        ("rate", float("inf"), "--rate is inf"),
        ("rate", "fast", "--rate is 'fast'; expected a number"),
        ("fraction", 1, "--fraction is 1.0; expected a finite number at least 0 and below 1"),
        ("kind", "c", "unknown --kind 'c'; expected one of: a, b"),
        ("kind", 3.5, "--kind is 3.5; expected text"),
        ("names", {"a": 1}, "--names is .*; expected text, or several of them"),
        ("names", [None], "--names is None; expected text"),
        ("names", "a\tb", "--names holds the character"),
        ("names", "x" * 5000, "--names has 5000 characters"),
        ("weights", (1, -1), "--weights is -1.0; expected a finite number at least 0"),
        ("size", (4, 224), r"--size is \(4, 224\); expected 16 to 2048 pixels, one number or \(height, width\)"),
        ("size", 9999, "--size is 9999; expected 16 to 2048 pixels"),
        ("size", (100, 200, 300), "--size is .*; expected 16 to 2048 pixels"),
        ("size", 224.5, "--size is 224.5; expected 16 to 2048 pixels"),
        ("size", "big", "--size is 'big'; expected pixels as 224 or 224x320"),
        ("flag", 1, "--flag is 1; expected yes or no"),
    ],
)
def test_what_does_not_fit_is_named(name, value, message):
    with pytest.raises(InputError, match=message):
        Example(**{name: value})


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("count", "7", 7),
        ("rate", "1e-2", 0.01),
        ("rate", "", None),
        ("names", "a, b", ("a", "b")),
        ("names", '"a, b.png","c""d.png",e.png', ("a, b.png", 'c"d.png', "e.png")),
        ("names", "", ()),
        ("weights", "1,0.5", (1.0, 0.5)),
        ("size", "224x320", (224, 320)),
    ],
)
def test_a_flag_s_text_becomes_a_value(name, text, value):
    assert parse_text(Example, FIELDS[name], text) == value


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("count", "ten", "--count is 'ten'; expected a whole number"),
        ("count", "9" * 5000, "--count is .*; expected a whole number"),
        ("weights", "1,a", "--weights is '1,a'; expected a number"),
        ("size", "big", "--size is 'big'; expected pixels as 224 or 224x320"),
        ("names", '"a', "--names is '\"a'; expected a list with commas"),
    ],
)
def test_a_wrong_text_is_named(name, text, message):
    with pytest.raises(InputError, match=message):
        parse_text(Example, FIELDS[name], text)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (("a, b.png", 'c"d.png', "e.png"), '"a, b.png","c""d.png",e.png'),
        ((1.0, 0.5), "1.0,0.5"),
        ((), ""),
        (True, "true"),
        (None, ""),
    ],
)
def test_a_value_s_text_is_read_back(value, text):
    assert flag_text(value) == text


@pytest.mark.parametrize(("text", "size"), [("224", (224, 224)), ("100x200", (100, 200)), (" 32X64 ", (32, 64))])
def test_sizes(text, size):
    assert parse_size("size", text) == size
    assert flag_text(size, size=True) == f"{size[0]}x{size[1]}"


@pytest.mark.parametrize("text", ["", "axb", "224x", "-3", "1.5", "224x224x3"])
def test_bad_sizes(text):
    with pytest.raises(InputError, match="expected pixels"):
        parse_size("side", text)


def test_an_experiment_overrides_a_default_and_a_sentence():
    @define
    class Other(Example):
        """Another example"""

        count: int = changed(Example, "count", default=5, doc="Another number.")

    assert Other().count == 5
    with pytest.raises(InputError, match="--count is 0; expected a finite number at least 1"):
        Other(count=0)
