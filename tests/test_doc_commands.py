"""The commands of README and docs: each is understood, and those of a page run, one after the other in one folder."""

import dataclasses
import importlib.util
import re
import shlex
import shutil

import pytest
from skimage import data, io

from tests.conftest import ROOT, run_program
from tfinvert import cli, experiments

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
WALKED = "first-five-minutes.md"  # which shows mistakes, too
NEED_FILES = (
    ".py",
    "decoder",
    "run.flags",
    "mine.flags",
    "theirs.npz",
    "scheduler.json",
)  # of commands that read what others made
ZOO = {
    "mine": "resnet18",
    "resnet18": "resnet18",
    "alexnet": "alexnet",
    "squeezenet1_1": "squeezenet1.1",
}  # file -> its stand-in
SHORT = {"size": "64", "steps": "3", "weights": "random", "epochs": "1", "epoch_pictures": "16", "width": "4"}
OWN_SHORT = {
    "sweep": {"layers": "pool1"},  # which every network has
    "suite": {"questions": "q3.1"},
    "saliency": {"methods": "gradient"},
    "style": {"side": "32", "style_side": "32", "size": None},
    "compare": {"torch_variants": "eager"},
    "export": {"width": None},  # of a figure
}
BEFORE = {  # page -> commands for what it takes to be there
    "viewer.md": [
        "--model=resnet18 --layers=res1 --output_dir=out/mine",
        "saliency --output_dir=out/saliency",
        "sweep --model=resnet18 --layers=res1,res2 --output_dir=out/sweep",
    ]
}


def commands(page):
    """The command lines of a page, split into words, without the program's name."""
    return [] if page.name == WALKED else command_lines(page.read_text())


def command_lines(text):
    """The command lines in the blocks of a text, without their comments."""
    blocks = re.findall(r"^```shell\n(.*?)^```|((?:^    [^\n]*\n)+)", text, re.MULTILINE | re.DOTALL)
    lines = [line.strip() for block in blocks for line in "".join(block).splitlines()]
    lines = [line for line in lines if re.match(r"(tfinvert|python run_experiments\.py)( |$)", line)]
    split = [shlex.split(line, comments=True) for line in lines]
    return [words[1:] if words[0] == "tfinvert" else words[2:] for words in split]


def every_command():
    return [pytest.param(words, id=f"{page.name}: {' '.join(words)[:60]}") for page in PAGES for words in commands(page)]


@pytest.mark.parametrize("words", every_command())
def test_a_command_is_understood(words, monkeypatch):
    monkeypatch.chdir(ROOT)
    if any(part in word for part in NEED_FILES for word in words) or words[:1] in (["view"], ["export"], ["diagnose"]):
        return  # the folders of the last three are not there
    if words[-1:] == ["--help"] or words[:1] in (["examples"], ["completion"]):
        assert cli.main(["tfinvert", *words]) == 0
    else:
        cli.parse(words)


def shortened(words):
    """The command for a small network without weights, a few steps and small images."""
    named = [
        f"--model={ZOO[file]}" if (file := word.removeprefix("--onnx=").removesuffix(".onnx")) in ZOO else word
        for word in words
    ]
    experiment = cli.parse(named)[0]
    fields = {field.name for field in dataclasses.fields(experiment.settings)}
    given = {word.partition("=")[0].lstrip("-") for word in words}
    own = OWN_SHORT.get(experiment.name, {})
    added = {name: value for name, value in {**SHORT, **own}.items() if name in fields and (name in SHORT or name not in given)}
    return [*named, *(f"--{name}={value}" for name, value in added.items() if value is not None)]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with the files that the pages name: photographs, a painting, classes, flagfiles, and the user's own code."""
    for name in ("photos", "pictures"):
        (tmp_path / name).mkdir()
    photographs = (
        ("photo.jpg", "photos/cup.jpg", "pictures/tubingen.jpg"),
        ("painting.jpg", "photos/cat.jpg", "pictures/starry_night.jpg"),
    )
    for names, image in zip(photographs, (data.coffee(), data.cat()), strict=True):
        for name in names:
            io.imsave(tmp_path / name, image)
    (tmp_path / "labels.txt").write_text("\n".join(["dog", *(f"thing {number}" for number in range(999))]))
    shutil.copytree(ROOT / "flags", tmp_path / "flags")
    text = "\n".join(page.read_text() for page in PAGES)
    for name, code in re.findall(r"Save this as `(\w+\.py)`[^`]*```python\n(.*?)```", text, re.DOTALL):
        (tmp_path / name).write_text(code)
    (mine,) = re.findall(r"```text\n(# [^`]*--flagfile=[^`]*)```", text)
    (tmp_path / "mine.flags").write_text(mine)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def can_run(words):
    """Whether a command ends by itself within a minute, needs no other machine, and what it needs is installed."""
    missing = {"compare": "torch", "--format=mp4": "av", "--workers": "distributed"}
    needed = [package for start, package in missing.items() if any(word.startswith(start) for word in words)]
    elsewhere = words[:1] in (["view"], ["benchmark"]) or any(word.startswith("--scheduler") for word in words)
    return not elsewhere and all(importlib.util.find_spec(package) for package in needed)


def run_page(page, folder):
    """Runs the commands of a page in its order, and Python between them where the page saves what a later command reads."""
    names, kept = {}, {}
    for line in BEFORE.get(page.name, []):
        assert run_program(*shortened(line.split()), cwd=folder).returncode == 0
    parts = re.split(r"^```python\n(.*?)^```", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for number, part in enumerate(parts):
        if number % 2:
            if page.name == "porting.md":
                names |= {f"my_{name}": names["arrays"][name] for name in ("input", "losses") if "arrays" in names}
                exec(compile(part, page.name, "exec"), names)
            continue
        for words in filter(can_run, command_lines(part)):
            at_once = words[-1:] == ["--help"] or words[:1] in (["examples"], ["completion"])
            done = run_program(*(words if at_once else shortened(words)), cwd=folder)
            assert done.returncode in ((0, 3) if words[:1] == ["diagnose"] else (0,)), (words, done.stderr)
            finals = {path: path.read_bytes() for path in folder.glob("out/**/final.png")}
            assert {path: finals[path] for path in kept} == kept, words  # nothing that was there has changed
            kept = finals


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if commands(page)], ids=lambda page: page.name)
def test_the_commands_of_a_page_run_without_colliding(page, folder):
    run_page(page, folder)


def test_every_experiment_is_named_on_the_pages():
    text = "\n".join(page.read_text() for page in PAGES)
    assert [name for name in experiments.names() if not re.search(rf"\b{name}\b", text)] == []
