"""The help, made from the settings and the experiments' docstrings: for the terminal and for the pages of the docs."""

from __future__ import annotations

import dataclasses
import inspect
import shutil
import textwrap
from collections.abc import Mapping

from tfinvert.settings.fields import Settings, flag_text, spec

EXAMPLES = """\
  tfinvert --image=photo.jpg --layers=conv3_1         invert an image
  tfinvert --model=resnet18 --layers=res2             from another network
  tfinvert layers --onnx=mine.onnx                    the layers of your network
  tfinvert --flagfile=flags/q2.1.flags                a question of the homework
  tfinvert saliency --image=photo.jpg                 what a score depends on"""


def program_text(sentences: Mapping[str, str]) -> str:
    """One screen: what the program is, its experiments in a sentence each, examples.

    Args:
      sentences: experiment -> what it does.
    """
    width = max(map(len, sentences)) + 4
    rows = [_wrapped(f"  {name:{width - 4}}  ", sentence, width) for name, sentence in sentences.items()]
    return "\n".join(
        [
            "tfinvert shows what a neural network keeps of an image.",
            "",
            "Usage: tfinvert [EXPERIMENT] [--flag=value ...]   (invert where none is named)",
            "       tfinvert EXPERIMENT --help                 its flags",
            "",
            "Experiments:",
            *rows,
            "",
            "Examples:",
            EXAMPLES,
            "",
            "A flagfile holds one flag a line: tfinvert --flagfile=FILE.",
        ]
    )


def experiment_text(name: str, sentence: str, kind: type[Settings]) -> str:
    """The flags of an experiment in groups, with their defaults, wrapped to the terminal."""
    lines = [_wrapped(f"tfinvert {name}: ", sentence, 2), ""]
    for title, fields in groups(kind).items():
        lines.append(f"{title}:")
        for field in fields:
            default = default_text(field)
            lines.append(_wrapped(f"  --{field.name}  ", spec(field).doc + (f" (default: {default})" if default else ""), 6))
        lines.append("")
    return "\n".join(lines).rstrip()


def table(kind: type[Settings]) -> str:
    """The flags of an experiment as tables in Markdown, one for each group."""
    parts = []
    for title, fields in groups(kind).items():
        parts += [f"### {title}", "", "| flag | default | |", "|---|---|---|"]
        for field in fields:
            default = default_text(field)
            parts.append(f"| `--{field.name}` | {f'`{default}`' if default else ''} | {spec(field).doc} |")
        parts.append("")
    return "\n".join(parts).rstrip()


def groups(kind: type[Settings]) -> dict[str, list[dataclasses.Field]]:
    """Title of a group -> the fields that are shown in it: an experiment's own first, then those of the groups it combines."""
    owners = {name: base for base in reversed(kind.__mro__) for name in inspect.get_annotations(base)}
    order = [base for base in kind.__mro__ if issubclass(base, Settings)]
    found: dict[str, list[dataclasses.Field]] = {}
    fields = [field for field in dataclasses.fields(kind) if spec(field).doc]
    for base in order:
        title = (base.__doc__ or "").partition("\n")[0].rstrip(".")
        own = [field for field in fields if owners[field.name] is base]
        if own:
            found.setdefault(title, []).extend(own)
    return found


def default_text(field: dataclasses.Field) -> str:
    """The default of a setting as its flag spells it; empty where nothing is chosen by default."""
    if field.default is None or field.default is False or field.default == ():
        return ""
    return flag_text(field.default, size=spec(field).size)


def _wrapped(start: str, text: str, indent: int) -> str:
    width = min(max(shutil.get_terminal_size((100, 24)).columns, 60), 120)
    if len(start) > indent:  # the text begins on the flag's own line, and goes on further in
        return textwrap.fill(start + text, width, subsequent_indent=" " * indent)
    return textwrap.fill(text, width, initial_indent=start, subsequent_indent=" " * indent)
