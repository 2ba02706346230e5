"""The questions of the homework: flagfiles with a name, a sentence, a configuration, and their diff from the baseline."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterable
from pathlib import Path

from tfinvert.errors import InputError, choice_error
from tfinvert.settings.config import Config, flag_text

BASELINE = "baseline"
# What a flagfile of the folder is not a question of.
NO_QUESTIONS = ("quickstart", "auto", "mv2015", "mv2016")


@dataclasses.dataclass(frozen=True)
class Question:
    """A question.

    Attributes:
      name: the flagfile's, such as q2.1.
      sentence: the first comment of the flagfile.
      own: its complete configuration.
      config: the same with what the command line changes (steps, weights, where it goes).
    """

    name: str
    sentence: str
    own: Config
    config: Config


@dataclasses.dataclass(frozen=True)
class Baseline:
    """The homework's flagfile as text, and what it means."""

    text: str
    config: Config


def flags_folder() -> Path:
    """The folder of the flagfiles: flags/ here, else the checkout's."""
    for folder in (Path("flags"), Path(__file__).resolve().parents[2] / "flags"):
        if (folder / f"{BASELINE}.flags").is_file():
            return folder
    raise InputError("there is no folder flags/ with baseline.flags; run from a checkout of tfinvert")


def flagfiles(wanted: Iterable[str]) -> dict[str, Path]:
    """Name -> flagfile, for names (q2.1), groups (q2), paths of flagfiles, or `all`, in the order of the homework."""
    folder = flags_folder()
    known = {path.stem: path for path in sorted(folder.glob("*.flags"), key=_order) if _is_question(path)}
    found: dict[str, Path] = {}
    for name in wanted:
        if name == "all":
            found.update(known)
        elif name in known:
            found[name] = known[name]
        elif group := {k: v for k, v in known.items() if k.startswith((f"{name}.", f"{name}-"))}:
            found.update(group)
        elif name.endswith(".flags") and Path(name).is_file():
            found[Path(name).stem] = Path(name)
        else:
            raise choice_error("question", name, ["all", *known])
    return found


def _is_question(path: Path) -> bool:
    """Whether a flagfile asks for an inversion, as the homework does: one of another experiment says so in a line."""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    others = [line for line in lines if line.startswith("--experiment=") and line != "--experiment=invert"]
    return path.stem not in NO_QUESTIONS and not others


def _order(path: Path) -> tuple[bool, str]:
    return path.stem != BASELINE, path.stem.replace("-", "~")  # q2.1 before q2-mean


def sentence(path: Path) -> str:
    """The first comment of a flagfile."""
    first = path.read_text(encoding="utf-8", errors="replace").partition("\n")[0]
    return first.lstrip("# ") if first.startswith("#") else path.stem


def diff(baseline: Baseline, question: Question) -> str:
    """The unified diff from the baseline's flagfile to the complete configuration of a question.

    `patch` applied to the baseline gives a flagfile that means exactly the question's configuration. Lines whose
    setting is the same keep their spelling.

    Args:
      baseline: the flagfile, which includes no other.
      question: the question.
    """
    changed = {
        field.name: getattr(question.own, field.name)
        for field in dataclasses.fields(Config)
        if getattr(question.own, field.name) != getattr(baseline.config, field.name)
    }
    lines = []
    for line in baseline.text.splitlines():
        name = line.removeprefix("--").partition("=")[0]
        if line.startswith("--") and name in changed:
            lines.append(f"--{name}={flag_text(name, changed.pop(name))}")
        else:
            lines.append(line)
    lines += [f"--{name}={flag_text(name, value)}" for name, value in changed.items()]
    return "\n".join(
        [
            *difflib.unified_diff(
                baseline.text.splitlines(),
                lines,
                fromfile="flags/baseline.flags",
                tofile=f"flags/{question.name}.flags",
                lineterm="",
            ),
            "",
        ]
    )
