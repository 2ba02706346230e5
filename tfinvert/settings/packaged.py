"""The flagfiles that come with the program: those of flags/, in a checkout or where tfinvert is installed."""

from __future__ import annotations

import os
from pathlib import Path

from tfinvert.system.errors import InputError

PACKAGE = Path(__file__).resolve().parents[1]
BASELINE = "baseline"


def folder() -> Path:
    """The folder of the flagfiles: flags/ in the working directory, else that of the checkout or of the installation.

    Raises:
      InputError: there is none.
    """
    for path in (Path("flags"), PACKAGE / "flags", PACKAGE.parent / "flags"):
        if (path / f"{BASELINE}.flags").is_file():
            return path
    raise InputError("the flagfiles are missing from this installation of tfinvert; install it again")


def find(name: str) -> Path | None:
    """The flagfile of a name such as q2.1, q2.1.flags or flags/q2.1.flags; None where there is none."""
    parent, _, file = name.rpartition("/")
    if parent not in ("", "flags"):
        return None
    path = folder() / f"{file.removesuffix('.flags')}.flags"
    return path if os.path.isfile(path) else None  # which takes a name that is too long for missing


def names() -> list[str]:
    """The names of the flagfiles, the homework's in its order and then the others."""
    stems = [path.stem for path in folder().glob("*.flags")]
    homework = [BASELINE, *sorted((stem for stem in stems if stem[:1] == "q" and stem[1:2].isdigit()), key=order)]
    return [*homework, *sorted(set(stems) - set(homework))]


def order(stem: str) -> tuple[bool, str]:
    """A key that sorts the homework's questions: baseline, q1, q2.1, q2-mean."""
    return stem != BASELINE, stem.replace("-", "~")


def header(path: Path) -> list[str]:
    """The comments with which a flagfile opens: what it shows, its command, its time, and what comes out."""
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    return [line.lstrip("# ") for line in lines if line.startswith("#")]


def listing() -> str:
    """What each flagfile shows, one a line."""
    rows = [(name, header(folder() / f"{name}.flags")[0]) for name in names()]
    width = max(len(name) for name, _ in rows)
    return "\n".join(
        [
            "Flagfiles that come with tfinvert: `tfinvert --flagfile=NAME` runs one, `tfinvert examples NAME` prints it.",
            "",
            *(f"  {name:{width}}  {sentence}" for name, sentence in rows),
        ]
    )
