"""The first five minutes of a new user, done by a program: `make walk`. What it saw becomes docs/first-five-minutes.md.

`python -m tests.walk --environment=FOLDER` uses an environment in which tfinvert is installed already, instead of a new one.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.conftest import ROOT, tiny_graph, write_onnx

PAGE = ROOT / "docs" / "first-five-minutes.md"
MOST_LINES, WIDTH = 24, "100"
INTRODUCTION = """\
# The first five minutes

A program installed tfinvert into a new environment, typed what a new user would type, and wrote this page: `make walk`. Nothing
was downloaded but the packages. The times are from {cores}{load}. TensorFlow adds numbers in another order on another number of
cores, so that the last digits of a figure may differ from those on other pages.
"""


class Walk:
    """An empty home with an environment, in which commands are run and written down."""

    def __init__(self, home: Path, environment: Path):
        self.home, self.bin = home, environment / "bin"
        self.parts: list[str] = []
        keep = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "TFINVERT"))}
        path = f"{self.bin}{os.pathsep}{os.environ['PATH']}"
        self.variables = {**keep, "PATH": path, "HOME": str(home), "COLUMNS": WIDTH, "TFINVERT_CACHE": str(home / ".cache")}

    def say(self, text: str) -> None:
        self.parts.append(text)

    def run(self, command: str, *, most: int = MOST_LINES, stop_after: Path | None = None) -> None:
        """Runs a command and keeps what it says. `stop_after`: a file; Ctrl-C is pressed when it is there."""
        started = time.perf_counter()
        process = subprocess.Popen(
            ["bash", "-c", command],
            cwd=self.home,
            env=self.variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        if stop_after is not None:
            while process.poll() is None and not (self.home / stop_after).exists():
                time.sleep(0.05)
            time.sleep(1)
            os.killpg(process.pid, signal.SIGINT)
        said = process.communicate(timeout=1800)[0]
        seconds = time.perf_counter() - started
        lines = [re.sub(re.escape(str(self.home)), "~", line).rstrip() for line in said.strip("\n").split("\n")]
        if len(lines) > most:
            lines = [*lines[: most - 4], "...", *lines[-3:]]
        code = f", exit code {process.returncode}" if process.returncode else ""
        self.parts.append("\n".join(["```text", f"$ {command}", *lines, "```", "", f"*{seconds:.1f} s{code}*"]))


def install(home: Path) -> Path:
    """Builds the wheel and installs it, with tested versions of what it needs, into a new environment."""
    environment = home / "environment"
    subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
    source = home / "source"
    source.mkdir()
    for name in ("tfinvert", "flags"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE", "CHANGELOG.md"):
        shutil.copy(ROOT / name, source)
    pip = [str(environment / "bin" / "pip"), "--quiet", "--disable-pip-version-check"]
    variables = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", str(home), str(source)], env=variables, check=True)
    (wheel,) = home.glob("tfinvert-*.whl")
    constraints = ROOT / "constraints" / ("python3.11.txt" if sys.version_info < (3, 12) else "python3.12.txt")
    subprocess.run([*pip, "install", "-c", str(constraints), str(wheel)], env=variables, check=True)
    return environment


def walk(home: Path, environment: Path) -> Walk:
    """Does everything once."""
    from skimage import data, io

    io.imsave(home / "photo.jpg", data.coffee())
    write_onnx(tiny_graph(size=32), home / "mine.onnx")
    taken = Walk(home, environment)
    taken.say("## Help")
    taken.run("tfinvert --version")
    taken.run("tfinvert --help", most=60)
    taken.say("Help fits the terminal, here one of 80 columns, and one of 120:")
    taken.run("COLUMNS=80 tfinvert saliency --help", most=80)
    taken.run("COLUMNS=120 tfinvert fool --help", most=80)
    taken.say("## The demo")
    taken.run("tfinvert demo")
    taken.say("The same command again shows the finished run at once:")
    taken.run("tfinvert demo")
    taken.say("## Your image")
    taken.run("tfinvert --image=photo.jpg --model=resnet18 --layers=res2 --weights=random --steps=100")
    taken.say("Other settings get a folder of their own:")
    taken.run("tfinvert --image=photo.jpg --model=resnet18 --layers=res2 --weights=random --steps=50")
    taken.say("## Your network")
    taken.run("tfinvert layers --onnx=mine.onnx")
    taken.run("tfinvert --onnx=mine.onnx --image=photo.jpg --layers=conv1 --steps=50")
    taken.say("## Mistakes")
    for mistake in ("--lr=0.1", "--layers=conv9_9 --weights=random", "--image=foto.jpg", "salency", "photo.jpg"):
        taken.run(f"tfinvert {mistake}")
    taken.say("## Ctrl-C, and --resume")
    long = "tfinvert --model=resnet18 --layers=res2 --weights=random --steps=300"
    folder = Path("out/invert/resnet18-res2-astronaut")
    taken.run(long, stop_after=folder / "images" / "000050.png")
    taken.run(long)
    taken.run(f"{long} --resume")
    taken.say("## Three questions of the homework, cut short to 60 steps")
    taken.run("tfinvert suite --questions=q1,q3.1,q4 --steps=60 --weights=random")
    taken.say("## A report of your own")
    taken.run("tfinvert report --runs=out/invert/resnet18-res2-photo,out/invert/resnet18-res2-photo-2")
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser:
        page = "out/report/resnet18-res2-photo+resnet18-res2-photo-2/report.html"
        options = "--headless --no-sandbox --dump-dom"
        taken.say("In a browser, the page has this title and these images:")
        taken.run(f'{browser} {options} {page} 2> /dev/null | grep -o \'<title>.*</title>\\|alt="[^"]*"\' | head -8')
    taken.say("## What is there now")
    taken.run("ls out out/*", most=60)
    return taken


def main() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # programs in the background ignore it, and hand that on
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--environment", type=Path)
    environment = options.parse_args().environment
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder).resolve()
        started = time.perf_counter()
        environment = environment.resolve() if environment else install(home)
        seconds = time.perf_counter() - started
        taken = walk(home, environment)
        load = os.getloadavg()[0] / (os.cpu_count() or 1)
        processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        cores = "one core" if processors == 1 else f"{processors} cores"
        busy = f", on a machine that was busy with other work ({load:.0f} programs for each core)" if load > 1.5 else ""
        installed = [f"Installing the wheel and what it needs took {seconds:.0f} s."] if seconds > 1 else []
        text = "\n\n".join([INTRODUCTION.format(load=busy, cores=cores).rstrip(), *installed, *taken.parts])
        PAGE.write_text(f"{text}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
