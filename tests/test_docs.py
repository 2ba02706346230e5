"""The README says what the program does."""

import dataclasses
import re

import pytest

from tests.conftest import ROOT
from tfinvert import cli
from tfinvert.networks import zoo
from tfinvert.settings.config import Config, flag_text

README = (ROOT / "README.md").read_text()
FLAGS = (ROOT / "docs" / "flags.md").read_text()


def flags_table(fields):
    rows = []
    for field in fields:
        default = "" if field.default is None else f"`{flag_text(field.name, field.default)}`"
        rows.append(f"| `--{field.name}` | {'' if default == '``' else default} | {cli.HELP[field.name]} |")
    return "\n".join(rows)


def test_the_tables_of_flags_are_those_of_the_program():
    assert flags_table(dataclasses.fields(Config)) in README
    for names, fields in cli.other_settings():
        assert f"## `--experiment={names}`\n\n| flag | default | |\n|---|---|---|\n{flags_table(fields)}\n" in FLAGS


def test_the_example_runs():
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    names = {}
    exec(compile(example, "README.md", "exec"), names)
    assert names["result"].image.shape == (96, 96, 3)
    assert names["result"].psnr > 10


def test_every_file_that_is_named_is_there():
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
    for name in re.findall(r"flags/[\w.-]+\.flags", README):
        assert (ROOT / name).exists(), name


@pytest.mark.parametrize("model", zoo.MODELS.values(), ids=lambda model: model.name)
def test_the_models_page_has_the_checksums(model):
    row = next(line for line in (ROOT / "models" / "README.md").read_text().splitlines() if f"| {model.name} |" in line)
    assert model.sha256 in row
    assert model.file in row
