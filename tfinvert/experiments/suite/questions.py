"""The questions of the homework: flagfiles with a name, a sentence, their settings, and their diff from the baseline."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tfinvert import experiments, images
from tfinvert.experiments.invert import Settings as InvertSettings
from tfinvert.settings import flagfiles, flags, packaged
from tfinvert.settings.fields import Settings, flag_text, spec
from tfinvert.system.errors import InputError, choice_error

NO_QUESTIONS = ("quickstart", "auto", "mv2015", "mv2016")  # flagfiles of inversions that no question of the homework asks for


@dataclasses.dataclass(frozen=True)
class Question:
    """A question.

    Attributes:
      name: the flagfile's name, such as q2.1.
      sentence: the first comment of the flagfile.
      own: its complete settings.
      settings: the same with what the command line changes (steps, weights, where it goes).
    """

    name: str
    sentence: str
    own: InvertSettings
    settings: InvertSettings


@dataclasses.dataclass(frozen=True)
class Baseline:
    """The homework's flagfile as text, and its settings."""

    text: str
    settings: InvertSettings


def read_baseline() -> Baseline:
    """The homework's own flagfile."""
    path = packaged.folder() / f"{packaged.BASELINE}.flags"
    return Baseline(flagfiles.decoded(path.read_bytes()), _settings(path, ()))


def find(names: Iterable[str], changes: Sequence[str], folder: Path, *, overwrite: bool) -> list[Question]:
    """The questions that are named.

    Args:
      names: see `flagfiles_of`.
      changes: flags that change all questions alike, but no diff.
      folder: each question's run directory is made in it.
      overwrite: whether a run that is there is replaced.
    """
    questions = []
    for name, path in flagfiles_of(names).items():
        changed = _settings(path, changes)
        if len(changed.image) > 1:
            raise InputError(f"{path} names several images; the suite and its diffs take flagfiles with one --image")
        changed = dataclasses.replace(changed, output_dir=str(folder / name), overwrite=overwrite)
        questions.append(Question(name, sentence(path), _settings(path, ()), changed))
    return questions


def as_flags(kind: type[Settings], values: Mapping[str, Any]) -> tuple[str, ...]:
    """The values that belong to settings of this kind, as flags; those that say where a run goes are left out."""
    fields = {field.name: field for field in dataclasses.fields(kind) if not spec(field).placement}
    return tuple(
        f"--{name}={flag_text(value, size=spec(fields[name]).size)}" for name, value in values.items() if name in fields
    )


def _settings(path: Path, changes: Sequence[str]) -> InvertSettings:
    """The settings of a flagfile, changed by flags; raises InputError where it is no inversion."""
    arguments = flagfiles.expand([f"--flagfile={path}", *changes])
    name = flags.experiment_of(arguments, "invert")
    if name != "invert":
        raise InputError(f"{path} is no inversion; the suite and its diffs take flagfiles of --experiment=invert")
    kind = experiments.find(name).settings
    settings = kind(**kind.complete(flags.values(kind, arguments)))
    assert isinstance(settings, InvertSettings)
    return settings


def flagfiles_of(names: Iterable[str]) -> dict[str, Path]:
    """Name -> flagfile, for names (q2.1), groups (q2), paths of flagfiles, or `all`, in the order of the homework."""
    folder = packaged.folder()
    known = {name: path for name in packaged.names() if _is_question(path := folder / f"{name}.flags")}
    chosen: dict[str, Path] = {}
    for name in names:
        if name == "all":
            chosen.update(known)
        elif name in known:
            chosen[name] = known[name]
        elif group := {k: v for k, v in known.items() if k.startswith((f"{name}.", f"{name}-"))}:
            chosen.update(group)
        elif name.endswith(".flags") and Path(name).is_file():
            chosen[Path(name).stem] = Path(name)
        else:
            raise choice_error("question", name, ["all", *known])
    return chosen


def _is_question(path: Path) -> bool:
    """Whether a flagfile describes an inversion, as the homework does. A flagfile of another experiment says so in a line."""
    lines = flagfiles.decoded(path.read_bytes()).splitlines()
    others = [line for line in lines if line.startswith("--experiment=") and line != "--experiment=invert"]
    return path.stem not in NO_QUESTIONS and not others


def sentence(path: Path) -> str:
    """The first comment of a flagfile."""
    first = flagfiles.decoded(path.read_bytes()).partition("\n")[0]
    return first.lstrip("# ") if first.startswith("#") else path.stem


def diff(baseline: Baseline, question: Question) -> str:
    """The unified diff from the baseline's flagfile to the complete settings of a question.

    `patch` applied to the baseline gives a flagfile that means exactly the question's settings. Lines whose setting is the same
    keep their spelling.

    Args:
      baseline: the flagfile, which includes no other.
      question: the question.
    """
    changed = {
        field.name: flag_text(getattr(question.own, field.name), size=spec(field).size)
        for field in dataclasses.fields(InvertSettings)
        if getattr(question.own, field.name) != getattr(baseline.settings, field.name)
    }
    lines = []
    for line in baseline.text.splitlines():
        name = line.removeprefix("--").partition("=")[0]
        if line.startswith("--") and name in changed:
            lines.append(f"--{name}={changed.pop(name)}")
        else:
            lines.append(line)
    lines += [f"--{name}={text}" for name, text in changed.items()]
    own = f"flags/{question.name}.flags"
    before = baseline.text.splitlines()
    return "\n".join([*difflib.unified_diff(before, lines, "flags/baseline.flags", own, lineterm=""), ""])


def check(question: Question) -> None:
    """Raises InputError for images and layers that a question cannot use, so that no question is run before that is known."""
    from tfinvert.networks.load import from_settings  # imports onnx, which diffs do without

    settings = question.settings
    try:
        for path in (*images.expand(settings.image).values(), *settings.image_files()):
            images.check(path)
        from_settings(settings).check(settings.layers)
    except InputError as error:
        raise InputError(f"{question.name}: {error}") from None
