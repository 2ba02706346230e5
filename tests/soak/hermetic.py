"""The quickstart in surroundings that should not matter: no network, no home, other locales, names and hash seeds."""

import dataclasses
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.conftest import ROOT
from tests.soak import Row
from tests.soak.programs import end

STEPS = 150  # of the flagfile
ODD = "with spaces, 中文 und Umlaute äöü"
GUARD = """import socket

def refuse(*arguments, **settings):
    raise OSError("the network is blocked")

socket.socket.connect = socket.socket.connect_ex = socket.create_connection = socket.getaddrinfo = refuse
"""


@dataclasses.dataclass(frozen=True)
class Surroundings:
    """What a run finds: variables of its environment, whether the network is blocked, an odd name for its folder, no home."""

    name: str
    variables: dict[str, str] = dataclasses.field(default_factory=dict)
    blocked: bool = False
    odd: bool = False
    homeless: bool = False


ASCII = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
EVERYTHING = Surroundings("all of these at once", {**ASCII, "PYTHONHASHSEED": "4242"}, blocked=True, odd=True, homeless=True)
ONE_BY_ONE = (
    Surroundings("no network", blocked=True),
    Surroundings("HOME that cannot be written", homeless=True),
    Surroundings("LC_ALL=C", {"LC_ALL": "C"}, odd=True),
    Surroundings("an ASCII locale without Python's coercion to UTF-8", ASCII, odd=True),
    Surroundings("PYTHONHASHSEED=1", {"PYTHONHASHSEED": "1"}),
)


def soak(scale: float = 1.0) -> list[Row]:
    """The whole quickstart in each of the surroundings, compared with a plain run."""
    steps = max(5, round(STEPS * scale))
    flags = (f"--steps={steps}",)
    with tempfile.TemporaryDirectory() as name:
        base = Path(name)
        tried = [*ONE_BY_ONE, *latin(base), EVERYTHING]
        plain = quickstart(Surroundings("plain"), base / "plain", *flags)
        for number, one in enumerate(tried):
            assert quickstart(one, base / str(number), *flags) == plain, one
    return [
        Row(
            "The quickstart gives the same bytes wherever it runs",
            f"make quickstart's run, {steps} steps, {blocking()}: {'; '.join(one.name for one in tried)}",
            f"{len(tried)} of {len(tried)} with the same final.png and metrics.jsonl as a plain run",
        )
    ]


def quickstart(one: Surroundings, base: Path, *flags: str) -> dict[str, bytes]:
    """Runs it with a cache of its own; gives what it came to."""
    folder, scratch = base / (ODD if one.odd else "run"), base / "tmp"
    scratch.mkdir(parents=True)
    variables = {**os.environ, "TMPDIR": str(scratch), "TFINVERT_CACHE": str(base / "cache"), **one.variables}
    if one.homeless:  # not even root can make a folder there
        variables |= {"HOME": "/proc/nowhere"}
        for name in ("TFINVERT_CACHE", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "MPLCONFIGDIR"):
            variables.pop(name, None)
    command = [sys.executable, str(ROOT / "run_experiments.py"), f"--flagfile={ROOT / 'flags' / 'quickstart.flags'}"]
    command += [f"--output_dir={folder}", *flags]
    if one.blocked:
        if can_unshare():
            command = [*_UNSHARE, *command]
        else:
            (base / "guard").mkdir()
            (base / "guard" / "sitecustomize.py").write_text(GUARD)
            variables["PYTHONPATH"] = os.pathsep.join(filter(None, (str(base / "guard"), variables.get("PYTHONPATH"))))
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen(command, env=variables, cwd=base, text=True, errors="replace", **streams)
    code, said = end(process)
    assert code == 0, said
    expected = ["the cache folder cannot be written"] if one.homeless else []
    lines = [line for line in said.splitlines() if not any(words in line for words in expected)]
    assert lines == [], said
    return {name: (folder / name).read_bytes() for name in ("final.png", "metrics.jsonl")}


_UNSHARE = ["unshare", "--net", *([] if os.getuid() == 0 else ["--map-root-user"])]


def can_unshare() -> bool:
    """Whether a process may have a network of its own, with nothing in it."""
    try:
        return subprocess.run([*_UNSHARE, "true"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


def blocking() -> str:
    """How the network is taken away."""
    return "the network being an empty namespace" if can_unshare() else "the network being sockets that refuse"


def latin(base: Path) -> list[Surroundings]:
    """German in ISO 8859-1, where the system can make that locale."""
    folder = base / "locales"
    folder.mkdir(parents=True)
    name = "de_DE.ISO-8859-1"
    try:
        made = subprocess.run(
            ["localedef", "-i", "de_DE", "-f", "ISO-8859-1", str(folder / name)], capture_output=True, check=False
        )
    except FileNotFoundError:
        return []
    if made.returncode:
        return []
    return [Surroundings(name, {"LC_ALL": name, "LOCPATH": str(folder)}, odd=True)]
