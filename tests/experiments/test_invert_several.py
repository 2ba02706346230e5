"""Several images that are inverted together, as one batch."""

import json
import math

import numpy as np
import pytest
from PIL import Image

import tfinvert
from tests.conftest import messages, pixels, run_program, tiny_graph, write_onnx
from tfinvert.settings.fields import flag_text
from tfinvert.system.errors import InputError, NonFiniteLossError

TINY = ("--preprocessing=none", "--layers=conv2_1", "--init=noise", "--save_every=10")


@pytest.fixture
def path(tmp_path):
    return write_onnx(tiny_graph(size=32), tmp_path / "net.onnx")


@pytest.fixture
def black(tmp_path):
    Image.new("RGB", (32, 32)).save(tmp_path / "black.png")
    return tmp_path / "black.png"


def test_several_images_are_inverted_together_each_as_if_alone(path, tmp_path):
    comma = tmp_path / "a, b.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 30, 3), np.uint8)).save(comma)
    flags = (f"--onnx={path}", *TINY, "--steps=30", f"--output_dir={tmp_path / 'together'}", "--resume")
    files = ("astronaut", "chelsea", str(comma))
    done = run_program(*flags, f"--image={flag_text(files)}")
    assert done.returncode == 0, done.stderr
    printed = done.stdout.splitlines()
    folders = [tmp_path / "together" / name / "conv2_1" for name in ("astronaut", "chelsea", "a, b")]
    heads = [line.partition(": PSNR")[0] for line in printed if ": PSNR" in line]
    assert heads == [f"{name}, net conv2_1" for name in ("astronaut", "chelsea", "a, b")]
    for file, folder in zip(files, folders, strict=True):
        info = json.loads((folder / "run.json").read_text())
        assert sorted([*info["together_with"], file]) == sorted(files)
        alone = tmp_path / f"alone-{folder.parent.name}"
        values = {"preprocessing": "none", "init": "noise", "save_every": 10, "steps": 30, "progress": False}
        expected = tfinvert.invert(file, path, "conv2_1", output_dir=alone, **values)
        assert (folder / "run.flags").read_text() == (alone / "run.flags").read_text()
        assert info["result"]["psnr"] == pytest.approx(expected.psnr, abs=0.01)
        np.testing.assert_allclose(pixels(folder / "final.png"), pixels(alone / "final.png"), atol=1)
    # What is finished stays; a fourth joins. Older flagfiles have --pictures.
    before = [(folder / "run.json").read_bytes() for folder in folders]
    more = run_program(*flags, f"--pictures={flag_text((*files, 'coffee'))}")
    assert more.returncode == 0, more.stderr
    assert [(folder / "run.json").read_bytes() for folder in folders] == before
    assert "together_with" not in json.loads((tmp_path / "together" / "coffee" / "conv2_1" / "run.json").read_text())


@pytest.mark.slow
def test_of_several_images_those_whose_loss_is_not_finite_are_named(path, black, tmp_path):
    flags = ("--optimizer=sgd", "--schedule=constant", "--parameterization=free", "--tv_weight=0", "--learning_rate=1e30")
    images = f"--image=astronaut,{black},chelsea"
    done = run_program(f"--onnx={path}", *TINY, *flags, "--steps=9", images, f"--output_dir={tmp_path / 'out'}")
    assert done.returncode == 1, done.stdout
    for name, line in zip(("astronaut", "black", "chelsea"), messages(done), strict=True):
        assert line.startswith(f"tfinvert: {name}: the loss is ")
        info = json.loads((tmp_path / "out" / name / "conv2_1" / "run.json").read_text())
        assert info["stopped"].startswith("the loss is")
        assert (tmp_path / "out" / name / "conv2_1" / "final.png").exists()


def test_the_error_carries_the_images_so_far(path):
    values = {"optimizer": "sgd", "schedule": "constant", "parameterization": "free", "tv_weight": 0, "learning_rate": 1e30}
    with pytest.raises(NonFiniteLossError) as caught:
        tfinvert.invert(["astronaut", "chelsea"], path, "conv2_1", preprocessing="none", steps=9, **values)
    result = caught.value.result
    assert result.images.shape == (2, 32, 32, 3)
    assert all(math.isfinite(psnr) for psnr in result.psnr)


def test_lbfgs_makes_one_image_at_a_time(path):
    with pytest.raises(InputError, match="--optimizer=lbfgs makes one image at a time"):
        tfinvert.invert(["astronaut", "chelsea"], path, "conv2_1", optimizer="lbfgs")
