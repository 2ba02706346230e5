"""Hostile flagfiles: what is read of them before any work."""

import dataclasses
import functools
import os
import random
from pathlib import Path

from tests.soak import Row, hostile
from tfinvert import cli, experiments
from tfinvert.settings import flagfiles
from tfinvert.settings.fields import Settings, flag_text, spec
from tfinvert.settings.groups import FolderSettings

CASES = 2400
LIMITED = True
NUMBERS = (
    "0 1 -1 1e400 -1e400 nan inf -inf 1e-400 0x10 1_000 ٣ ² 1e308 99999999999999999999 -0 2147483648 1.5 007 + 1,2".split()
)
VALUES = (*NUMBERS, "", " ", "true", "a,b,,c", ",", "100000", "16x16", "0x0", "9" * 5000, "x" * 9000, "é", "a\tb", "/dev/zero")
PLACES = ("/dev/zero", ".", "/etc/passwd", "pipe", "missing.flags", "", "~", "x" * 300, "a\0b", "self.flags", "deep0.flags")


def soak(scale: float = 1.0) -> list[Row]:
    """Each ends as settings, or as one line that says what is wrong."""
    return [hostile.tried("flag_files", round(CASES * scale)).row("A flagfile is read, or refused")]


def prepare() -> None:
    """Imports every experiment, before cases are watched."""
    _fields()


def line(rng: random.Random) -> str:
    """A line of a flagfile."""
    fields = _fields()
    name = rng.choice((*fields, "experiment", "flagfile", "undefok", "class", "nosuchflag", "", "help"))
    value = rng.choice(VALUES)
    if name in fields and rng.random() < 0.5:
        about = spec(fields[name])
        value = rng.choice((*about.choices, flag_text(fields[name].default, size=about.size)))
    if name == "flagfile":
        value = rng.choice(PLACES)
    if name == "experiment" and rng.random() < 0.7:
        value = rng.choice(experiments.names())
    return rng.choice(
        (f"--{name}={value}",) * 6 + (f"--{name}", f"-{name}={value}", f"--no{name}", f"{name}={value}", f"--{name} {value}")
    )


@functools.cache
def _fields() -> dict[str, dataclasses.Field]:
    """The settings of all experiments, by name."""
    kinds = [experiments.find(name).settings for name in experiments.names()]
    return {field.name: field for kind in kinds for field in dataclasses.fields(kind)}


def _flagfile(rng: random.Random, folder: Path) -> bytes:
    kind = rng.randrange(10)
    if kind == 0:
        return rng.randbytes(rng.choice((0, 1, 30, 10**4, 2 * 10**6)))
    if kind == 1:
        text = rng.choice(sorted((hostile.ROOT / "flags").glob("*.flags"))).read_bytes()
        changed = bytearray(text)
        for _ in range(rng.choice((1, 3, 20))):
            changed[rng.randrange(len(changed))] = rng.randrange(256)
        return bytes(changed)
    if kind == 2:
        return rng.choice((b"--steps=1\n" * 10**5, b"--layers=" + b"a," * 10**5, b"--" + b"x" * 50000 + b"=1", b"#" * 10**6))
    if kind == 3:
        # Each file includes the next twice: 2^18 lines from 18 files.
        for n in range(18):
            (folder / f"deep{n}.flags").write_text(f"--flagfile=deep{n + 1}.flags\n" * 2)
        (folder / "deep18.flags").write_text("--steps=3\n")
        return f"--flagfile={folder}/deep0.flags\n".encode()
    lines = [line(rng) for _ in range(rng.choice((1, 1, 2, 4, 20)))]
    return rng.choice(("\n", "\n", "\r\n", "\r")).join(lines).encode("utf-8", "surrogatepass")


def case(rng: random.Random, folder: Path) -> str:
    """One flagfile, read, and written as the settings that it means."""
    os.chdir(folder)
    if not (folder / "pipe").exists():
        os.mkfifo(folder / "pipe")
    path = folder / "self.flags"
    path.write_bytes(_flagfile(rng, folder))
    try:
        return _read(rng, path)
    except OSError:  # the command line makes it one line
        return "refused"


def _read(rng: random.Random, path: Path) -> str:
    experiment, settings = cli.parse([f"--flagfile={path}", *([line(rng)] if rng.random() < 0.2 else [])])
    assert isinstance(settings, Settings)
    text = flagfiles.text(settings)
    path.write_text(text, encoding="utf-8")
    again, same = cli.parse([f"--flagfile={path}"])
    assert (again.name, flagfiles.text(same)) == (experiment.name, text)
    if isinstance(settings, FolderSettings):
        settings.run_folder()
    return "accepted"
