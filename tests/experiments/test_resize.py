"""How a photograph gets the proportions of a network, in a whole run."""

import logging

import pytest

import tfinvert
from tests.conftest import pixels
from tfinvert.cli import parse
from tfinvert.system.errors import InputError

FAST = {"steps": 2, "preprocessing": "none", "progress": False}


@pytest.mark.parametrize(
    ("resize", "shape", "said"),
    [
        ("crop", (32, 32), "33% of the width of chelsea is cut off"),
        ("keep", (32, 48), ""),
        ("squash", (32, 32), ""),
    ],
)
def test_a_photograph_is_cut_kept_or_squashed(resize, shape, said, small_file, tmp_path, caplog):
    caplog.set_level(logging.INFO, "tfinvert")
    run = tmp_path / "run"
    result = tfinvert.invert("chelsea", small_file, "conv1_1", resize=resize, output_dir=str(run), **FAST)
    assert result.image.shape == (*shape, 3)
    assert pixels(run / "target.png").shape == (*shape, 3)
    assert ("cut off" in caplog.text) == bool(said)
    assert said in caplog.text
    assert "preprocessing none (as given)" in caplog.text
    assert f"--resize={resize}" in (run / "run.flags").read_text()


def test_images_of_different_proportions_cannot_be_kept_at_once(small_file):
    with pytest.raises(InputError, match="same proportions"):
        tfinvert.invert(["chelsea", "astronaut"], small_file, "conv1_1", resize="keep", **FAST)


def test_what_takes_images_of_one_size_does_not_keep_proportions():
    with pytest.raises(InputError, match=r"resize.*keep"):
        parse(["--experiment=compare", "--resize=keep"])


@pytest.mark.parametrize("name", ["baseline", "q1", "q1-cosine", "q2.1", "q2-mean", "q3.1", "q3.3", "q4", "q4-middle1"])
def test_the_homework_squashes(name):
    assert parse([f"--flagfile=flags/{name}.flags"])[1].resize == "squash"


@pytest.mark.parametrize("header", ["", "# tfinvert 0.2\n"])
def test_runs_from_before_there_was_the_flag_are_squashed(header, tmp_path):
    flagfile = tmp_path / "run.flags"
    flagfile.write_text(f"{header}--experiment=invert\n--image=chelsea\n--seed=1\n")
    assert parse([f"--flagfile={flagfile}"])[1].resize == "squash"
    flagfile.write_text(f"{header}--experiment=invert\n--seed=1\n--resize=keep\n")
    assert parse([f"--flagfile={flagfile}"])[1].resize == "keep"
    flagfile.write_text(f"{header}--experiment=layers\n--seed=1\n")
    parse([f"--flagfile={flagfile}"])  # has no such flag
