"""The commands of README and docs: each is understood, and those of the first pages run, one after the other in one folder."""

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
RUN_PAGES = ("README.md", "index.md", "homework.md")
NEED_FILES = (".py", "decoder", "run.flags", "mine.flags")  # of commands that other tests run, or that read what others made
SHORT = {"size": "64", "steps": "3", "weights": "random"}
OWN_SHORT = {
    "sweep": {"layers": "conv1"},
    "suite": {"questions": "q3.1"},
    "saliency": {"methods": "gradient"},
    "style": {"side": "32", "style_side": "32", "size": None},
    "compare": {"torch_variants": "eager"},
}


def commands(page):
    """The command lines of a page, without their comments and without the prompt."""
    text = "" if page.name == WALKED else page.read_text()
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
    experiment = cli.parse(words)[0]
    fields = {field.name for field in dataclasses.fields(experiment.settings)}
    given = {word.partition("=")[0].lstrip("-") for word in words}
    own = OWN_SHORT.get(experiment.name, {})
    named = [word.replace("--onnx=mine.onnx", "--model=resnet18") for word in words]
    added = {name: value for name, value in {**SHORT, **own}.items() if name in fields and (name in SHORT or name not in given)}
    return [*named, *(f"--{name}={value}" for name, value in added.items() if value is not None)]


@pytest.mark.slow
def test_the_commands_of_the_first_pages_run_without_colliding(tmp_path):
    io.imsave(tmp_path / "photo.jpg", data.coffee())
    io.imsave(tmp_path / "painting.jpg", data.cat())
    (tmp_path / "photos").mkdir()
    shutil.copy(tmp_path / "photo.jpg", tmp_path / "photos" / "cup.jpg")
    shutil.copy(tmp_path / "painting.jpg", tmp_path / "photos" / "cat.jpg")
    kept = {}
    for page in PAGES:
        for words in commands(page) if page.name in RUN_PAGES else []:
            skipped = words[:1] in (["examples"], ["completion"], ["view"], ["export"], []) or words[-1] == "--help"
            without_torch = words[:1] == ["compare"] and importlib.util.find_spec("torch") is None
            if skipped or without_torch or any(part in word for part in NEED_FILES for word in words):
                continue
            done = run_program(*shortened(words), cwd=tmp_path)
            assert done.returncode == 0, (words, done.stderr)
            finals = {path: path.read_bytes() for path in tmp_path.glob("out/**/final.png")}
            assert {path: finals[path] for path in kept} == kept, words  # nothing that was there has changed
            kept = finals
    assert len(kept) >= 5


def test_every_experiment_is_named_on_the_pages():
    text = "\n".join(page.read_text() for page in PAGES)
    assert [name for name in experiments.names() if not re.search(rf"\b{name}\b", text)] == []
