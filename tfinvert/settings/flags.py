"""From a command line to settings, with absl's flags: the only reader of flags in the program."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Sequence
from typing import Any

from absl import flags

from tfinvert.settings.fields import Settings, parse_text, shape, spec
from tfinvert.system.errors import InputError

SIMILAR = 0.8  # of a misspelt flag to the one that is meant; --tv_weight and --weights are less alike
SWITCH_VALUES = ("true", "t", "1", "false", "f", "0")  # of yes or no, as absl reads them
LONGEST_NAME = 60  # characters; absl takes very long to compare a longer flag with those that there are
# What a flag is called elsewhere.
USUAL_NAMES = {
    "lr": "learning_rate",
    "iterations": "steps",
    "iters": "steps",
    "network": "model",
    "net": "model",
    "output": "output_dir",
    "out": "output_dir",
    "layer": "layers",
    "input": "image",
}


def experiment_of(arguments: Sequence[str], default: str) -> str:
    """The last --experiment of arguments without flagfiles."""
    name = default
    pending = iter(arguments)
    for argument in pending:
        flag, equals, value = argument.partition("=")
        if flag in ("--experiment", "-experiment"):
            name = value if equals else next(pending, "")
    return name


def values(kind: type[Settings], arguments: Sequence[str]) -> dict[str, Any]:
    """The settings that arguments name, flagfiles expanded; raises InputError.

    Args:
      kind: the settings of the experiment.
      arguments: flags, without the program's name.
    """
    own = {field.name: field for field in dataclasses.fields(kind)}
    ignored = {field.name: (other, field) for other in kind.ignores for field in dataclasses.fields(other)}
    fields = {**{name: field for name, (_, field) in ignored.items()}, **own}
    names = {alias: field.name for field in fields.values() for alias in spec(field).aliases}
    defined = flags.FlagValues()
    defined.set_gnu_getopt(True)  # flags may follow other arguments
    flags.DEFINE_string("experiment", None, "what to do", flag_values=defined)
    for name, field in [*fields.items(), *((alias, fields[target]) for alias, target in names.items())]:
        owner = kind if field.name in own else ignored[field.name][0]
        if shape(owner, field.name)[0] is bool:
            flags.DEFINE_boolean(name, None, spec(field).doc, flag_values=defined)
        else:  # text for absl: `parse_text` says better than absl's parsers what is expected
            flags.DEFINE_string(name, None, spec(field).doc, flag_values=defined)
    try:
        rest = defined(["tfinvert", *_checked(kind, list(defined), arguments)])
    except flags.Error as error:
        raise InputError(" ".join(str(error).split())) from None
    unnamed = getattr(kind, "arguments", ())  # settings that may be given without their flag, in this order
    if len(rest) > 1 + len(unnamed):
        unexpected = rest[1 + len(unnamed)][:60]
        raise InputError(f"unexpected argument {unexpected!r}; every setting is a flag, such as --image=FILE")
    result: dict[str, Any] = {name: parse_text(kind, own[name], text) for name, text in zip(unnamed, rest[1:], strict=False)}
    for name in defined:
        if name == "experiment" or not defined[name].present:
            continue
        field, value = fields[names.get(name, name)], defined[name].value
        if name in names and not value:
            continue  # another name of a flag, in a flagfile that gives it no value
        if field.name not in own:
            continue
        result[field.name] = value if isinstance(value, bool) else parse_text(kind, field, value or "")
    return result


def _checked(kind: type[Settings], names: list[str], arguments: Sequence[str]) -> Sequence[str]:
    """The arguments, if all flags are known; raises InputError, which names what may have been meant."""
    switches = {field.name for field in dataclasses.fields(kind) if shape(kind, field.name)[0] is bool}
    pending = iter(arguments)
    for argument in pending:
        flag, equals, value = argument.partition("=")
        name = flag.lstrip("-")
        if argument.startswith("-") and name in names and not equals and name not in switches:
            next(pending, None)  # its value, which may begin with a dash
        if argument.startswith("-") and name in switches and equals and value.lower() not in SWITCH_VALUES:
            raise InputError(f"--{name} is {value[:LONGEST_NAME]!r}; expected true or false")
        if not argument.startswith("-") or name in names or name.removeprefix("no") in names:
            continue
        shown = sorted(field.name for field in dataclasses.fields(kind))
        usual = USUAL_NAMES.get(name, "")
        near = [usual] if usual in shown else difflib.get_close_matches(name[:LONGEST_NAME], shown, n=2, cutoff=SIMILAR)
        hint = f"; did you mean --{' or --'.join(near)}?" if near else f". Its flags: --{', --'.join(shown)}"
        raise InputError(f"--experiment={kind.experiment} does not take --{name[:LONGEST_NAME]}{hint}")
    return arguments
