"""The help, made from the settings and the experiments' docstrings: for the terminal and for the pages of the docs."""

from __future__ import annotations

import dataclasses
import inspect
import shutil
import textwrap
from collections.abc import Mapping
from typing import Any

from tfinvert.settings.fields import Settings, flag_text, spec

FIRST = ("The image", "The network", "The features to match")  # titles of groups
OF_FOLDERS = ("output_dir", "overwrite")  # are shown by experiments that hand the other flags on
EXAMPLES = """\
  tfinvert demo                                invert a sample photograph
  tfinvert --image=photo.jpg --layers=conv3_1  invert your image
  tfinvert layers --onnx=mine.onnx             list your network's layers
  tfinvert --flagfile=q2.1                     run a homework question
  tfinvert saliency --image=photo.jpg          see what a score depends on"""


def program_text(sentences: Mapping[str, str]) -> str:
    """One screen: what the program is, its experiments in a sentence each, examples.

    Args:
      sentences: experiment -> what it does.
    """
    width = max(map(len, sentences)) + 4
    short = {name: f"{sentence.partition(':')[0].rstrip('.')}." for name, sentence in sentences.items()}  # without details
    rows = [_wrapped(f"  {name:{width - 4}}  ", sentence, width) for name, sentence in short.items()]
    return "\n".join(
        [
            "tfinvert shows what a neural network keeps of an image.",
            "",
            "Usage: tfinvert [EXPERIMENT] [--flag=value ...]  (default: invert)",
            "       tfinvert EXPERIMENT --help                (its flags)",
            "",
            "Experiments:",
            *rows,
            "",
            "Examples:",
            EXAMPLES,
            "",
            "`tfinvert examples` lists the flagfiles that --flagfile takes by name.",
            "`source <(tfinvert completion bash)` completes flags. For zsh, write zsh.",
        ]
    )


def experiment_text(name: str, sentence: str, kind: type[Settings]) -> str:
    """The flags of an experiment in groups, with their defaults, wrapped to the terminal."""
    lines = [_wrapped(f"tfinvert {name}: ", sentence, 2), ""]
    if note := passed_on(kind):
        lines += [_wrapped("", note, 0), ""]
    for title, fields in groups(kind).items():
        lines.append(f"{title}:")
        for field in fields:
            default = default_text(field)
            lines.append(_wrapped(f"  --{field.name}  ", spec(field).doc + (f" (default: {default})" if default else ""), 6))
        lines.append("")
    return "\n".join(lines).rstrip()


def table(kind: type[Settings]) -> str:
    """The flags of an experiment as tables in Markdown, one for each group."""
    parts = [note, ""] if (note := passed_on(kind)) else []
    for title, fields in groups(kind).items():
        parts += [f"### {title}", "", "| flag | default | |", "|---|---|---|"]
        for field in fields:
            default = default_text(field)
            parts.append(f"| `--{field.name}` | {f'`{default}`' if default else ''} | {spec(field).doc} |")
        parts.append("")
    return "\n".join(parts).rstrip()


def passed_on(kind: type[Settings]) -> str:
    """A sentence for the flags that an experiment takes beside those in its help; empty where there are none."""
    if kind.passes_on is None:
        return ""
    other = kind.passes_on.experiment
    return f"It also takes every flag of `tfinvert {other} --help`, which then holds for all of its runs alike."


def groups(kind: type[Settings]) -> dict[str, list[dataclasses.Field]]:
    """Title of a group -> the fields that are shown in it.

    The image, the network and its layers come first, then an experiment's own, then those of the other groups it combines. A
    flag of one of the first groups stays there where an experiment has another default for it.
    """
    bases = [base for base in kind.__mro__ if issubclass(base, Settings)]
    titles = {base: (base.__doc__ or "").partition("\n")[0].rstrip(".") for base in bases}
    title_of: dict[str, str] = {}
    for base in reversed(bases):
        title_of |= {name: titles[base] for name in inspect.get_annotations(base) if title_of.get(name) not in FIRST}
    handed_on = {field.name for field in dataclasses.fields(kind.passes_on)} if kind.passes_on else set()
    found: dict[str, list[dataclasses.Field]] = {title: [] for title in dict.fromkeys((*FIRST, *titles.values()))}
    for field in dataclasses.fields(kind):
        if spec(field).doc and (field.name not in handed_on or field.name in OF_FOLDERS):
            found[title_of[field.name]].append(field)
    return {title: fields for title, fields in found.items() if fields}


def default_text(field: dataclasses.Field) -> str:
    """The default of a setting as its flag spells it; empty where there is none, or where its sentence says it."""
    if field.default is None or field.default is False or field.default == () or "Default: " in spec(field).doc:
        return ""
    return flag_text(field.default, size=spec(field).size)


def _wrapped(start: str, text: str, indent: int) -> str:
    width = min(max(shutil.get_terminal_size((100, 24)).columns, 40), 120)
    if len(start) > indent:  # the text begins on the flag's own line, and goes on further in
        return textwrap.fill(start + text, width, subsequent_indent=" " * indent)
    return textwrap.fill(text, width, initial_indent=start, subsequent_indent=" " * indent)


def docstring(module: Any, names: list[str], fields: Mapping[str, dataclasses.Field]) -> str:
    """The docstring of an experiment's function: that of its module, with a line for each argument."""
    described = {
        "network": "A name of the zoo, an .onnx or .keras file, a keras.Model, a torch module, or a loaded network.",
        "progress": "Whether a progress bar is shown.",
        "on_step": "A function of each Snapshot that carries an image; the run ends early where it returns True.",
    }
    lines = []
    run = inspect.signature(module.run)
    for name in names:
        text = described.get(name) or spec(fields[name]).doc
        if name == "image":
            text = "An image file, a sample photograph, a Pillow image, an array or a tensor; or several of them."
        if name == "init" and "initial" in run.parameters:
            text += " Here also a Pillow image, an array or a tensor; or one for each restart."
        default = flag_text(fields[name].default, size=spec(fields[name]).size) if name in fields else ""
        lines.append(f"  {name}: {text}" + (f" (default: {default})" if default else ""))
    sentence, _, rest = inspect.cleandoc(module.__doc__ or "").partition("\n")
    raises = "Raises:\n  InputError: a setting, an image or the network cannot be used."
    parts = [
        sentence,
        "Args:\n" + "\n".join(lines),
        f"Returns:\n  {str(run.return_annotation).removeprefix('list[').removesuffix(']')}.",
        raises,
        rest.strip(),
    ]
    return "\n\n".join(part for part in parts if part)
